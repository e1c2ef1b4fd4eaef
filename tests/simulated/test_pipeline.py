"""The whole program on the simulated device gives what it gives with ONNX Runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import realtime.networks
from engines.cuda.packages import CUDA_ENVIRONMENT
from engines.cuda.port import Cuda
from realtime.options import Options
from realtime.session import Session
from tests.conftest import Remarks
from tests.realtime.quick_flow import quick_flow
from tests.simulated.conftest import PACKAGES
from tests.simulated.device import SimulatedDevice, require_simulated

require_simulated()

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "assets" / "synthetic_walk.mp4"
TOLERANCE = 1e-4
COUNTED = ("copies", "waits", "replays", "bytes_in", "bytes_out")


def motion(engine: str, path: Path, flow: str, frames: int, precision: str = "fp32") -> dict[str, np.ndarray]:
    what = {"source": str(CLIP), "view": "none", "save": (path,), "quality": "live", "persons": 1}
    options = Options(engine=engine, frames=frames, flow=flow, precision=precision, **what)  # type: ignore[arg-type]
    report = Session(options).run()
    assert report.meshes == frames
    assert report.engine == engine
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.mark.parametrize(("flow", "frames", "networks"), [("dis", 40, 5), ("raft", 4, 7)])
def test_same_bodies_as_with_onnx_runtime(
    port: Cuda, simulated: SimulatedDevice, tmp_path: Path, remarks: Remarks, flow: str, frames: int, networks: int
) -> None:
    expected = motion("onnxruntime", tmp_path / "ort.npz", flow, frames)
    before = simulated.alive()
    remarks.clear()
    found = motion("tensorrt", tmp_path / "trt.npz", flow, frames)
    assert simulated.alive() == before
    assert "networks run on tensorrt, simulated device (SM 8.7), fp32" in remarks
    assert sum(line.startswith("built ") for line in remarks) == networks
    assert any(line.startswith("built body in fp32") for line in remarks), "the device poses the body"
    compared = 0
    for name, array in expected.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(found[name], array, atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)
            compared += 1
    assert compared >= 8
    assert np.ptp(found["joints_m"], axis=0).max() > 1e-3 * frames, "somebody walks"
    assert simulated.statistics()["pageable_copies"] == 0


@pytest.mark.parametrize(
    ("flow", "copies", "waits", "replays", "kb_in", "kb_out"), [("dis", 3, 2, 2, 127, 92), ("raft", 4, 2, 3, 1012, 92)]
)
def test_a_frame_of_one_person_is_few_copies_waits_and_bytes(
    port: Cuda,
    simulated: SimulatedDevice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flow: str,
    copies: int,
    waits: int,
    replays: int,
    kb_in: int,
    kb_out: int,
) -> None:
    """Keypoints, whose answer the device writes into pinned memory; RAFT beside them, whose answer stays there; then regressor,
    filter and body in one. Crops go there as bytes. Counted between two runs of unlike lengths, so that starting and the first
    search for people do not count. A network of RAFT's shape stands for it, which is not slower than the rest: for one that is,
    the CPU would wait before it uploads the next crops."""
    (tmp_path / "quick.onnx").write_bytes(quick_flow())
    monkeypatch.setitem(realtime.networks.FLOW_MODELS, "raft", str(tmp_path / "quick.onnx"))
    counts, lengths = [], (3, 9)
    for frames in lengths:
        before = simulated.statistics()
        motion("tensorrt", tmp_path / f"{frames}.npz", flow, frames)
        after = simulated.statistics()
        counts.append({name: after[name] - before[name] for name in COUNTED})
    more = lengths[1] - lengths[0]
    for name, most in (("bytes_in", kb_in), ("bytes_out", kb_out)):
        assert counts[1][name] - counts[0][name] <= 1000 * most * more
    assert counts[1]["copies"] - counts[0]["copies"] <= copies * more
    # Two more where a busy machine has not come to an upload yet.
    assert counts[1]["waits"] - counts[0]["waits"] <= waits * more + 2 * (flow == "raft")
    # Each place in which RAFT leaves its answer has a graph of its own, recorded when it is used for the second time.
    assert counts[1]["replays"] - counts[0]["replays"] >= replays * more - 4, "every run is the replay of a graph"


def test_a_first_run_is_in_float16_and_hardly_another(
    port: Cuda, simulated: SimulatedDevice, tmp_path: Path, remarks: Remarks
) -> None:
    expected = motion("onnxruntime", tmp_path / "ort.npz", "dis", 20)
    remarks.clear()
    found = motion("tensorrt", tmp_path / "trt.npz", "dis", 20, "auto")
    built = sorted(line.split(":")[0] for line in remarks if line.startswith("built "))
    assert built == [
        "built body in fp32",
        "built motion in fp16",
        "built movenet-lightning in fp16",
        "built movenet-multipose in fp16",
        "built smoothing in fp32",
    ]
    gap = np.linalg.norm(found["joints_m"] - expected["joints_m"], axis=-1)
    assert 0 < gap.mean() < 0.01


def run_program(cache: Path, *arguments: str, **variables: str) -> str:
    """Run the program as a user does; returns what it said. An exit code of 0 says that no thread kept its context."""
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": os.pathsep.join([str(PACKAGES), str(ROOT)]),
        **variables,
    }
    command = [
        sys.executable, str(ROOT / "run_camera.py"), "--view", "none", "--source", str(CLIP), "--frames", "10",
        "--engine", "tensorrt", "--flow", "dis", "--quality", "live", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "simulated device" in done.stderr
    assert "PyCUDA" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("package", ["pycuda", "cuda-bindings"])
def test_the_program_builds_once_runs_and_ends_cleanly(tmp_path: Path, package: str) -> None:
    first, second = (run_program(tmp_path, **{CUDA_ENVIRONMENT: package}) for _ in range(2))
    assert first.count("built ") == 5
    assert "built " not in second


def test_plans_of_another_machine_want_trust(tmp_path: Path) -> None:
    run_program(tmp_path / "theirs")
    plans = {"MOTIONMESH_ENGINES": str(tmp_path / "theirs" / "motionmesh" / "engines")}
    assert "built " not in run_program(tmp_path / "ours", "--trust-engine", **plans)
    said = run_program(tmp_path / "ours", **plans)
    assert said.count("was not built by this machine (--trust-engine loads it all the same): building it anew") == 5
    assert "built " not in run_program(tmp_path / "ours", **plans)
