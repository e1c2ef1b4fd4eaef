"""Every program of the project has a help page: a sentence that says what it does, and an example."""

from __future__ import annotations

import io
import re
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("body", "formats", "export", "training", "tools")
OF_OTHER_PYTHONS = {
    "tools.mediapipe_pose",
    "tools.export_images.render",
    "tools.round_trips.in_blender",
    "tools.round_trips.in_opensim",
}
"""Started by other tools with the Python of another program; nobody starts them by hand."""


def programs() -> list[str]:
    """The dotted names of all modules that ``python -m`` runs."""
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    runs = [file for file in files if "\nif __name__ == " in file.read_text(encoding="utf-8")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__") for file in runs]
    return [name for name in names if name not in OF_OTHER_PYTHONS]


# One process imports what they share once: each in a process of its own would take minutes.
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", programs())
def test_a_program_says_what_it_does_and_gives_an_example(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.split(".")[0] in ("export", "training"):
        pytest.importorskip("torch")
        pytest.importorskip("onnx")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setenv("COLUMNS", "300")
    page = io.StringIO()
    with redirect_stdout(page), pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert ended.value.code in (0, None)
    assert re.search(r"[A-Z][^.]{15,}\.", page.getvalue()), "a sentence"
    assert str(ROOT) not in page.getvalue(), "defaults are the same on every machine"
    assert re.search(rf"Example: .*{re.escape(name)}|Example: .*{name.replace('.', '/')}\.py", page.getvalue())


def test_there_are_programs() -> None:
    assert {"training.train", "training.motion", "export.engines", "formats.convert", "tools.bench"} <= set(programs())
