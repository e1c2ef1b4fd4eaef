"""Other programs that read motion files, each in an environment of its own (``make readers`` installs them there):
their dependencies contradict each other's and this project's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from common.arrays import AnyArray, DoubleArray
from common.errors import UserError

HERE: Final = Path(__file__).parent
READERS: Final = Path(os.environ.get("MOTIONMESH_READERS", HERE.parent.parent / ".venv" / "readers"))
"""Where they are: ``blender/bin/python`` has bpy, ``opensim/bin/python`` has opensim, ``node_modules`` has gltf-validator."""
_TIMEOUT_S: Final = 100.0


class NotInstalled(UserError):
    """A program is not there."""


def run_script(program: str, script: Path, *words: str | Path, timeout_s: float = _TIMEOUT_S) -> None:
    """Run ``script`` by the Python of ``blender`` or ``opensim``, and wait. Raises `NotInstalled`, and `UserError` if it fails
    or takes longer than ``timeout_s`` seconds."""
    _run([_python_of(program), script, *words], timeout_s)


def _python_of(program: str) -> str:
    python = READERS / program / "bin" / "python"
    if not python.exists():
        raise NotInstalled(f"{program} is not installed: make readers")
    return str(python)


def _run(command: Sequence[str | Path], timeout_s: float = _TIMEOUT_S) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    try:
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout_s, env=environment)
    except subprocess.TimeoutExpired:
        raise UserError(f"{words[0]} has not ended after {timeout_s:.0f} s: is the machine busy?") from None
    if ended.returncode:
        raise UserError(f"{command[0]} failed: {(ended.stderr or ended.stdout).strip().splitlines()[-1:]}")
    return ended.stdout


def _arrays(command: Sequence[str | Path], out: Path) -> dict[str, AnyArray]:
    _run(command)
    with np.load(out, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_with_blender(path: Path, seconds: DoubleArray) -> dict[str, AnyArray]:
    """What `in_blender` writes. ``seconds`` (T,) since the file begins. Raises `NotInstalled`."""
    python = _python_of("blender")
    with tempfile.TemporaryDirectory() as folder:
        times, out = Path(folder, "times.npy"), Path(folder, "out.npz")
        np.save(times, seconds)
        return _arrays([python, HERE / "in_blender.py", path.absolute(), times, out], out)


def read_with_opensim(path: Path) -> dict[str, AnyArray]:
    """What `in_opensim` writes. Raises `NotInstalled`."""
    python = _python_of("opensim")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.npz")
        return _arrays([python, HERE / "in_opensim.py", path.absolute(), out], out)


def validate_gltf(path: Path) -> dict[str, Any]:
    """``numErrors``, ``numWarnings`` and ``messages`` of the Khronos Group's validator. Raises `NotInstalled`."""
    node = shutil.which("node")
    if node is None or not (READERS / "node_modules" / "gltf-validator").exists():
        raise NotInstalled("gltf-validator or node is not installed: make readers")
    report: dict[str, Any] = json.loads(_run([node, HERE / "validate_gltf.cjs", READERS, path.absolute()]))
    return report
