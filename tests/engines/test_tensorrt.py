"""The TensorRT engine on a double of TensorRT and of CUDA: numbers, memory, threads, graphs and every refusal."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from engines.cuda.port import CudaError, OutOfGpuMemoryError
from engines.engine import EngineError, TensorSpec
from engines.tensorrt import Part, PlanRefusedError, TensorRtEngine
from engines.tensorrt_builder import BuildOptions, serialise
from tests.engines import tensorrt_double as double
from tests.engines.conftest import WEIGHTS, FakeGpu, linear_model, square_model
from tests.engines.events import check_untimed_event
from tests.engines.host_cuda import _Stream

pytestmark = pytest.mark.usefixtures("fake_gpu")


def plan(rows: int | str = 2, batch: tuple[int, int, int] = (1, 2, 8)) -> bytes:
    return serialise(linear_model(rows), BuildOptions(batch=batch))[0]


def test_named_arrays_in_named_arrays_out(fake_gpu: FakeGpu) -> None:
    with TensorRtEngine(plan(), precision="fp32") as engine:
        assert engine.inputs == (TensorSpec("x", (2, 4), np.dtype(np.float32)),)
        assert [spec.name for spec in engine.outputs] == ["same", "y"]
        assert (engine.runtime, engine.device) == ("tensorrt", "Pretended GPU (SM 8.7), fp32")
        x = np.arange(16, dtype=np.float32).reshape(4, 4)[::2]  # strided, and another one each time
        for value in (1.0, -2.0, 3.0, 4.0):
            found = engine.infer({"x": x * np.float32(value)})
            for name in ("same", "y"):
                np.testing.assert_allclose(found[name], x * value @ WEIGHTS, rtol=1e-6)
    assert fake_gpu.cuda.waits == 4, "one wait a run"


def test_free_dimension_follows_the_input_within_the_profile() -> None:
    with TensorRtEngine(plan("n"), label="linear.onnx") as engine:
        assert engine.inputs[0].shape == (-1, 4)
        for rows in (1, 8, 2, 2, 2, 5):
            x = np.full((rows, 4), rows, np.float32)
            np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS)
        message = r"tensor 'x' \[9, 4\] is outside of what linear.onnx was built for: \[1, 4\] to \[8, 4\]"
        with pytest.raises(EngineError, match=message):
            engine.infer({"x": np.ones((9, 4), np.float32)})
        np.testing.assert_allclose(engine.infer({"x": np.ones((5, 4), np.float32)})["y"][4], WEIGHTS.sum(0))


def test_wrong_feeds_are_named() -> None:
    with TensorRtEngine(plan()) as engine, pytest.raises(EngineError, match=r"tensor 'x' wants float32 \[2, 4\]"):
        engine.infer({"x": np.zeros((2, 4))})


def test_answers_belong_to_the_caller() -> None:
    """Neither a plain run, nor the recording of one, nor a replay, nor one of another shape writes into an earlier answer."""
    runs = [(2, 1), (2, 2), (2, 3), (2, 4), (3, 5)]
    with TensorRtEngine(plan("n")) as engine:
        kept = [engine.infer({"x": np.full((rows, 4), value, np.float32)})["y"] for rows, value in runs]
    for (rows, value), array in zip(runs, kept, strict=True):
        np.testing.assert_allclose(array, np.tile(value * WEIGHTS.sum(0), (rows, 1)), rtol=1e-6)


def test_results_outlive_the_engine_and_the_engine_leaves_nothing(fake_gpu: FakeGpu) -> None:
    engine = TensorRtEngine(plan())
    assert len(fake_gpu.cuda.memory) == 1, "a few numbers are written into pinned memory"
    assert len(fake_gpu.cuda.pinned) == 2
    kept = engine.infer({"x": np.ones((2, 4), np.float32)})["y"]
    engine.close()
    engine.close()
    np.testing.assert_allclose(kept[0], WEIGHTS.sum(0))
    assert not fake_gpu.cuda.memory
    assert not fake_gpu.cuda.pinned
    assert not fake_gpu.cuda.queues
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"x": np.ones((2, 4), np.float32)})


def test_without_the_wait_the_results_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double is late as a GPU is: an engine that forgets to wait would not pass the tests above."""
    with TensorRtEngine(plan()) as engine:
        monkeypatch.setattr(_Stream, "synchronise", lambda self: None)
        found = engine.infer({"x": np.ones((2, 4), np.float32)})["y"]
        assert not np.allclose(found[0], WEIGHTS.sum(0))


def test_each_thread_gets_the_context_once_and_gives_it_back(fake_gpu: FakeGpu) -> None:
    with TensorRtEngine(plan()) as engine:
        found: list[Any] = []

        threads: list[int] = []

        def work() -> None:
            threads.append(threading.get_ident())
            for _ in range(3):
                found.append(engine.infer({"x": np.full((2, 4), len(found), np.float32)})["y"])

        for _ in range(2):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert fake_gpu.cuda.left == threads
    for value, array in enumerate(found):
        np.testing.assert_allclose(array[0], value * WEIGHTS.sum(0), rtol=1e-6)


def test_a_thread_without_the_context_is_found_out(fake_gpu: FakeGpu) -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            fake_gpu.cuda.device_memory(64)
        except CudaError as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "invalid device context" in str(problems[0])


def test_second_run_is_recorded_and_the_rest_replayed(fake_gpu: FakeGpu) -> None:
    cuda = fake_gpu.cuda
    with TensorRtEngine(plan("n")) as engine:
        counts = []
        for rows in (2, 2, 2, 2, 3, 3, 3):
            x = np.full((rows, 4), rows + len(counts), np.float32)
            np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS, rtol=1e-6)
            counts.append((cuda.captures, cuda.launches))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 3), (1, 3), (2, 4), (2, 5)]


def test_warming_up_leaves_nothing_to_the_first_frame(fake_gpu: FakeGpu) -> None:
    with TensorRtEngine(plan()) as engine:
        engine.warm_up()
        assert engine.replays == 2
        assert fake_gpu.cuda.captures == 1
        before = fake_gpu.cuda.launches
        x = np.ones((2, 4), np.float32)
        np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS)
        assert fake_gpu.cuda.launches == before + 1


def test_network_that_cannot_be_recorded_runs_plainly(fake_gpu: FakeGpu) -> None:
    fake_gpu.cuda.refuse_capture = True
    with TensorRtEngine(plan()) as engine:
        for value in (1, 2, 3):
            x = np.full((2, 4), value, np.float32)
            np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS, rtol=1e-6)
    assert (fake_gpu.cuda.captures, fake_gpu.cuda.launches) == (0, 0)


@pytest.mark.parametrize("graphs", [True, False])
def test_graphs_only_where_there_are_any(fake_gpu: FakeGpu, graphs: bool) -> None:
    fake_gpu.cuda.graphs = not graphs
    with TensorRtEngine(plan(), graphs=graphs) as engine:
        for _ in range(3):
            np.testing.assert_allclose(engine.infer({"x": np.ones((2, 4), np.float32)})["y"][1], WEIGHTS.sum(0))
    assert fake_gpu.cuda.captures == 0


@pytest.mark.parametrize("graphs", [True, False])
def test_runs_are_timed_by_events_around_copies_and_networks(fake_gpu: FakeGpu, graphs: bool) -> None:
    with TensorRtEngine(plan(), graphs=graphs) as engine:
        timer = engine.time_runs()
        assert engine.time_runs() is timer
        for _ in range(4):
            engine.infer({"x": np.ones((2, 4), np.float32)})
            assert timer.times().gpu_ms == 1, "the copy in; the answer is written where the host reads it"
            assert timer.times().queue_ms > 0
        assert fake_gpu.cuda.launches == (3 if graphs else 0)


def test_events_that_are_not_timed_tell_no_time(fake_gpu: FakeGpu) -> None:
    fake_gpu.cuda.activate()
    check_untimed_event(fake_gpu.cuda)


def square_plan(rows: int | str = 2) -> bytes:
    return serialise(square_model(rows), BuildOptions(batch=(1, 2, 8)))[0]


def test_plans_in_a_row_are_one_engine(fake_gpu: FakeGpu) -> None:
    parts = [Part(plan("n"), "first", "fp16"), Part(square_plan("n"), "second", "fp32")]
    with TensorRtEngine(parts, links={"z": "y"}) as engine:
        assert [spec.name for spec in engine.inputs] == ["x"]
        assert [spec.name for spec in engine.outputs] == ["same", "y", "square"]
        assert engine.device == "Pretended GPU (SM 8.7), fp16 and fp32"
        for rows in (8, 3, 3, 3, 5):
            before = fake_gpu.cuda.copies
            x = np.full((rows, 4), rows, np.float32)
            found = engine.infer({"x": x})
            np.testing.assert_allclose(found["square"], (x @ WEIGHTS) ** 2, rtol=1e-6)
            np.testing.assert_allclose(found["same"], x @ WEIGHTS, rtol=1e-6)
            assert fake_gpu.cuda.copies - before <= 2
    assert not fake_gpu.cuda.memory


def test_inputs_of_one_name_are_one_input_and_unlinked_ones_come_from_the_caller(fake_gpu: FakeGpu) -> None:
    parts = [Part(plan("n")), Part(plan("n")), Part(square_plan("n"))]
    with TensorRtEngine(parts, inside=["same", "y"]) as engine:
        assert [spec.name for spec in engine.inputs] == ["x", "z"]
        z = np.arange(6, dtype=np.float32).reshape(2, 3)
        found = engine.infer({"x": np.ones((2, 4), np.float32), "z": z})
        assert found.keys() == {"square"}
        np.testing.assert_array_equal(found["square"], z**2)
    with pytest.raises(EngineError, match="no plan gives nonsense"):
        TensorRtEngine(parts, inside=["nonsense"])
    assert not fake_gpu.cuda.memory


@pytest.mark.parametrize("limit", [0, 511])
def test_full_memory_is_one_line_and_leaves_nothing(fake_gpu: FakeGpu, limit: int) -> None:
    data = plan()
    fake_gpu.cuda.limit = limit
    with pytest.raises(OutOfGpuMemoryError, match=r"out of memory"):
        TensorRtEngine(data)
    assert not fake_gpu.cuda.memory
    assert not fake_gpu.cuda.pinned
    assert not fake_gpu.cuda.queues


def test_plan_of_another_version_or_none_at_all(fake_gpu: FakeGpu) -> None:
    data = plan()
    fake_gpu.install("10.7.0")
    with pytest.raises(PlanRefusedError, match=r"does not load odd: .* expecting library version 10.7.0 got 10.3.0"):
        TensorRtEngine(data, label="odd")
    with pytest.raises(PlanRefusedError, match="Magic tag does not match"):
        TensorRtEngine(b"\x00garbage")
    assert not fake_gpu.cuda.queues


@pytest.mark.parametrize(
    ("kind", "method", "answer", "message"),
    [
        ("ICudaEngine", "create_execution_context", None, "TensorRT makes no execution context for net: no reason given"),
        ("IExecutionContext", "set_tensor_address", False, "net: TensorRT takes no memory for tensor 'x'"),
        ("IExecutionContext", "get_tensor_shape", (-1, 3), r"net: the size of tensor 'same' \[-1, 3\] depends on the data"),
        ("ICudaEngine", "get_tensor_location", "HOST", r"net: tensor 'x' is read by the CPU \(a shape\)"),
        ("ICudaEngine", "get_tensor_dtype", "FP8", "net: tensor 'x' has the unsupported type FP8"),
    ],
)  # fmt: skip
def test_every_refusal_at_loading_names_what_it_was(
    fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, kind: str, method: str, answer: object, message: str
) -> None:
    data = plan()
    monkeypatch.setattr(getattr(double, kind), method, lambda *arguments: answer)
    with pytest.raises(EngineError, match=message):
        TensorRtEngine(data, label="net")
    assert not fake_gpu.cuda.memory
    assert not fake_gpu.cuda.queues


def test_refused_run_names_the_network_and_the_next_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones((2, 4), np.float32)
    with TensorRtEngine(plan(), label="net") as engine:
        with monkeypatch.context() as patch:
            patch.setattr(double.IExecutionContext, "execute_async_v3", lambda *arguments: False)
            with pytest.raises(EngineError, match="TensorRT cannot run net: no reason given"):
                engine.infer({"x": x})
        np.testing.assert_allclose(engine.infer({"x": x})["y"][0], WEIGHTS.sum(0))
