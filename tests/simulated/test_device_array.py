"""What one engine leaves on the device and another reads there, in another thread, through real pycuda and cuda-bindings."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engines.cuda.port import Cuda
from engines.device_array import DeviceArray
from engines.engine import EngineError
from engines.tensorrt import TensorRtEngine
from engines.tensorrt_builder import BuildOptions, serialise
from tests.engines.conftest import WEIGHTS, linear_model, square_model
from tests.simulated.device import SimulatedDevice, require_simulated

require_simulated()

COUNTED = ("copies", "waits", "replays", "bytes_out")


def linear() -> TensorRtEngine:
    return TensorRtEngine(serialise(linear_model(2), BuildOptions())[0], leaves=("y", 2))


def square() -> TensorRtEngine:
    return TensorRtEngine(serialise(square_model(2), BuildOptions())[0])


def left(engine: TensorRtEngine, value: float) -> DeviceArray:
    found = engine.start({"x": np.full((2, 4), value, np.float32)})
    assert found is not None
    return found


def test_it_is_read_where_it_lies_and_nobody_waits_for_it(port: Cuda, simulated: SimulatedDevice) -> None:
    with linear() as first, square() as second:
        first.warm_up()
        for value in range(1, 6):
            before = simulated.statistics()
            array = left(first, value)
            middle = simulated.statistics()
            assert middle["waits"] == before["waits"]
            assert middle["bytes_out"] == before["bytes_out"]
            assert middle["copies"] == before["copies"] + 1, "the inputs"
            found = second.infer({"z": array})["square"]
            after = simulated.statistics()
            assert after["waits"] == middle["waits"] + 1
            array.release()
            np.testing.assert_allclose(found, (np.full((2, 4), value) @ WEIGHTS) ** 2, rtol=1e-6)
        assert after["replays"] == before["replays"] + 2, "each of the two is a replay"
        # From the host it is taken as before.
        z = np.full((2, 3), 3, np.float32)
        np.testing.assert_allclose(second.infer({"z": z})["square"], z**2)


def test_several_lie_there_at_once_and_a_place_is_used_again(port: Cuda) -> None:
    with linear() as first, square() as second:
        for round_ in range(4):  # plain, recorded, replayed
            arrays = [left(first, value + round_) for value in (1, 2)]
            assert first.start({"x": np.ones((2, 4), np.float32)}) is None, "both places are taken"
            for value, array in zip((1, 2), arrays, strict=True):
                found = second.infer({"z": array})["square"]
                np.testing.assert_allclose(found, (np.full((2, 4), value + round_) @ WEIGHTS) ** 2, rtol=1e-6)
            # A run that comes back in between has its answer where it was laid out.
            x = np.full((2, 4), 9, np.float32)
            np.testing.assert_allclose(first.infer({"x": x})["y"], x @ WEIGHTS)
            for array in arrays:
                array.release()
                array.release()


def test_threads_hand_it_over(port: Cuda) -> None:
    """The reader's stream waits for the writer's; without that the numbers would be those of the frame before."""
    handed: list[tuple[int, DeviceArray]] = []
    found: list[tuple[int, np.ndarray]] = []
    filled, read = threading.Semaphore(0), threading.Semaphore(1)
    with linear() as first, square() as second:

        def write() -> None:
            for value in range(12):
                read.acquire()
                handed.append((value, left(first, value)))
                filled.release()

        def use() -> None:
            for _ in range(12):
                filled.acquire()
                value, array = handed.pop()
                found.append((value, second.infer({"z": array})["square"]))
                array.release()
                read.release()

        threads = [threading.Thread(target=work) for work in (write, use)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 12
    for value, array in found:
        np.testing.assert_allclose(array, (np.full((2, 4), value) @ WEIGHTS) ** 2, rtol=1e-6)


def test_an_answer_that_nobody_read_leaves_nothing_behind(port: Cuda, simulated: SimulatedDevice) -> None:
    before = simulated.alive()
    with linear() as first:
        left(first, 1)
    assert simulated.alive() == before


def test_misuse_is_said(port: Cuda) -> None:
    with linear() as first, square() as second:
        array = left(first, 1)
        assert np.isnan(array).all(), "the CPU sees no numbers"
        assert not array.flags.writeable
        array.release()
        with pytest.raises(EngineError, match=r"^the memory of tensor 'z' on the GPU was given back before the run$"):
            second.infer({"z": array})
        with pytest.raises(EngineError, match="leaves nothing on the GPU"):
            second.start({"z": np.ones((2, 3), np.float32)})
        with pytest.raises(EngineError, match="wrong inputs"):
            first.start({})
        left(first, 1)
        left(first, 2)  # the refused run has given its place back
    with pytest.raises(EngineError, match=r"^no plan gives w$"):
        TensorRtEngine(serialise(linear_model(2), BuildOptions())[0], leaves=("w", 1))
