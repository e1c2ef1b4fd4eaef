"""The TensorRT engine through real pycuda and real cuda-bindings, on the simulated device."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.cuda.driver import probe_gpu
from engines.cuda.port import Cuda, CudaError, OutOfGpuMemoryError
from engines.engine import EngineError
from engines.plans import PlanPolicy
from engines.registry import open_engine, why_no_tensorrt
from engines.tensorrt import Part, TensorRtEngine
from engines.tensorrt_builder import BuildOptions, serialise
from tests.conftest import Remarks
from tests.engines.conftest import WEIGHTS, linear_model, square_model
from tests.engines.events import check_untimed_event
from tests.engines.feeds import HEAVY, SHIPPED, feeds_for
from tests.simulated.device import SimulatedDevice, require_simulated

require_simulated()

TOLERANCE = 1e-4


def plan(rows: int | str = 2) -> bytes:
    return serialise(linear_model(rows), BuildOptions(batch=(1, 2, 8)))[0]


def plan_of_square(rows: int | str = 2) -> bytes:
    return serialise(square_model(rows), BuildOptions(batch=(1, 2, 8)))[0]


def in_thread(work: object) -> None:
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_the_device_says_what_it_is(port: Cuda) -> None:
    assert str(probe_gpu()) == "simulated device (SM 8.7)"
    assert why_no_tensorrt() == ""
    with TensorRtEngine(plan()) as engine:
        assert engine.device == "simulated device (SM 8.7)"


@pytest.mark.parametrize("model", SHIPPED)
def test_shipped_models_give_what_onnx_runtime_gives(
    port: Cuda, simulated: SimulatedDevice, model: str, remarks: Remarks
) -> None:
    with (
        open_engine(model, "onnxruntime") as reference,
        open_engine(model, "tensorrt", plans=PlanPolicy("fp32")) as engine,
    ):
        assert (engine.inputs, engine.outputs) == (reference.inputs, reference.outputs)
        for seed in range(2 if model == HEAVY else 4):  # the second is recorded where there are graphs, and replayed
            feeds = feeds_for(reference, seed)
            expected, found = reference.infer(feeds), engine.infer(feeds)
            for name, array in expected.items():
                np.testing.assert_allclose(found[name], array, atol=TOLERANCE, rtol=TOLERANCE)
    assert [line.split()[0] for line in remarks] == ["building", "built"]
    assert simulated.statistics()["pageable_copies"] == 0, "every copy is from or to pinned memory"


@pytest.mark.parametrize("version", ["8.6.1", "11.4.0.106"])
def test_other_generations_of_tensorrt(port: Cuda, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("SIMULATED_TENSORRT", version)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    with TensorRtEngine(plan("n")) as engine:
        np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS)


def test_answers_belong_to_the_caller(port: Cuda, simulated: SimulatedDevice) -> None:
    """They are no views of pinned memory, into which the next run is copied and which dies with the engine."""
    with TensorRtEngine(plan("n")) as engine:
        kept = [engine.infer({"x": np.full((2, 4), value, np.float32)})["y"] for value in range(4)]
        kept.append(engine.infer({"x": np.full((2, 4), 4, np.float32)})["same"])
    for value, array in enumerate(kept):
        np.testing.assert_allclose(array, np.tile(value * WEIGHTS.sum(0), (2, 1)), rtol=1e-6)
        assert array.flags.owndata


def test_events_time_the_work_of_the_device(port: Cuda, simulated: SimulatedDevice) -> None:
    before = simulated.alive()
    with TensorRtEngine(plan()) as engine:
        timer = engine.time_runs()
        for _ in range(4):  # plain, recorded as a graph, and replayed
            engine.infer({"x": np.ones((2, 4), np.float32)})
            queue_ms, gpu_ms = timer.times()
            assert gpu_ms >= simulated.copy_ms, "the copy in"
            assert queue_ms > 0
        assert engine.replays > 0
    assert simulated.alive() == before
    check_untimed_event(port)


def test_nothing_is_left_after_a_thousand_runs(port: Cuda, simulated: SimulatedDevice) -> None:
    before = simulated.alive()
    with TensorRtEngine(plan("n")) as engine:
        at_work = None
        for run in range(1000):
            rows = 1 + run // 250
            x = np.full((rows, 4), run, np.float32)
            np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS, rtol=1e-6)
            if run == 2:
                at_work = simulated.alive()
        assert simulated.alive() == at_work
    assert simulated.alive() == before


def test_without_the_wait_the_results_are_old(port: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TensorRtEngine(plan(), graphs=False)
    with monkeypatch.context() as patch:
        patch.setattr(type(engine._stream), "synchronise", lambda self: None)
        found = engine.infer({"x": np.ones((2, 4), np.float32)})["y"]
    engine._stream.synchronise()
    assert not np.allclose(found[0], WEIGHTS.sum(0)), "a missing wait is seen"
    engine.close()


def test_each_thread_gets_the_context_and_gives_it_back(port: Cuda, simulated: SimulatedDevice) -> None:
    x = np.ones((2, 4), np.float32)
    found: list[NDArray[np.float32]] = []
    with TensorRtEngine(plan()) as engine:
        for _ in range(3):
            in_thread(lambda: found.append(engine.infer({"x": x})["y"]))
        found.append(engine.infer({"x": x})["y"])
    for array in found:
        np.testing.assert_allclose(array[1], WEIGHTS.sum(0))
    in_thread(engine.close)
    assert len(found) == 4


def test_engines_of_several_threads_at_once(port: Cuda) -> None:
    wrong: list[int] = []
    done: list[int] = []

    def work(value: int) -> None:
        x = np.full((2, 4), value, np.float32)
        with TensorRtEngine(plan()) as engine:
            right = [np.allclose(engine.infer({"x": x})["y"], x @ WEIGHTS) for _ in range(20)]
        wrong.extend([value] * right.count(False))
        done.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(done) == [0, 1, 2]


def test_a_thread_without_the_context_is_found_out(port: Cuda) -> None:
    problems: list[str] = []

    def work() -> None:
        for attempt in (lambda: port.device_memory(64), lambda: port.pinned_memory(64), port.stream):
            with pytest.raises(CudaError) as caught:
                attempt()
            problems.append(str(caught.value))

    in_thread(work)
    assert len(problems) == 3
    assert all("context" in line and "\n" not in line for line in problems)


@pytest.mark.parametrize("size", [0, 511, 1535])
def test_full_memory_is_one_line_and_leaves_nothing(port: Cuda, simulated: SimulatedDevice, size: int) -> None:
    data = plan()
    before = simulated.alive()
    simulated.limit(size)
    try:
        with pytest.raises(OutOfGpuMemoryError, match=r"out of memory.*close other programs"):
            TensorRtEngine(data)
    finally:
        simulated.limit(1 << 33)
    assert simulated.alive() == before


def test_auto_goes_on_with_the_cpu_when_memory_is_full(
    port: Cuda, simulated: SimulatedDevice, tmp_path: Path, remarks: Remarks
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(linear_model())
    simulated.limit(0)
    try:
        with open_engine(path, plans=PlanPolicy()) as engine:
            assert engine.runtime != "tensorrt"
    finally:
        simulated.limit(1 << 33)
    assert remarks[-1].endswith("mine runs on the CPU")


def test_copies_beyond_a_block_or_into_a_freed_one_are_refused(port: Cuda) -> None:
    port.activate()
    stream, memory, pinned = port.stream(), port.device_memory(64), port.pinned_memory(128)
    try:
        with pytest.raises(CudaError, match="invalid argument"):
            port.copy_in(memory, pinned.bytes, stream)
        with pytest.raises(CudaError, match="invalid argument"):
            port.copy_out(pinned.bytes, memory, stream)
        port.copy_in(memory, pinned.bytes[:64], stream)
        stream.synchronise()
    finally:
        memory.close()
    with pytest.raises(CudaError, match="invalid argument"):
        port.copy_in(memory, pinned.bytes[:64], stream)
    pinned.close()
    stream.close()


def test_memory_freed_under_queued_work_is_found_out(port: Cuda, simulated: SimulatedDevice) -> None:
    port.activate()
    stream, memory, pinned = port.stream(), port.device_memory(64), port.pinned_memory(64)
    for _ in range(5):  # so that the last has not been done when its memory goes
        port.copy_in(memory, pinned.bytes, stream)
    memory.close()
    try:
        with pytest.raises(CudaError, match="illegal memory access"):
            stream.synchronise()
        assert simulated.statistics()["illegal"] > 0
    finally:
        simulated.reset()
        pinned.close()
        stream.close()


def test_graphs_are_recorded_once_and_replayed(port: Cuda, simulated: SimulatedDevice) -> None:
    with TensorRtEngine(plan("n")) as engine:
        graphs = []
        for rows in (2, 2, 2, 3, 3, 3):
            x = np.full((rows, 4), len(graphs) + 1, np.float32)
            np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS, rtol=1e-6)
            graphs.append(simulated.alive()["graphs"])
        assert engine.replays == 4
    assert graphs == [0, 1, 1, 0, 1, 1]


def test_a_run_is_two_copies_and_one_wait_however_many_tensors_there_are(
    port: Cuda, simulated: SimulatedDevice
) -> None:
    with (
        open_engine("motion", "onnxruntime") as reference,
        open_engine("motion", "tensorrt", plans=PlanPolicy("fp32")) as engine,
    ):
        assert len(engine.inputs) + len(engine.outputs) > 15
        for seed in range(4):  # plain, recorded, replayed
            before = simulated.statistics()
            engine.infer(feeds_for(reference, seed))
            after = simulated.statistics()
            assert {name: after[name] - before[name] for name in ("copies", "waits", "replays")} == {
                "copies": 2,
                "waits": 1,
                "replays": int(seed > 0),
            }


def test_what_one_plan_hands_to_the_next_stays_on_the_device(port: Cuda, simulated: SimulatedDevice) -> None:
    parts = [Part(plan("n"), "first"), Part(plan_of_square("n"), "second")]
    with TensorRtEngine(parts, links={"z": "y"}, inside=("same", "y")) as engine:
        assert ([spec.name for spec in engine.inputs], [spec.name for spec in engine.outputs]) == (["x"], ["square"])
        for value in (1, 2, 3):
            before = simulated.statistics()["copies"]
            x = np.full((2, 4), value, np.float32)
            np.testing.assert_allclose(engine.infer({"x": x})["square"], (x @ WEIGHTS) ** 2, rtol=1e-6)
            assert simulated.statistics()["copies"] == before + 1, "of a few numbers none comes back"
        assert engine.replays == 2


@pytest.mark.parametrize("urgent", [True, False])
def test_urgent_streams_have_the_greatest_priority(port: Cuda, simulated: SimulatedDevice, urgent: bool) -> None:
    before = simulated.statistics()["urgent_streams"]
    with TensorRtEngine(plan(), urgent=urgent):
        made = simulated.statistics()["urgent_streams"] - before
    assert made == int(urgent and port.name == "cuda-bindings"), "pycuda makes no others"


def test_network_that_cannot_be_recorded_runs_plainly(port: Cuda, simulated: SimulatedDevice) -> None:
    engine = TensorRtEngine(plan())
    context = engine._networks[0].context
    run = context.execute_async_v3
    synchronise = engine._stream.synchronise

    def with_a_wait(stream_handle: int) -> bool:
        """As networks do that look at their own results half way."""
        ctypes.CDLL("libcuda.so.1").cuStreamSynchronize(ctypes.c_void_p(stream_handle))
        return run(stream_handle)

    context.execute_async_v3 = with_a_wait  # type: ignore[method-assign]
    for value in (1, 2, 3, 4):
        x = np.full((2, 4), value, np.float32)
        np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS)
        assert simulated.alive()["graphs"] == 0
    synchronise()
    engine.close()


def test_refused_run_leaves_a_working_engine(port: Cuda) -> None:
    with TensorRtEngine(plan("n"), label="net") as engine:
        with pytest.raises(EngineError, match=r"tensor 'x' \[9, 4\] is outside of what net was built for"):
            engine.infer({"x": np.ones((9, 4), np.float32)})
        np.testing.assert_allclose(engine.infer({"x": np.ones((8, 4), np.float32)})["y"][7], WEIGHTS.sum(0))
