"""Every field of every record is described: a docstring beneath it says what it holds, in which unit and frame of reference.

Fields made by `common.command_line.option` are described by their help.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("body", "common", "engines", "export", "formats", "realtime", "tools", "training")
FILES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))] + [ROOT / "run_camera.py"]


SHAPE = re.compile(r"^\([^)]*\),?\s*((float|int|uint)\d+|bool)?,?\s*")
UNITS = {
    "pixels",
    "px",
    "metres",
    "m",
    "frames",
    "s",
    "seconds",
    "bytes",
    "radians",
    "rad",
    "degrees",
    "millimetres",
    "mm",
}
PREPOSITIONS = {"of", "where", "as", "by", "for", "from", "in", "on", "at", "likewise", "theirs"}


def says_what(description: str) -> bool:
    """Whether a field's description is a sentence or a noun phrase: more than a shape and units, and no phrase such as "Of
    the file" that needs the field's name to be read."""
    words = re.findall(r"\w+", SHAPE.sub("", description).lower())
    return bool(words) and words[0] not in PREPOSITIONS and any(word.isalpha() and word not in UNITS for word in words)


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is a dataclass or a named tuple."""
    decorators = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return "dataclass" in map(ast.unparse, decorators) or "NamedTuple" in map(ast.unparse, node.bases)


def undescribed(source: str) -> Iterator[str]:
    """The fields of all records in ``source`` whose docstring is missing or says nothing, as Class.field."""
    for record in ast.walk(ast.parse(source)):
        if not (isinstance(record, ast.ClassDef) and is_record(record)):
            continue
        for field, following in zip(record.body, [*record.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.unparse(field.annotation):
                continue
            is_option = isinstance(field.value, ast.Call) and ast.unparse(field.value.func) == "option"
            is_described = (
                isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and says_what(str(following.value.value))
            )
            if not (is_option or is_described):
                yield f"{record.name}.{ast.unparse(field.target)}"


def test_a_field_without_a_docstring_is_noticed() -> None:
    source = '@dataclass(frozen=True)\nclass Box:\n    x: float\n    """Column, pixels."""\n    y: float\n'
    assert list(undescribed(source)) == ["Box.y"]


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("SHA-256 of the file, hexadecimal.", True),
        ("(3, 3) float32, rotation, world to room.", True),
        ("How often an arm swings.", True),
        ("Of the file, hexadecimal.", False),
        ("(3,) metres.", False),
        ("(N, 17) bool.", False),
        ("As the container holds it.", False),
        ("Frames/s.", False),
    ],
)
def test_a_description_says_what_it_describes(description: str, expected: bool) -> None:
    assert says_what(description) is expected


def test_every_field_is_described() -> None:
    missing = {file: list(undescribed(file.read_text(encoding="utf-8"))) for file in FILES}
    assert {str(file.relative_to(ROOT)): fields for file, fields in missing.items() if fields} == {}
