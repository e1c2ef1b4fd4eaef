"""Tests on the simulated device: real pycuda and cuda-bindings, a libcuda on host memory, a double of TensorRT.

They say that memory, streams, threads and contexts are handled rightly, and nothing about a GPU. ``make simulate`` builds
what they need and runs them; elsewhere they are skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import tensorrt_api
from engines.cuda.packages import CUDA_ENVIRONMENT, open_cuda
from engines.cuda.port import Cuda
from tests.simulated.device import SimulatedDevice

PACKAGES = Path(__file__).resolve().parent / "packages"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = [report for report in terminalreporter.getreports("passed") if "tests/simulated/" in report.nodeid]
    if passed:
        terminalreporter.write_line(f"simulated device: {len(passed)} tests passed; no GPU took part")


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimulatedDevice]:
    """The device under a fresh TensorRT double and an empty folder for plans; holds that nothing is left behind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MOTIONMESH_ENGINES", raising=False)
    monkeypatch.syspath_prepend(str(PACKAGES))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    tensorrt_api.shared_log.cache_clear()
    device = SimulatedDevice()
    device.errors.clear()
    before = device.statistics()
    yield device
    after = device.statistics()
    assert {name: after[name] for name in device.alive()} == {name: before[name] for name in device.alive()}
    assert not device.errors
    assert after["left_contexts"] == before["left_contexts"]
    assert after["illegal"] == before["illegal"]
    tensorrt_api.shared_log.cache_clear()
    sys.modules.pop("tensorrt", None)


@pytest.fixture(params=["pycuda", "cuda-bindings"])
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, simulated: SimulatedDevice) -> Cuda:
    """Each way to the driver, chosen as a user chooses it."""
    monkeypatch.setenv(CUDA_ENVIRONMENT, request.param)
    found = open_cuda()
    assert found.name == request.param
    return found
