"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.device import describe_device
from engines.engine import Arrays, Engine, EngineError, RuntimeMissingError, TensorSpec
from engines.onnx_file import explain, open_onnx

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16,
    "tensor(int32)": np.int32,
    "tensor(uint32)": np.uint32,
    "tensor(int64)": np.int64,
    "tensor(uint64)": np.uint64,
}
_FATAL = 4


class OnnxRuntimeEngine(Engine):
    """A network in ONNX Runtime's CPU provider.

    ``model`` is a path or the file's contents, ``label`` what errors call it, ``threads`` the number of cores that one
    inference uses. Raises `EngineError` when the model cannot be loaded and `RuntimeMissingError` without the package.
    """

    runtime = "onnxruntime"

    def __init__(self, model: Path | bytes, *, threads: int = 1, label: str = "") -> None:
        """Load the model into ONNX Runtime."""
        onnxruntime = load_onnxruntime()
        onnx = open_onnx(model, label)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A waiting worker would otherwise spin on a core that another stage needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Every failure reaches the caller as an EngineError; the runtime need not print it as well.
        options.log_severity_level = _FATAL
        try:
            self._session: Any = onnxruntime.InferenceSession(
                onnx.source if isinstance(onnx.source, bytes) else str(onnx.source),
                options,
                providers=["CPUExecutionProvider"],
            )
            self._binding: Any = self._session.io_binding()
        except Exception as error:  # the runtime's exceptions share no narrower base
            raise EngineError(f"onnxruntime cannot load {onnx.label}: {explain(error)}") from error
        self.device = describe_device()
        self.inputs = tuple(_spec(value, onnx.label) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value, onnx.label) for value in self._session.get_outputs())
        self._label = onnx.label

    def infer(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """See `engines.engine.Engine.infer`."""
        if self._session is None:
            raise EngineError("the engine is closed")
        self.check_feeds(feeds)
        # The binding only borrows the memory, so these references must live until the run is over.
        arrays = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        try:
            for name, array in arrays.items():
                self._binding.bind_cpu_input(name, array)
            # Bound anew in each run, or it would write into the last one's answer, and insist on its shape.
            bound = {spec.name: self._bind_output(spec) for spec in self.outputs}
            self._session.run_with_iobinding(self._binding)
            found = zip(self.outputs, self._binding.get_outputs(), strict=True)
            return {spec.name: value.numpy() if (own := bound[spec.name]) is None else own for spec, value in found}
        except Exception as error:  # as above
            raise EngineError(f"onnxruntime cannot run {self._label}: {explain(error)}") from error

    def close(self) -> None:
        """See `engines.engine.Engine.close`."""
        self._binding = None
        self._session = None

    def _bind_output(self, spec: TensorSpec) -> NDArray[Any] | None:
        """New memory for an output of a fixed shape, which is then not copied; the runtime finds its own for the others."""
        if -1 in spec.shape:
            self._binding.bind_output(spec.name)
            return None
        array = np.empty(spec.shape, spec.dtype)
        self._binding.bind_output(spec.name, "cpu", 0, spec.dtype.type, list(spec.shape), array.ctypes.data)
        return array


def load_onnxruntime() -> Any:
    """The package, which reports nothing to anybody; see `engines`. Raises `RuntimeMissingError` without it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissingError(f"ONNX Runtime does not start ({explain(error)}): pip install onnxruntime") from error
    if hasattr(onnxruntime, "disable_telemetry_events"):  # what older builds understand
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def _spec(value: Any, label: str) -> TensorSpec:
    if value.type not in _DTYPES:
        raise EngineError(f"{label}: tensor '{value.name}' has the unsupported type {value.type}")
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(value.name, shape, np.dtype(_DTYPES[value.type]))
