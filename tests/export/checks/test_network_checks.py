"""The self-test measures what is there, finds what is wrong, and writes it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import export.checks.network_checks as module
from common.arrays import AnyArray
from common.errors import UserError
from engines.engine import Arrays, EngineError
from engines.ort import OnnxRuntimeEngine
from export.checks.network_checks import examine, run_selftest
from export.checks.selftest_report import NetworkResult, SelfTest, markdown, write
from export.networks import load_networks
from export.selftest import main
from realtime.measure import Latency, Report, StageReport
from tests.engines.conftest import FakeGpu, fake_gpu
from tests.engines.feeds import feeds_for

__all__ = ["fake_gpu"]


def some_report() -> Report:
    stages = {"flow": StageReport(9, 1.0, 2.0, 3.0)}
    return Report(
        9, 0, 9, 30.0, Latency(5.0, 6.0, float("nan")), 1.0, stages, 400.0, "tensorrt", "a GPU", 2, "clip", "1"
    )


def test_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        main("onnxruntime", networks="keypoints,body", frames=20, repeats=5, output=tmp_path / "out")
    printed = capsys.readouterr()
    assert caught.value.exit_code == 0, printed.err
    found = json.loads((tmp_path / "out" / "selftest.json").read_text())
    assert found["passed"]
    assert [row["name"] for row in found["networks"]] == ["keypoints", "body"]
    for row in found["networks"]:
        assert row["p50_ms"] > 0
        assert row["cpu_ms"] > 0
        assert (row["replays"], row["queue_ms"], row["gpu_ms"]) == (0, None, None)  # there are none on a CPU
        assert max(row["differences"].values()) == 0  # the same engine on both sides
        assert row["build_s"] is None  # nothing was built
    assert {run["frames_in"] for run in found["runs"].values()} == {20}
    assert found["device"] in printed.out
    assert (tmp_path / "out" / "selftest.md").read_text().startswith("# Self-test: passed")


def test_on_a_gpu_engines_are_built_and_compared(
    fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def run(*arguments: object) -> Report:
        asked.append(arguments[:2] + arguments[-1:])
        return some_report()

    monkeypatch.setattr(module, "run_program", run)
    test = run_selftest("tensorrt", "fp16", load_networks(["keypoints"]), repeats=5)
    assert test.passed, test
    assert test.device == "Pretended GPU (SM 8.7), fp16"
    (result,) = test.networks
    assert result.engine_mb > 0
    assert result.gpu_ms == 2, "a copy in and one out, a millisecond of the double each"
    assert f"| {result.queue_ms:.2f} | 2.00 | {result.replays} |" in markdown(test)
    assert 0 < result.differences["rotations"] < result.allowed["rotations"]
    assert asked == [
        ("tensorrt", "auto", flow) for flow in ("raft", "raft", "dis")
    ]  # only one network was built in fp16
    text = write(test, tmp_path)[1].read_text()
    assert "Measured on Pretended GPU (SM 8.7), fp16, tensorrt in fp16." in text
    assert json.loads((tmp_path / "selftest.json").read_text())["runs"]["live"]["latency_ms"]["p99"] is None


class Wrong(OnnxRuntimeEngine):
    """An engine that is off by a tenth in one output."""

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        found = super().infer(feeds)
        found["pelvis"] *= np.float32(1.1)
        return found


@pytest.fixture
def examined() -> NetworkResult:
    network = load_networks(["keypoints"])["keypoints"]
    with OnnxRuntimeEngine(network.data) as engine:
        samples = [feeds_for(engine, seed) for seed in range(3)]
    result = NetworkResult("keypoints", "fp32")
    examine(network, result, lambda: Wrong(network.data), samples, 5)
    return result


def test_a_wrong_answer_is_found(examined: NetworkResult) -> None:
    assert examined.problem.startswith("'pelvis' differs by")
    test = SelfTest("tensorrt", "fp32", "a GPU", {}, [examined], {}, [])
    assert not test.passed
    assert markdown(test).startswith("# Self-test: FAILED")
    assert examined.problem in markdown(test)


def test_a_network_that_nobody_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was compared: that is no success, and no crash either."""
    monkeypatch.setattr(module, "run_program", lambda *_: some_report())
    monkeypatch.setattr(module, "record_samples", lambda networks, *_: {name: [] for name in networks})
    test = run_selftest("onnxruntime", "fp32", load_networks(["keypoints"]), repeats=5)
    (result,) = test.networks
    assert result.problem == "keypoints is not used on synthetic_walk.mp4: nothing to compare it on"
    assert "# Self-test: FAILED" in markdown(test)


def test_one_broken_network_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_program", lambda *_: some_report())
    real = module.examine

    def breaking(network: Any, *arguments: Any) -> None:
        if network.name == "body":
            raise EngineError("out of memory")
        real(network, *arguments)

    monkeypatch.setattr(module, "examine", breaking)
    test = run_selftest("onnxruntime", "fp32", load_networks(["body", "keypoints"]), repeats=5)
    assert [result.problem for result in test.networks] == ["out of memory", ""]
    assert not test.passed
    assert test.networks[1].p50_ms > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("onnxruntime", "fp16"), "onnxruntime runs fp32 only"),
        (("onnxruntime", None, "nobody"), "there is no model 'nobody'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        main(*arguments)


def test_without_a_gpu_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "why_no_tensorrt", lambda: "no NVIDIA driver here")
    with pytest.raises(UserError, match=r"^no NVIDIA driver here$"):
        main()
