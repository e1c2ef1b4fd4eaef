"""Engines are built in lower precision, and the program finds and runs them; a TensorRT double computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import export.engines as command
from common.errors import UserError
from engines.engine import EngineError
from engines.plans import PlanPolicy, find_plans
from engines.registry import open_engine
from engines.tensorrt_builder import BuildOptions
from export.engines import build_engines, main
from export.networks import Recorder, load_networks
from tests.engines.conftest import FakeGpu, fake_gpu
from tests.engines.feeds import feeds_for

__all__ = ["fake_gpu"]


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0.106"])
def test_the_program_finds_and_runs_what_was_built(fake_gpu: FakeGpu, version: str) -> None:
    fake_gpu.install(version)
    networks = load_networks(["keypoints"])
    (plan,) = build_engines(networks, BuildOptions("fp16", batch=(1, 1, 4)))
    assert (plan.precision, plan.reused) == ("fp16", False)
    assert [found.path for found in find_plans(networks["keypoints"].data, "fp16")] == [plan.path]
    with (
        open_engine("keypoints", "onnxruntime") as reference,
        open_engine("keypoints", "tensorrt", plans=PlanPolicy("auto")) as engine,
    ):
        assert [spec.name for spec in engine.inputs] == [spec.name for spec in reference.inputs]
        feeds = feeds_for(reference, 2)
        expected, found = reference.infer(feeds), engine.infer(feeds)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=2e-2 * max(1.0, float(np.abs(array).max())))
    (again,) = build_engines(networks, BuildOptions("fp16", batch=(1, 1, 4)))
    assert again.reused
    (anew,) = build_engines(networks, BuildOptions("fp16", batch=(1, 1, 4)), force=True)
    assert not anew.reused


def test_int8_is_calibrated_with_what_the_network_sees(fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CALIBRATION_FRAMES", 4)
    networks = load_networks(["movenet-lightning"])
    (plan,) = build_engines(networks, BuildOptions("int8"))
    assert plan.precision == "int8"
    assert b"QuantizeLinear" in plan.read()
    with (
        open_engine("movenet-lightning", "onnxruntime") as reference,
        open_engine("movenet-lightning", "tensorrt", plans=PlanPolicy("int8")) as engine,
    ):
        assert (engine.inputs, engine.outputs) == (reference.inputs, reference.outputs)


def test_the_body_is_full_float32_in_every_precision(fake_gpu: FakeGpu) -> None:
    fake_gpu.install("10.3.0", dla_cores=1)
    networks = load_networks(["body", "keypoints"])
    body, regressor = build_engines(networks, BuildOptions("fp16", dla=0))
    assert body.options == BuildOptions("fp32", tf32=False)
    assert regressor.options == BuildOptions("fp16", dla=0)


def test_the_command_says_what_it_did(fake_gpu: FakeGpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "plans"
    for expected in ("built in", "was there"):
        main("fp32", "movenet-multipose", output=folder)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("movenet-multipose")
        assert expected in lines[0]
        assert lines[1] == f"in {folder}"
    assert len(list(folder.glob("*.plan"))) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"precision": "fp32", "dla": 0}, "a DLA core computes in fp16 or int8 only"),
        ({"batch": (3, 2, 1)}, "must rise"),
        ({"networks": "nobody"}, "there is no model 'nobody'"),
        ({"networks": "body", "body": Path("nobody.npz")}, "there is no body"),
        ({"networks": "keypoints"}, "no NVIDIA driver"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "driver" in says:

        def no_driver() -> None:
            raise EngineError("no NVIDIA driver here")

        monkeypatch.setattr(command.Target, "here", no_driver)
    with pytest.raises(UserError) as caught:
        main(**arguments)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recording_keeps_an_even_choice() -> None:
    samples: list[object] = []
    with open_engine("keypoints", "onnxruntime") as engine:
        recorder = Recorder(engine, samples, max_samples=4)  # type: ignore[arg-type]
        feeds = feeds_for(engine, 0)
        for number in range(20):
            recorder.infer(feeds | {"dt": np.array([number + 1], np.float32)})
    kept = [float(sample["dt"][0]) - 1 for sample in samples]  # type: ignore[index]
    assert len(kept) <= 4
    assert kept[0] == 0
    assert len(set(np.diff(kept))) == 1
    assert kept[-1] >= 12


def test_a_device_builds_its_engines_without_torch() -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import export.engines, export.selftest\n"
        "from export.networks import load_networks\n"
        "assert {'movenet-lightning', 'body'} <= load_networks().keys()\n"
        "assert 'training' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
