"""Who may import whom, read from every file: also what a function imports only when it is called.

A room is a folder of the table below. Where a folder has both folders and flat modules, each flat module is a room of its own;
one that has no row may import what its folder may, and all that lies beside it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "smplx", "torchvision", "chumpy"}
FIELD = {"common", "engines", "body", "formats", "realtime"}
"""Runs on a device in the field: no torch, no smplx, nothing of training or export."""

_SHARED = {f"realtime/{name}" for name in ("errors", "measure", "options", "queues", "records", "server_thread")}
"""What the folders of `realtime` share; the flat modules not named here lie above the folders and join them."""

MAY_IMPORT: dict[str, set[str]] = {
    "common": set(),
    "engines": {"common"},
    "engines/cuda": {"common", "engines/engine", "engines/onnx_file"},
    "engines/precision": set(),
    "body": {"common"},
    "body/fitting": {"common", "body"},
    "formats": {"common", "body"},
    "realtime": {"common", "engines", "body", "formats"},
    "realtime/errors": {"common"},
    "realtime/measure": {"common"},
    "realtime/options": {"common", "engines/choices", "formats"},
    "realtime/records": {"common", "engines"},
    "realtime/queues": {"common", "realtime/records"},
    "realtime/server_thread": set(),
    "realtime/sources": {"common", *_SHARED},
    "realtime/stages/crops": {"common", "realtime/records"},
    "realtime/stages/thinning": {"common"},
    "realtime/stages/keypoints": {"common", "engines", "body", "realtime/stages/crops", *_SHARED},
    "realtime/stages/tracking": {
        *(
            "common",
            "engines",
            "body",
            "realtime/stages/crops",
            "realtime/stages/keypoints",
            "realtime/stages/thinning",
        ),
        *_SHARED,
    },
    "realtime/stages/flow": {"common", "engines", "body", "realtime/stages/crops", *_SHARED},
    "realtime/stages/regressor": {"common", "engines", "body", "realtime/stages/flow", *_SHARED},
    "realtime/stages/world": {"common", "body", "realtime/stages/thinning", *_SHARED},
    "realtime/draw": {"common", "body", *_SHARED},
    "realtime/outputs": {
        *("common", "body", "formats", "realtime/sources", "realtime/draw", "realtime/stages/world", *_SHARED),
    },
    "realtime/window": {"common", "body", "realtime/draw", *_SHARED},
    "realtime/browser": {"common", "body", "realtime/draw", *_SHARED},
    "realtime/views": {
        *("common", "formats", "realtime/sources", "realtime/draw", "realtime/outputs", "realtime/window"),
        *("realtime/browser", "realtime/pipeline", *_SHARED),
    },
    "run_camera.py": {"common", "formats", "realtime"},
    "training/motion": {"common", "body"},
    "training/networks": {"common", "body"},
    "training/simulation": {"common", "body", "body/fitting", "realtime", "training/motion", "training/networks"},
    "training/synth": {"common", "body", "realtime", "training/motion", "training/simulation"},
    "training/datasets": {"common", "body", "training/motion"},
    "training/evaluation": {
        *("common", "body", "formats", "realtime"),
        *("training/motion", "training/networks", "training/simulation", "training/synth", "training/datasets"),
    },
    "training/noise_measurement": {
        *("common", "engines", "body", "formats", "realtime"),
        *("training/motion", "training/simulation", "training/synth", "training/evaluation"),
    },
    "training/distributed": set(),
    "training/losses": {"common", "body", "training/networks", "training/simulation"},
    "training/config": {"training/losses", "training/motion", "training/networks"},
    "training/train": {
        *("common", "body", "training/config", "training/distributed", "training/losses", "training/evaluation"),
        *("training/motion", "training/networks", "training/simulation"),
    },
    "training/ablation": {
        *("common", "engines", "body", "formats", "realtime", "training/losses", "training/motion"),
        *("training/networks", "training/simulation", "training/synth", "training/evaluation"),
    },
    "export": {"common", "engines", "body", "realtime", "training"},
    "export/conversion": {"common", "engines", "body"},
    "export/manifest": {"common", "engines"},
    "export/pretrained": {"common", "engines", "export/conversion", "export/manifest"},
    "export/raft": {
        *("common", "engines", "body", "realtime", "training"),
        *("export/conversion", "export/manifest", "export/networks", "export/pretrained"),
    },
    "export/checks": {
        *("common", "engines", "body", "realtime", "export/conversion", "export/engines", "export/networks"),
    },
    "tools": {"common", "engines", "body", "formats", "realtime", "training", "export"},
}
SPLIT = {"engines", "realtime", "realtime/stages", "training", "export"}
"""Folders whose flat modules count one by one: `realtime/records` lies below the stages, `realtime/session` above them."""


@cache
def imports(file: Path) -> frozenset[str]:
    """Dotted names of all modules that ``file`` imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(found)


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    folders = {room.split("/")[0] for room in MAY_IMPORT if not room.endswith(".py")}
    files = [file for folder in sorted(folders) for file in sorted((ROOT / folder).rglob("*.py"))]
    named = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    return {**named, "run_camera": ROOT / "run_camera.py"}


def room_of(module: str) -> str:
    """The room of a module of the project: a folder of the table, a folder inside one of `SPLIT`, or a flat module there."""
    file = modules()[module]
    parts = file.relative_to(ROOT).parts
    if len(parts) > 2 and "/".join(parts[:2]) in SPLIT:
        return "/".join((*parts[:2], parts[2].removesuffix(".py")))
    if len(parts) > 1 and (parts[0] in SPLIT or "/".join(parts[:2]) in MAY_IMPORT):
        return "/".join((*parts[:1], parts[1].removesuffix(".py")))
    return parts[0]


def allowed(room: str, other: str) -> bool:
    """Whether a module of ``room`` may import one of ``other``, by the most exact row of the table."""
    row = next((MAY_IMPORT[name] for name in (room, room.split("/")[0]) if name in MAY_IMPORT), None)
    assert row is not None, f"{room} has no row"
    inside = room.split("/")[0] == other.split("/")[0] and room not in MAY_IMPORT
    return inside or bool({other, other.split("/")[0]} & row)


def uses() -> dict[str, dict[str, set[str]]]:
    """For each room the rooms it imports from, and by which modules."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, file in modules().items():
        for name in imports(file) & modules().keys():
            if room_of(name) != room_of(module):
                found[room_of(module)][room_of(name)].add(module)
    return found


def test_every_folder_has_a_row_and_every_row_a_folder() -> None:
    assert all((ROOT / room).exists() or (ROOT / f"{room}.py").exists() for room in MAY_IMPORT)
    folders = {file.parent.relative_to(ROOT).as_posix() for top in SPLIT for file in ROOT.glob(f"{top}/*/*.py")}
    assert folders <= MAY_IMPORT.keys() | SPLIT
    flat = {f"training/{file.stem}" for file in ROOT.glob("training/*.py")} - {"training/__init__"}
    assert flat <= MAY_IMPORT.keys()
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests", "training"}
    assert packages <= MAY_IMPORT.keys()


@pytest.mark.parametrize("room", sorted(uses()))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    broken = {other: sorted(by) for other, by in uses()[room].items() if not allowed(room, other)}
    assert not broken


def test_no_two_rooms_import_each_other_and_there_is_no_circle() -> None:
    graph = {room: set(others) for room, others in uses().items()}
    left = {*graph, *(other for others in graph.values() for other in others)}
    while free := {room for room in left if not graph.get(room, set()) & left}:
        left -= free
    assert not left, f"these rooms import in a circle: {sorted(left)}"


def test_what_runs_in_the_field_knows_nothing_of_training() -> None:
    barred = HEAVY | {"training", "export", "tools", "tests"}
    for module, file in modules().items():
        # The torch body stands beside the others; only training and export use it.
        if module.split(".")[0] in FIELD | {"run_camera"} and module != "body.lbs_torch":
            assert not {name.split(".")[0] for name in imports(file)} & barred, module


def test_nothing_imports_the_tests() -> None:
    for module, file in modules().items():
        assert "tests" not in {name.split(".")[0] for name in imports(file)}, module
