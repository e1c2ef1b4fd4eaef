"""Our builder drives a real one of NVIDIA's: TensorRT-RTX, which builds ahead of time on a CPU. ``make rtx`` installs it.

It is not TensorRT, but a sibling with the Python interface of TensorRT 11: every call that `serialise` makes is answered
by NVIDIA's code here, and not by our double.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest
from onnx import TensorProto, helper

from engines import tensorrt_builder
from engines.cuda.driver import Gpu
from engines.engine import EngineError
from engines.manifest import resolve
from engines.tensorrt_api import Log
from engines.tensorrt_builder import BuildOptions, serialise

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: make rtx", exc_type=ImportError)


# Its timing cache is empty and does nothing; the calls are there all the same.
pytestmark = pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")


class NoGpu:
    def activate(self) -> None:
        pass


@pytest.fixture(scope="module")
def log() -> Log:
    return Log(trt)


@pytest.fixture(autouse=True)
def _ahead_of_time(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """TensorRT-RTX in TensorRT's place, told which GPU to build for where it would ask the one that is there."""
    plain = trt.Builder.create_builder_config

    def for_one_gpu(builder: Any) -> Any:
        config = plain(builder)
        config.num_compute_capabilities = 1
        assert config.set_compute_capability(trt.ComputeCapability.SM86, 0)
        return config

    monkeypatch.setattr(trt.Builder, "create_builder_config", for_one_gpu)
    monkeypatch.setattr(tensorrt_builder, "load_tensorrt", lambda: trt)
    monkeypatch.setattr(tensorrt_builder, "shared_log", lambda: log)
    monkeypatch.setattr(tensorrt_builder, "open_cuda", NoGpu)
    monkeypatch.setattr(tensorrt_builder, "probe_gpu", lambda: Gpu("none", "8.6", "12.6"))


@pytest.mark.parametrize("model", ["movenet-lightning", "keypoints"])
def test_real_builder_takes_profile_limits_flags_progress_and_timings(model: str) -> None:
    told: list[tuple[str, int, int]] = []
    options = BuildOptions(workspace_mb=256, batch=(1, 2, 4), tf32=False)
    plan, timings = serialise(resolve(model).read(), options, label=model, progress=lambda *now: told.append(now))
    assert len(plan) > 1_000_000
    assert timings
    assert len({phase for phase, _, _ in told}) > 1
    assert all(0 <= done <= steps for _, done, steps in told)
    assert serialise(resolve(model).read(), options, label=model, timing_cache=timings)[1]
    assert serialise(resolve(model).read(), options, label=model, timing_cache=b"damaged")[1]


def test_real_parser_names_the_node() -> None:
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["y"], name="volume")],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    with pytest.raises(
        EngineError, match=r"^TensorRT cannot read odd.onnx: node 0 'volume' \(Det\): unsupported node$"
    ):
        serialise(model.SerializeToString(), BuildOptions(), label="odd.onnx")


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.8, 1.5])
def test_a_real_ctrl_c_ends_a_real_build(after_s: float) -> None:
    """A signal that the system sends at any moment of the build: its logger and its monitor both call into Python."""
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT))
    data = resolve("raft-small").read()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:  # a fast machine ends a build before the signal comes
                serialise(data, BuildOptions())
    finally:
        timer.join()
    print(f"Ctrl-C after {after_s} s: raised after {time.monotonic() - began:.1f} s")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_is_seen_while_the_logger_is_called(log: Log) -> None:
    """The very case that was lost: the handler runs inside the callback, where an exception goes nowhere."""

    def interrupt(severity: object, msg: str) -> None:
        signal.raise_signal(signal.SIGINT)

    def parse() -> bool:
        network = trt.Builder(log.logger).create_network(0)
        return bool(trt.OnnxParser(network, log.logger).parse(b"no model at all"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(log.logger), "log", lambda self, severity, msg: interrupt(severity, msg))
        with pytest.raises(KeyboardInterrupt):
            log.made("thing", parse)


def test_real_build_can_be_stopped() -> None:
    def stop(phase: str, done: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serialise(resolve("movenet-lightning").read(), BuildOptions(), progress=stop)
