"""The whole program on the simulated device gives what it gives with ONNX Runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.cuda.packages import ENVIRONMENT
from engines.cuda.port import Cuda
from realtime.session import Options, Session
from tests.simulated.conftest import PACKAGES
from tests.simulated.device import SimulatedDevice, require_simulated

require_simulated()

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "assets" / "synthetic_walk.mp4"
TOLERANCE = 1e-4


def motion(engine: str, path: Path, flow: str, frames: int) -> tuple[dict[str, np.ndarray], list[str]]:
    said: list[str] = []
    options = Options(str(CLIP), "none", engine, save=path, frames=frames, flow=flow)
    report = Session(options, said.append).run()
    assert report.meshes == frames
    assert report.engine == engine
    with np.load(path, allow_pickle=False) as data:
        return dict(data), said


@pytest.mark.parametrize(("flow", "frames", "networks"), [("dis", 40, 3), ("raft", 6, 4)])
def test_same_bodies_as_with_onnx_runtime(
    port: Cuda, simulated: SimulatedDevice, tmp_path: Path, flow: str, frames: int, networks: int
) -> None:
    expected, _ = motion("onnxruntime", tmp_path / "ort.npz", flow, frames)
    before = simulated.alive()
    found, said = motion("tensorrt", tmp_path / "trt.npz", flow, frames)
    assert simulated.alive() == before
    assert "networks run on tensorrt, simulated device (SM 8.7), fp32" in said
    assert sum(line.startswith("built ") for line in said) == networks
    compared = 0
    for name, array in expected.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(found[name], array, atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)
            compared += 1
    assert compared >= 8
    assert np.ptp(found["joints_m"], axis=0).max() > 0.02, "somebody walks"
    assert simulated.statistics()["pageable_copies"] == 0


@pytest.mark.parametrize("package", ["pycuda", "cuda-bindings"])
def test_the_program_builds_once_runs_and_ends_cleanly(tmp_path: Path, package: str) -> None:
    """As a user runs it: an exit code of 0 says that no context was left behind in any thread."""
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(PACKAGES), str(ROOT)]),
        ENVIRONMENT: package,
    }
    command = [
        sys.executable, str(ROOT / "run_camera.py"), "--view", "none", "--source", str(CLIP), "--frames", "20",
        "--engine", "tensorrt", "--flow", "dis",
    ]  # fmt: skip
    outputs = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "simulated device" in done.stderr
        assert "PyCUDA" not in done.stderr
        outputs.append(done.stderr)
    assert outputs[0].count("built ") == 3
    assert "built " not in outputs[1]
