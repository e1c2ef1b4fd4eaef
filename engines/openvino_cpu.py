"""OpenVINO on an x86 CPU.

Compiled models are not cached on disk: on the shipped networks a cache takes 0.3 s off a start of 0.5 s, but a damaged
cache file is loaded without a complaint and gives wrong numbers.
"""

from __future__ import annotations

import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from common.arrays import AnyArray
from engines.device import describe_device
from engines.engine import Arrays, Engine, EngineError, RuntimeMissingError, TensorSpec
from engines.onnx_file import explain, open_onnx

_CORE_LOCK = threading.Lock()
"""Held while the core is made: engines can be opened by several threads at a time."""


class OpenVinoEngine(Engine):
    """A network in OpenVINO's CPU plugin, computed in float32, or in bfloat16 where OpenVINO finds it faster.

    ``model`` is a path or the file's contents, ``label`` what errors call it, ``threads`` the number of cores that one
    inference uses. ``bf16``: factors of products may be rounded to bfloat16, which keeps 8 bits of them. Raises `EngineError`
    when the model cannot be loaded and `RuntimeMissingError` without the package.
    """

    runtime = "openvino"

    def __init__(self, model: Path | bytes, *, threads: int = 1, label: str = "", bf16: bool = False) -> None:
        """Load the model into OpenVINO."""
        openvino = _import()
        onnx = open_onnx(model, label)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Engines of several stages share the cores: pinned, they would all sit on the first one.
            "ENABLE_CPU_PINNING": False,
            # Left to itself OpenVINO falls to bfloat16 on newer CPUs, whatever that does to a network's answers.
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        }
        try:
            with _CORE_LOCK:
                core = _core()
            read = core.read_model(onnx.source if isinstance(onnx.source, bytes) else str(onnx.source))
            compiled = core.compile_model(read, "CPU", settings)
            self._request: Any = compiled.create_infer_request()
            self.inputs = tuple(_spec(port, onnx.inputs) for port in compiled.inputs)
            self.outputs = tuple(_spec(port, onnx.outputs) for port in compiled.outputs)
        except Exception as error:  # the runtime's exceptions share no narrower base
            raise EngineError(f"openvino cannot load {onnx.label}: {explain(error)}") from error
        self.device = describe_device() + (", bf16" if bf16 else "")
        self._label = onnx.label
        self._new_tensor: Any = openvino.Tensor
        self._types = [port.element_type for port in compiled.inputs]
        self._held: list[AnyArray] = []
        """The request's own memory for its inputs, in the shapes of the last run."""

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        """See `engines.engine.Engine.infer`."""
        if self._request is None:
            raise EngineError("the engine is closed")
        self.check_feeds(feeds)
        try:
            self._fill([feeds[spec.name] for spec in self.inputs])
            # Given a dictionary instead, it looks up and wraps every tensor in Python, which costs more than these copies.
            self._request.infer(share_outputs=True)
            # By position: a port can carry more names than the one that the file gives it.
            return {
                spec.name: self._request.get_output_tensor(place).data.copy() for place, spec in enumerate(self.outputs)
            }
        except Exception as error:  # as above
            raise EngineError(f"openvino cannot run {self._label}: {explain(error)}") from error

    def close(self) -> None:
        """See `engines.engine.Engine.close`."""
        self._request = None
        self._held = []

    def _fill(self, arrays: list[AnyArray]) -> None:
        """Copy the inputs into the request's own memory: it refers to none of the caller's, which may be freed or changed."""
        if [array.shape for array in arrays] != [held.shape for held in self._held]:
            tensors = [self._new_tensor(kind, array.shape) for kind, array in zip(self._types, arrays, strict=True)]
            self._held = []
            for place, tensor in enumerate(tensors):
                self._request.set_input_tensor(place, tensor)
            self._held = [tensor.data for tensor in tensors]
        for held, array in zip(self._held, arrays, strict=True):
            np.copyto(held, array)


def _import() -> Any:
    # With openvino-telemetry importable, "import openvino" writes an identifier into the home folder, starts a process
    # and reports to a web service. A module that is None in sys.modules cannot be imported, and openvino does without.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise RuntimeMissingError(f"OpenVINO does not start ({explain(error)}): pip install openvino") from error
    return openvino


@cache
def _core() -> Any:
    # One for the life of the process: where the CPU has AVX-512, each gives the thread that makes it a stack for signals and
    # puts the one before back when it goes. With two that go in the order they came, that is one that is freed: Ctrl-C crashes.
    return _import().Core()


def _spec(port: Any, names: tuple[str, ...]) -> TensorSpec:
    """The tensor of one port, under the name that the file gives it: aliases of one tensor share a port."""
    known: set[str] = port.names
    name = next((name for name in names if name in known), None) or port.any_name
    shape = tuple(size.get_length() if size.is_static else -1 for size in port.partial_shape)
    return TensorSpec(name, shape, np.dtype(port.element_type.to_dtype()))
