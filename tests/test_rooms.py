"""Who may import whom, read from every file: also what a function imports only when it is called."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRAINING = {"torch", "smplx", "training", "export", "tests"}
FORBIDDEN = {
    "run_camera.py": TRAINING | {"body"},
    "realtime": TRAINING,
    "engines": TRAINING | {"body", "realtime"},
    "body": {"training", "export", "tests", "realtime", "engines"},
    "training": {"export", "tests"},
    "export": {"tests"},
}


def imports(file: Path) -> set[str]:
    """First names of all modules that ``file`` imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    assert any(imports(file) for file in files)
    broken = {str(file.relative_to(ROOT)): bad for file in files if (bad := imports(file) & FORBIDDEN[room])}
    assert not broken
