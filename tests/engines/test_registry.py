"""Choosing a runtime, the shipped models in both, and what importing this room must not do."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.cuda import driver
from engines.device import describe_device
from engines.engine import EngineError, RuntimeMissingError
from engines.registry import open_engine, why_no_tensorrt
from tests.engines.conftest import WEIGHTS

ROOT = Path(__file__).resolve().parents[2]


def feed(model: str, image: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    if model == "movenet-lightning":
        return {"input:0": image[32:224, 32:224][None]}
    return {"input:0": image[None]}


@pytest.mark.parametrize(
    ("model", "tolerance"), [("movenet-lightning", 1e-4), ("movenet-thunder", 1e-4), ("movenet-multipose", 2e-3)]
)
def test_runtimes_agree_on_the_shipped_models(model: str, tolerance: float, image: NDArray[np.uint8]) -> None:
    with open_engine(model, "onnxruntime") as ort, open_engine(model, "openvino", threads=2) as openvino:
        assert (ort.inputs, ort.outputs) == (openvino.inputs, openvino.outputs)
        expected, found = ort.infer(feed(model, image)), openvino.infer(feed(model, image))
    for name, array in expected.items():
        assert np.isfinite(array).all()
        assert array.std() > 0.01
        np.testing.assert_allclose(found[name], array, atol=tolerance, rtol=1e-4)


def test_auto_takes_the_fastest_and_says_so() -> None:
    fastest = "openvino" if platform.machine() in ("x86_64", "AMD64") else "onnxruntime"
    with open_engine("movenet-lightning") as engine:
        assert engine.runtime == fastest
        assert engine.device == describe_device()
    # A thousand operators on a few numbers each are another matter than convolutions.
    with open_engine("motion") as engine:
        assert engine.runtime == "onnxruntime"


def test_auto_passes_over_a_runtime_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with open_engine("movenet-lightning") as engine:
        assert engine.runtime == "onnxruntime"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError, match="no engine runtime is installed: pip install onnxruntime"):
        open_engine("movenet-lightning")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_named_runtime_that_is_not_installed(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(RuntimeMissingError, match=f"pip install {runtime}$"):
        open_engine("movenet-lightning", runtime)


def test_choices_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libnone.so")
    with pytest.raises(
        RuntimeMissingError,
        match=r"^TensorRT cannot run: no NVIDIA driver here \(libnone.so is not found\): install one;",
    ):
        open_engine("movenet-lightning", "tensorrt")
    assert why_no_tensorrt().startswith("TensorRT cannot run: no NVIDIA driver here")
    with pytest.raises(EngineError, match="unknown engine 'coreml': choose one of auto, tensorrt"):
        open_engine("movenet-lightning", "coreml")
    with pytest.raises(EngineError, match="at least one thread"):
        open_engine("movenet-lightning", threads=0)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_own_file_that_is_no_model(runtime: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"^mine.onnx is not an ONNX model, or is cut: copy or export it again$"):
        open_engine(path, runtime)


def test_contents_of_a_file_under_a_name_of_their_own(linear: bytes) -> None:
    with open_engine(linear, "onnxruntime", label="mine") as engine:
        np.testing.assert_allclose(engine.infer({"x": np.ones((2, 4), np.float32)})["y"][0], WEIGHTS.sum(0))
    with pytest.raises(EngineError, match=r"^mine is not an ONNX model, or is cut: copy or export it again$"):
        open_engine(linear[:20], "onnxruntime", label="mine")


def run_python(code: str, home: Path) -> str:
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_engines_import_no_other_room_and_no_runtime_until_it_is_used(tmp_path: Path) -> None:
    found = run_python("import sys, engines.registry; print(*{name.split('.')[0] for name in sys.modules})", tmp_path)
    barred = {"torch", "realtime", "training", "export", "body", "onnx", "onnxruntime", "openvino"}
    barred |= {"tensorrt", "pycuda", "cuda"}
    assert not barred & set(found.split())


def test_openvino_reports_nothing_to_anybody(tmp_path: Path) -> None:
    code = (
        "import sys; from engines.registry import open_engine, why_no_tensorrt\n"
        "events = []; sys.addaudithook(lambda name, _: events.append(name))\n"
        "open_engine('movenet-lightning', 'openvino').close()\n"
        "print(*{name for name in events if name.startswith(('socket.', 'subprocess.', 'os.fork', 'urllib.'))})"
    )
    assert run_python(code, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
