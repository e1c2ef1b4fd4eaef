"""The self-test: build the engine of every network, compare it with ONNX Runtime, and time it and the whole program."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from common.errors import UserError, one_line
from engines.choices import Precision, PrecisionChoice, RuntimeName
from engines.engine import Arrays, Engine, EngineError
from engines.openvino_cpu import OpenVinoEngine
from engines.ort import OnnxRuntimeEngine
from engines.registry import why_no_tensorrt
from engines.tensorrt import TensorRtEngine
from engines.tensorrt_builder import BuildOptions
from export.checks.machine import describe_machine, gpu_state
from export.checks.selftest_report import NetworkResult, SelfTest
from export.conversion.network import PipelineNetwork
from export.conversion.onnx_tools import OnnxError
from export.conversion.precision import compare_engines, convert
from export.engines import CALIBRATION_FRAMES, build_engines
from export.networks import CLIP, record_samples
from realtime.measure import Report
from realtime.networks import DETECTOR, FLOW_MODELS, KEYPOINT_MODELS
from realtime.options import FlowMethod, Options
from realtime.session import Session

_SLACK = 0.01
"""Accepted mean difference, as a share of the mean size of an output, beyond what precision explains: engines on a
GPU sum in another order, and round float32 products to TensorFloat-32."""
_BODY_SLACK_M = 1e-4
"""The same for the body's points, m. Its engine is built to round no product: one that does is off by more."""
_PROGRAM = frozenset({KEYPOINT_MODELS["fast"], DETECTOR, FLOW_MODELS["raft"], Options().regressor})
"""What the program runs unless it is told otherwise."""
_WARM_UP = 5
_MAX_S = 10.0
"""Seconds that the timing of one network may take."""


def examine(
    network: PipelineNetwork,
    result: NetworkResult,
    opener: Callable[[], Engine],
    samples: Sequence[Arrays],
    repeats: int,
) -> None:
    """Compare and time one engine, and write the outcome into ``result``."""
    if not samples:
        raise EngineError(f"{network.name} is not used on {CLIP.name}: nothing to compare it on")
    twin = convert(network, result.precision, samples) if result.precision != "fp32" else None
    with opener() as engine, OnnxRuntimeEngine(network.data, label=network.name) as reference:
        result.device = engine.device
        gaps = compare_engines(reference, engine, samples)
        explained = dict.fromkeys((gap.output for gap in gaps), 0.0)
        if twin is not None:
            result.remark = twin.remark
            with OnnxRuntimeEngine(twin.twin, label=network.name) as rounding:
                explained = {gap.output: gap.mean for gap in compare_engines(reference, rounding, samples)}
        for gap in gaps:
            slack = _BODY_SLACK_M if network.kind == "body" else _SLACK * gap.size
            result.differences[gap.output] = gap.mean
            result.allowed[gap.output] = 2 * explained[gap.output] + slack
            # Written so that NaN fails too.
            if not gap.mean <= result.allowed[gap.output]:
                result.problem = f"'{gap.output}' differs by {gap.mean:.2g} on average, more than is explained"
        timer = engine.time_runs() if isinstance(engine, TensorRtEngine) else None
        times: list[tuple[float, ...]] = []
        end = time.perf_counter() + _MAX_S
        while len(times) < _WARM_UP + repeats and (time.perf_counter() < end or len(times) <= _WARM_UP):
            began = np.array((time.perf_counter(), time.thread_time()))
            engine.infer(samples[len(times) % len(samples)])
            wall, own = 1e3 * (np.array((time.perf_counter(), time.thread_time())) - began)
            times.append((wall, own, *(timer.times() if timer is not None else ())))
        walls, owns, *on_the_gpu = np.array(times[_WARM_UP:]).T
        if on_the_gpu:
            result.queue_ms, result.gpu_ms = (float(np.median(each)) for each in on_the_gpu)
        result.p50_ms, result.p95_ms = (float(value) for value in np.percentile(walls, [50, 95]))
        result.cpu_ms, result.replays = float(np.median(owns)), engine.replays


def run_program(
    engine: RuntimeName,
    precision: PrecisionChoice,
    video: Path,
    live: bool,
    frames: int,
    flow: FlowMethod,
) -> Report:
    """The whole program over a video, as fast as it can or by the video's own clock."""
    options = Options(
        source=str(video),
        view="none",
        engine=engine,
        frames=frames,
        live=live,
        precision=precision,
        flow=flow,
        quality="live",
        persons=1,
    )
    return Session(options).run()


def run_selftest(
    engine: RuntimeName,
    precision: Precision,
    networks: Mapping[str, PipelineNetwork],
    video: Path = CLIP,
    frames: int = 90,
    repeats: int = 200,
    console: Console | None = None,
) -> SelfTest:
    """Build, compare and measure. Raises `EngineError` where ``engine`` cannot run at all."""
    console = console or Console(stderr=True, highlight=False)
    if engine == "tensorrt" and (missing := why_no_tensorrt()):
        raise EngineError(missing)
    if engine != "tensorrt" and precision != "fp32":
        raise EngineError(f"{engine} runs fp32 only: choose --precision fp32")
    before = gpu_state()
    console.print("recording what the networks see")
    samples = record_samples(networks, CLIP, CALIBRATION_FRAMES if precision == "int8" else 12)
    results = []
    for name, network in networks.items():
        console.print(f"testing {name}")
        result = NetworkResult(name, precision)
        results.append(result)
        try:
            opener = _opener(engine, network, samples[name], result, console)
            examine(network, result, opener, samples[name], repeats)
        except (EngineError, OnnxError) as error:
            result.problem = one_line(error)
    device = next((result.device for result in results if result.device), "")
    test = SelfTest(engine, precision, device, describe_machine() | {"gpu before": before}, results, {}, [])
    # RAFT on a CPU is too slow to tell anything; on a GPU it is compared with DIS.
    flow: FlowMethod = "raft" if engine == "tensorrt" else "dis"
    whole: PrecisionChoice = precision if networks.keys() >= _PROGRAM else "auto"
    runs: list[tuple[str, bool, FlowMethod]] = [("as fast as it can", False, flow), ("live", True, flow)]
    if flow != "dis":
        runs.append(("as fast as it can, with --flow dis", False, "dis"))
    for name, live, method in runs:
        console.print(f"running the whole program, {name}")
        try:
            test.runs[name] = run_program(engine, whole, video, live, frames, method)
        except UserError as error:
            test.problems.append(f"{name}: {' '.join(str(error).split())}")
    test.machine["gpu after"] = gpu_state()
    return test


def _opener(
    engine: RuntimeName, network: PipelineNetwork, samples: Sequence[Arrays], result: NetworkResult, console: Console
) -> Callable[[], Engine]:
    """How to open a network; builds it first where that is needed."""
    if engine == "onnxruntime":
        return lambda: OnnxRuntimeEngine(network.data, label=network.name)
    if engine == "openvino":
        return lambda: OpenVinoEngine(network.data, label=network.name)
    chosen, calibration = {network.name: network}, {network.name: samples}
    (plan,) = build_engines(chosen, BuildOptions(result.precision), samples=calibration, console=console)
    result.precision, result.build_s, result.engine_mb = plan.precision, plan.seconds, plan.size / 1e6
    return lambda: TensorRtEngine(plan.read(), label=network.name, precision=plan.precision)
