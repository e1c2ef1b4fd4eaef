"""No two public classes, functions, types or constants of the project share a name, so that a name alone says which one is
meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("common", "body", "engines", "formats", "realtime", "training", "export", "tools")
ALLOWED = {
    "main": "the entry of each command line",
    "app": "the Typer application of a command line with several commands",
    "T": "a type variable",
    "ROOT": "the folder of the project, for programs that work on its files",
}


def public_names(file: Path) -> set[str]:
    """Classes, functions, aliases of types and constants that a module defines at its top level, without an underscore."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            # Aliases of types are written as classes are, constants in capitals; anything else is a module's own variable.
            found |= {name for name in names if name[0].isupper()}
    return {name for name in found if not name.startswith("_")}


def test_each_public_name_is_defined_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for name in public_names(file):
                places[name].append(str(file.relative_to(ROOT)))
    twice = {name: files for name, files in places.items() if len(files) > 1 and name not in ALLOWED}
    assert not twice


def test_frame_rates_say_whose_they_are() -> None:
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    assignments = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {node.id for node in assignments if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert "FPS" not in names


def test_allowed_names_are_still_shared() -> None:
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    found = [file.read_text(encoding="utf-8") for file in files]
    assert all(sum(f"def {name}(" in text or f"\n{name} = " in text for text in found) > 1 for name in ALLOWED)
