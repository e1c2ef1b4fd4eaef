"""Every field of every record is described: a docstring beneath it says what it holds, in which unit and frame of reference.

Fields made by `common.command_line.option` are described by their help.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("body", "common", "engines", "export", "formats", "realtime", "tools", "training")
FILES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))] + [ROOT / "run_camera.py"]


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is a dataclass or a named tuple."""
    decorators = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return "dataclass" in map(ast.unparse, decorators) or "NamedTuple" in map(ast.unparse, node.bases)


def undescribed(source: str) -> Iterator[str]:
    """The fields of all records in ``source`` that have no docstring, as Class.field."""
    for record in ast.walk(ast.parse(source)):
        if not (isinstance(record, ast.ClassDef) and is_record(record)):
            continue
        for field, following in zip(record.body, [*record.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.unparse(field.annotation):
                continue
            is_option = isinstance(field.value, ast.Call) and ast.unparse(field.value.func) == "option"
            is_described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if not (is_option or is_described):
                yield f"{record.name}.{ast.unparse(field.target)}"


def test_a_field_without_a_docstring_is_noticed() -> None:
    source = '@dataclass(frozen=True)\nclass Box:\n    x: float\n    """Pixels."""\n    y: float\n'
    assert list(undescribed(source)) == ["Box.y"]


def test_every_field_is_described() -> None:
    missing = {file: list(undescribed(file.read_text(encoding="utf-8"))) for file in FILES}
    assert {str(file.relative_to(ROOT)): fields for file, fields in missing.items() if fields} == {}
