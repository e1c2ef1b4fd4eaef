"""What both runtimes promise, on a model of one matrix product."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.arrays import AnyArray
from engines.engine import Engine, EngineError, TensorSpec
from engines.openvino_cpu import OpenVinoEngine
from engines.ort import OnnxRuntimeEngine
from tests.engines.conftest import WEIGHTS, handed_on_model, linear_model

ENGINES = [OnnxRuntimeEngine, OpenVinoEngine]
CpuEngine = type[OnnxRuntimeEngine] | type[OpenVinoEngine]

pytestmark = pytest.mark.parametrize("kind", ENGINES, ids=lambda kind: kind.runtime)


def test_named_arrays_in_named_arrays_out(kind: CpuEngine, linear: bytes) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    with kind(linear) as engine:
        assert engine.inputs == (TensorSpec("x", (2, 4), np.dtype(np.float32)),)
        assert [spec.name for spec in engine.outputs] == ["same", "y"]
        assert engine.runtime == kind.runtime
        assert "core" in engine.device
        found = engine.infer({"x": x})
    assert list(found) == ["same", "y"]
    for array in found.values():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, x @ WEIGHTS, rtol=1e-6)


def test_runs_from_a_file(kind: CpuEngine, linear: bytes, tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    path.write_bytes(linear)
    with kind(path) as engine:
        np.testing.assert_allclose(engine.infer({"x": np.ones((2, 4), np.float32)})["y"][0], WEIGHTS.sum(0))


def test_each_call_sees_its_own_input(kind: CpuEngine, linear: bytes) -> None:
    with kind(linear) as engine:
        for value in (1.0, -2.0, 3.0):
            found = engine.infer({"x": np.full((2, 4), value, np.float32)})
            np.testing.assert_allclose(found["y"], np.tile(value * WEIGHTS.sum(0), (2, 1)))


def test_takes_strided_and_read_only_arrays(kind: CpuEngine, linear: bytes) -> None:
    strided = np.arange(16, dtype=np.float32).reshape(4, 4)[::2]
    locked = strided.copy()
    locked.setflags(write=False)
    with kind(linear) as engine:
        for x in (strided, locked):
            np.testing.assert_allclose(engine.infer({"x": x})["y"], strided @ WEIGHTS)


def test_free_dimension_follows_the_input(kind: CpuEngine) -> None:
    with kind(linear_model("n")) as engine:
        assert engine.inputs[0].shape == (-1, 4)
        for rows in (1, 5, 2):
            x = np.full((rows, 4), rows, np.float32)
            np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS)


@pytest.mark.parametrize("rows", [2, "n"])
def test_answers_belong_to_the_caller(kind: CpuEngine, rows: int | str) -> None:
    """No later run writes into them, be the memory of an output fixed or free."""
    with kind(linear_model(rows)) as engine:
        kept = [engine.infer({"x": np.full((2, 4), value, np.float32)}) for value in range(4)]
    for value, found in enumerate(kept):
        for array in found.values():
            np.testing.assert_allclose(array, np.tile(value * WEIGHTS.sum(0), (2, 1)), rtol=1e-6)
            array += 1  # it may be written into, too


@pytest.mark.parametrize("rows", [2, "n"])
def test_inputs_stay_the_callers(kind: CpuEngine, rows: int | str) -> None:
    """They can be changed and freed after the call, and the network writes into none of them."""
    random = np.random.default_rng(0)
    kept: list[tuple[AnyArray, AnyArray]] = []
    with kind(linear_model(rows)) as engine:
        for count in (2, 2, 2, 5, 2) if rows == "n" else (2, 2, 2):
            x = random.normal(size=(count, 4)).astype(np.float32)
            before = x.copy()
            found = engine.infer({"x": x})["y"]
            np.testing.assert_array_equal(x, before)
            assert not np.shares_memory(x, found)
            x[:] = np.nan
            del x
            gc.collect()
            random.normal(size=(count, 4))  # takes the freed memory
            kept.append((before, found))
    for before, found in kept:
        np.testing.assert_allclose(found, before @ WEIGHTS, rtol=1e-5, atol=1e-6)


def test_an_engine_holds_no_array_of_the_caller(kind: CpuEngine, linear: bytes) -> None:
    x = np.ones((2, 4), np.float32)
    alone = sys.getrefcount(x)
    with kind(linear) as engine:
        engine.infer({"x": x})
        assert sys.getrefcount(x) == alone


def test_an_input_that_is_an_output_as_well_is_copied(kind: CpuEngine) -> None:
    """A graph may hand an input on as it is."""
    with kind(handed_on_model()) as engine:
        first = np.full((2, 4), 1.0, np.float32)
        kept = engine.infer({"x": first})["same"]
        first[:] = 5
        engine.infer({"x": np.full((2, 4), 7.0, np.float32)})
        np.testing.assert_array_equal(kept, np.ones((2, 4), np.float32))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "missing ['x'], unknown []"),
        ({"x": np.zeros((2, 4), np.float32), "z": np.zeros(1)}, "missing [], unknown ['z']"),
        ({"x": np.zeros((3, 4), np.float32)}, "tensor 'x' wants float32 [2, 4], got float32 [3, 4]"),
        ({"x": np.zeros((2, 4))}, "tensor 'x' wants float32 [2, 4], got float64 [2, 4]"),
        ({"x": np.zeros(8, np.float32)}, "tensor 'x' wants float32 [2, 4], got float32 [8]"),
    ],
)
def test_wrong_feeds_are_named(
    kind: CpuEngine, linear: bytes, feeds: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]], message: str
) -> None:
    with kind(linear) as engine, pytest.raises(EngineError) as caught:
        engine.infer(feeds)
    assert message in str(caught.value)


@pytest.mark.parametrize("first_closed", [0, 1])
def test_a_signal_after_engines_have_gone_is_handled(kind: CpuEngine, tmp_path: Path, first_closed: int) -> None:
    """Of two engines, whichever goes first, none takes the memory along in which the process handles signals."""
    (tmp_path / "linear.onnx").write_bytes(linear_model())
    code = (
        "import gc, signal, sys\n"
        "from pathlib import Path\n"
        f"from {kind.__module__} import {kind.__name__}\n"
        "caught = []\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))\n"
        f"engines = [{kind.__name__}(Path(sys.argv[1])) for _ in range(2)]\n"
        f"for place in ({first_closed}, 0):\n"
        "    engines.pop(place).close()\n"
        "    gc.collect()\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "print(len(caught))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "linear.onnx"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["2"]), done.stderr


def test_close_twice_and_use_after_close(kind: CpuEngine, linear: bytes) -> None:
    engine: Engine = kind(linear)
    kept = engine.infer({"x": np.ones((2, 4), np.float32)})["y"]
    engine.close()
    engine.close()
    np.testing.assert_allclose(kept[0], WEIGHTS.sum(0))
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"x": np.ones((2, 4), np.float32)})


def test_a_sound_file_that_the_runtime_refuses_gives_one_line(kind: CpuEngine, linear: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        kind(linear.replace(b"MatMul", b"Matmuk"), label="odd.onnx")
    assert "cannot load odd.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
