"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common.arrays import AnyArray
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
        except Exception as error:  # the runtime's exceptions share no narrower base
            raise EngineError(f"onnxruntime cannot load {onnx.label}: {explain(error)}") from error
        self.device = describe_device()
        self.inputs = tuple(_spec(value, onnx.label) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value, onnx.label) for value in self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self._label = onnx.label

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        """See `engines.engine.Engine.infer`."""
        if self._session is None:
            raise EngineError("the engine is closed")
        self.check_feeds(feeds)
        try:
            # Not through an IOBinding: for a regressor's twenty small arrays its Python side costs a third of the network.
            found = self._session.run(self._names, {name: np.ascontiguousarray(array) for name, array in feeds.items()})
            return dict(zip(self._names, found, strict=True))
        except Exception as error:  # as above
            raise EngineError(f"onnxruntime cannot run {self._label}: {explain(error)}") from error

    def close(self) -> None:
        """See `engines.engine.Engine.close`."""
        self._session = None


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
