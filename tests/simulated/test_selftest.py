"""The self-test, with the whole program in it, on the simulated device."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.cuda.packages import CUDA_ENVIRONMENT
from export.checks.network_checks import run_selftest
from export.checks.selftest_report import markdown, write
from export.networks import load_networks
from tests.simulated.device import SimulatedDevice, require_simulated

require_simulated()

NETWORKS = ["raft-small-256", "keypoints", "motion", "body"]


def test_a_user_gets_a_report(simulated: SimulatedDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CUDA_ENVIRONMENT, "cuda-bindings")
    before = simulated.alive()
    test = run_selftest("tensorrt", "fp16", load_networks(NETWORKS), frames=4, repeats=5)
    assert simulated.alive() == before
    assert test.passed, markdown(test)
    found = [(result.name, result.precision) for result in test.networks]
    assert found == [("raft-small-256", "fp16"), ("keypoints", "fp16"), ("motion", "fp16"), ("body", "fp32")]
    assert {report.engine for report in test.runs.values()} == {"tensorrt"}
    assert test.runs["as fast as it can"].meshes > 0
    assert test.runs["as fast as it can, with --flow dis"].meshes > 0
    for result in test.networks:
        assert result.replays > 5, "every inference but the first ones"
        assert result.cpu_ms > 0
        assert result.queue_ms > 0
        assert result.gpu_ms >= simulated.copy_ms, "the copy in, for which queueing does not wait"
    assert test.machine["driver through"] == "cuda-bindings"
    assert test.runs["live"].results > 0, "whether somebody is found in its four frames depends on this machine's speed"
    text = write(test, tmp_path)[1].read_text()
    assert text.startswith("# Self-test: passed")
    assert "simulated device" in text
