"""Small models that the tests write themselves, an image for the real ones, and a simulated GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import engines.cuda.packages
import engines.plans
import engines.tensorrt
import engines.tensorrt_api
import engines.tensorrt_builder
from engines.cuda.driver import Gpu
from tests.engines.host_cuda import HostCuda
from tests.engines.tensorrt_double import tensorrt_double

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8


def linear_model(rows: int | str = 2) -> bytes:
    """``y = x @ WEIGHTS`` for float32 x (rows, 4), and ``same``, an alias of y through an Identity."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Identity", ["y"], ["same"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4])],
        [
            helper.make_tensor_value_info("same", TensorProto.FLOAT, [rows, 3]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 3]),
        ],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def square_model(rows: int | str = 2) -> bytes:
    """z (rows, 3) ▶ square (rows, 3)."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["z", "z"], ["square"])],
        "square",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [rows, 3])],
        [helper.make_tensor_value_info("square", TensorProto.FLOAT, [rows, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def handed_on_model() -> bytes:
    """x (2, 4) ▶ same, the same numbers."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])],
        "handed on",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, [2, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def linear() -> bytes:
    return linear_model()


@pytest.fixture(scope="session")
def image() -> NDArray[np.uint8]:
    """A stick figure on a lit background, uint8 (256, 256, 3): structure of many scales, unlike noise."""
    rows, columns = np.mgrid[0:256, 0:256].astype(np.float32)
    image = np.stack([rows / 3 + 60, columns / 4 + 80, (rows + columns) / 5 + 40], -1)
    segments = [
        (60, 128, 150, 128),
        (80, 128, 130, 80),
        (80, 128, 130, 176),
        (150, 128, 220, 105),
        (150, 128, 220, 151),
    ]
    for y0, x0, y1, x1 in segments:
        for step in np.linspace(0, 1, 60):
            y, x = y0 + (y1 - y0) * step, x0 + (x1 - x0) * step
            image[(rows - y) ** 2 + (columns - x) ** 2 < 90] = (190, 120, 90)
    image[(rows - 42) ** 2 + (columns - 128) ** 2 < 400] = (220, 170, 140)
    return image.astype(np.uint8)


class FakeGpu:
    """A GPU made of `HostCuda` and a TensorRT double, in the place of the real packages. Change ``gpu``, or `install`
    another version, and the program is on another machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.cuda = HostCuda()
        self.gpu = Gpu("Pretended GPU", "8.7", "12.6", 8, 8)
        self.tensorrt: Any = None
        for module in (engines.plans, engines.tensorrt, engines.tensorrt_api, engines.tensorrt_builder):
            monkeypatch.setattr(module, "probe_gpu", lambda: self.gpu)
        ports: dict[str, Callable[[], HostCuda]] = {"pycuda": lambda: self.cuda}
        monkeypatch.setattr(engines.cuda.packages, "_PORTS", ports)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        monkeypatch.delenv("MOTIONMESH_ENGINES", raising=False)
        self.install("10.3.0")

    def install(self, version: str, dla_cores: int = 0) -> None:
        self.tensorrt = tensorrt_double(self.cuda, version, dla_cores)
        self._monkeypatch.setitem(sys.modules, "tensorrt", self.tensorrt)
        engines.tensorrt_api.shared_log.cache_clear()


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    return FakeGpu(monkeypatch, tmp_path / "cache")
