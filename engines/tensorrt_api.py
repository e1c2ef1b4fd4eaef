"""The part of the ``tensorrt`` package that this room uses, as types; and how the package is found.

The package brings no types of its own and changes from version to version. What is written here is all that is called,
for mypy allows nothing else, and a test holds every name, parameter and result against NVIDIA's own bindings of
TensorRT 8.6, 10.3 and 11.4. Members that not all of them have are asked for with ``hasattr`` first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np

from engines.cuda.driver import probe_gpu
from engines.engine import EngineError, RuntimeMissingError
from engines.onnx_file import explain

OLDEST_TENSORRT = (8, 6)
"""JetPack 6.0 has 8.6."""

T = TypeVar("T")
Shape = tuple[int, ...]
HostMemory = Any
"""``IHostMemory``: TensorRT's bytes, read through the buffer protocol."""

DTYPES: dict[str, np.dtype[np.generic]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
}
"""Members of ``DataType`` as numpy has them. (``tensorrt.nptype`` of 8.6 needs a numpy that is long gone.)"""


class BuilderFlag(Protocol):
    FP16: Any
    INT8: Any
    PREFER_PRECISION_CONSTRAINTS: Any
    GPU_FALLBACK: Any
    TF32: Any


class NetworkDefinitionCreationFlag(Protocol):
    EXPLICIT_BATCH: Any
    STRONGLY_TYPED: Any


class DataType(Protocol):
    FLOAT: Any
    HALF: Any


class LayerType(Protocol):
    CAST: Any
    CONSTANT: Any
    QUANTIZE: Any
    SHAPE: Any


class MemoryPoolType(Protocol):
    WORKSPACE: Any


class DeviceType(Protocol):
    DLA: Any


class TensorIOMode(Protocol):
    INPUT: Any


class TensorLocation(Protocol):
    DEVICE: Any


class Severity(Protocol):
    INTERNAL_ERROR: Any
    ERROR: Any


class ITensor(Protocol):
    name: str
    shape: Sequence[int]
    dtype: Any


class ILayer(Protocol):
    type: Any
    num_outputs: int
    precision: Any

    def get_output(self, index: int) -> ITensor | None: ...


class INetworkDefinition(Protocol):
    num_inputs: int
    num_layers: int

    def get_input(self, index: int) -> ITensor | None: ...
    def get_layer(self, index: int) -> ILayer: ...


class ITimingCache(Protocol):
    def serialize(self) -> HostMemory: ...


class IOptimizationProfile(Protocol):
    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None: ...


class IBuilderConfig(Protocol):
    default_device_type: Any
    DLA_core: int
    progress_monitor: Any

    def set_flag(self, flag: Any) -> None: ...
    def clear_flag(self, flag: Any) -> None: ...
    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...
    def add_optimization_profile(self, profile: IOptimizationProfile) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None: ...
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> ITimingCache | None: ...


class Builder(Protocol):
    num_DLA_cores: int

    def create_network(self, flags: int) -> INetworkDefinition | None: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> HostMemory | None: ...


class ParserError(Protocol):
    def code(self) -> Any: ...
    def desc(self) -> str: ...
    def node(self) -> int: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class OnnxParser(Protocol):
    num_errors: int

    def parse(self, model: bytes, path: str | None) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class IExecutionContext(Protocol):
    def set_input_shape(self, name: str, shape: Shape) -> bool: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class ICudaEngine(Protocol):
    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> Any: ...
    def get_tensor_dtype(self, name: str) -> Any: ...
    def get_tensor_location(self, name: str) -> Any: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Sequence[int]]: ...
    def create_execution_context(self) -> IExecutionContext | None: ...


class Runtime(Protocol):
    DLA_core: int

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None: ...


class TensorRt(Protocol):
    """The package itself."""

    __version__: str
    BuilderFlag: BuilderFlag
    DataType: DataType
    DeviceType: DeviceType
    LayerType: LayerType
    MemoryPoolType: MemoryPoolType
    NetworkDefinitionCreationFlag: NetworkDefinitionCreationFlag
    TensorIOMode: TensorIOMode
    TensorLocation: TensorLocation
    ILogger: Any
    IProgressMonitor: Any

    def Builder(self, logger: object) -> Builder: ...
    def OnnxParser(self, network: INetworkDefinition, logger: object) -> OnnxParser: ...
    def Runtime(self, logger: object) -> Runtime: ...


class Log:
    """TensorRT's messages: the errors are kept for the exception that follows, the rest is dropped.

    ``logger`` is what TensorRT's objects are made with. It must live as long as any of them.
    """

    def __init__(self, tensorrt: TensorRt) -> None:
        errors = self._errors = list[str]()
        severity: Severity = tensorrt.ILogger.Severity
        grave = (severity.INTERNAL_ERROR, severity.ERROR)

        class Logger(tensorrt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                tensorrt.ILogger.__init__(self)  # not super(): the binding asks for this very call

            def log(self, severity: Any, msg: str) -> None:
                if severity in grave:
                    errors.append(msg)
                    del errors[:-20]

        self.logger: object = Logger()

    def take(self) -> str:
        """The last error as one line, or "no reason given"; forgets all that were kept."""
        text = " ".join(self._errors[-1].split()) if self._errors else "no reason given"
        self._errors.clear()
        return text[:300]

    def made(self, what: str, make: Callable[[], T | None]) -> T:
        """What ``make`` returns. Raises `EngineError` where TensorRT answers with nothing or with an exception."""
        self._errors.clear()
        try:
            thing = make()
        except (RuntimeError, TypeError, ValueError) as error:  # a constructor that fails raises TypeError
            raise EngineError(f"TensorRT makes no {what}: {self.take() if self._errors else explain(error)}") from error
        if thing is None:
            raise EngineError(f"TensorRT makes no {what}: {self.take()}")
        return thing


def load_tensorrt() -> TensorRt:
    """The ``tensorrt`` package, once a driver and a GPU are known to be there: it crashes at exit without them.

    Raises `RuntimeMissingError` with one line that says what is missing: driver, GPU, package or a newer version.
    """
    try:
        probe_gpu()
    except RuntimeMissingError as error:
        raise RuntimeMissingError(f"TensorRT cannot run: {error}") from None
    try:
        import tensorrt
    except Exception as error:  # a missing library shows as ImportError, a wrong one as OSError or RuntimeError
        raise RuntimeMissingError(
            f"TensorRT does not start ({explain(error)}): pip install tensorrt, "
            "or on a Jetson make the environment with --system-site-packages"
        ) from error
    package: TensorRt = tensorrt
    version = version_of(package)
    if version < OLDEST_TENSORRT:
        oldest = ".".join(map(str, OLDEST_TENSORRT))
        raise RuntimeMissingError(f"TensorRT {package.__version__} is too old: {oldest} or newer is needed")
    return package


def version_of(tensorrt: TensorRt) -> tuple[int, int]:
    """Major and minor version of the package."""
    major, minor = tensorrt.__version__.split(".")[:2]
    return int(major), int(minor)


@cache
def shared_log() -> Log:
    """The process's log: TensorRT keeps the first logger that it is given for messages of its own."""
    return Log(load_tensorrt())
