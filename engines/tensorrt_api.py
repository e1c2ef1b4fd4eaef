"""The part of the ``tensorrt`` package that this room uses, as types; and how the package is found.

The package brings no types of its own and changes from version to version. Only what is declared here is called,
as mypy allows nothing else, and a test holds every name, parameter and result against NVIDIA's own bindings of
TensorRT 8.6, 10.3 and 11.4. Members that not all of them have are asked for with ``hasattr`` first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np

from engines.cuda.driver import probe_gpu
from engines.engine import EngineError, RuntimeMissingError
from engines.interrupts import kept_signals
from engines.onnx_file import explain
from engines.tensorrt_packages import cuda_of_package, installed_packages

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
"""Members of ``DataType`` as numpy has them. (``tensorrt.nptype`` of 8.6 needs an old numpy.)"""


class BuilderFlag(Protocol):
    """``tensorrt.BuilderFlag``: the flags that are set or cleared here."""

    FP16: Any
    INT8: Any
    PREFER_PRECISION_CONSTRAINTS: Any
    GPU_FALLBACK: Any
    TF32: Any


class NetworkDefinitionCreationFlag(Protocol):
    """``tensorrt.NetworkDefinitionCreationFlag``; bits, given as ``1 << int(flag)``."""

    EXPLICIT_BATCH: Any
    STRONGLY_TYPED: Any


class DataType(Protocol):
    """``tensorrt.DataType``."""

    FLOAT: Any
    HALF: Any


class LayerType(Protocol):
    """``tensorrt.LayerType``."""

    CAST: Any
    CONSTANT: Any
    CONVOLUTION: Any
    DEQUANTIZE: Any
    QUANTIZE: Any
    SHAPE: Any


class MemoryPoolType(Protocol):
    """``tensorrt.MemoryPoolType``."""

    WORKSPACE: Any


class DeviceType(Protocol):
    """``tensorrt.DeviceType``."""

    DLA: Any


class TensorIOMode(Protocol):
    """``tensorrt.TensorIOMode``."""

    INPUT: Any


class TensorLocation(Protocol):
    """``tensorrt.TensorLocation``."""

    DEVICE: Any


class Severity(Protocol):
    """``tensorrt.ILogger.Severity``."""

    INTERNAL_ERROR: Any
    ERROR: Any


class ITensor(Protocol):
    """``tensorrt.ITensor``: a tensor of a network that is being built."""

    name: str
    shape: Sequence[int]
    dtype: Any


class ILayer(Protocol):
    """``tensorrt.ILayer``: a layer of a network that is being built."""

    type: Any
    num_outputs: int
    precision: Any

    def get_output(self, index: int) -> ITensor | None:
        """Output number ``index``."""


class INetworkDefinition(Protocol):
    """``tensorrt.INetworkDefinition``: a network that is being built."""

    num_inputs: int
    num_layers: int

    def get_input(self, index: int) -> ITensor | None:
        """Input number ``index``."""

    def get_layer(self, index: int) -> ILayer:
        """Layer number ``index``."""


class ITimingCache(Protocol):
    """``tensorrt.ITimingCache``: kernel timings that an earlier build measured."""

    def serialize(self) -> HostMemory:
        """The cache as bytes."""


class IOptimizationProfile(Protocol):
    """``tensorrt.IOptimizationProfile``: the shapes that inputs with free dimensions may have."""

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:
        """Smallest, usual and largest shape of an input."""


class IBuilderConfig(Protocol):
    """``tensorrt.IBuilderConfig``: how a network is built."""

    default_device_type: Any
    DLA_core: int
    progress_monitor: Any

    def set_flag(self, flag: Any) -> None:
        """Switch ``flag`` on."""

    def clear_flag(self, flag: Any) -> None:
        """Switch ``flag`` off."""

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Let a pool grow to ``pool_size`` bytes."""

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        """Add a profile; its number, or -1 when it is refused."""

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        """A cache from its bytes, empty ones for a new cache; None when they are not accepted."""

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        """Use ``cache`` in the build; whether it is accepted."""

    def get_timing_cache(self) -> ITimingCache | None:
        """The cache with what this build added."""


class Builder(Protocol):
    """``tensorrt.Builder``."""

    num_DLA_cores: int

    def create_network(self, flags: int) -> INetworkDefinition | None:
        """An empty network."""

    def create_builder_config(self) -> IBuilderConfig:
        """A configuration with the defaults."""

    def create_optimization_profile(self) -> IOptimizationProfile:
        """An empty profile."""

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> HostMemory | None:
        """The plan; None when the build fails."""


class ParserError(Protocol):
    """``tensorrt.ParserError``: why the parser refuses a node."""

    def code(self) -> Any:
        """Kind of the error."""

    def desc(self) -> str:
        """Description of the error."""

    def node(self) -> int:
        """Number of the node, -1 for the whole graph."""

    def node_name(self) -> str:
        """Name of the node (TensorRT 10 or newer)."""

    def node_operator(self) -> str:
        """Operator of the node (TensorRT 10 or newer)."""


class OnnxParser(Protocol):
    """``tensorrt.OnnxParser``."""

    num_errors: int

    def parse(self, model: bytes, path: str | None) -> bool:
        """Read an ONNX model into the network; whether it succeeded."""

    def get_error(self, index: int) -> ParserError:
        """Error number ``index``."""


class IExecutionContext(Protocol):
    """``tensorrt.IExecutionContext``: one engine with its current shapes and addresses."""

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        """Set the current shape of an input; whether it is allowed."""

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        """The current shape of a tensor, by the inputs that were set."""

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Set the device address of a tensor; whether it is accepted."""

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue one run on a stream; whether it was queued."""


class ICudaEngine(Protocol):
    """``tensorrt.ICudaEngine``: a plan that is loaded."""

    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str:
        """Name of tensor number ``index``."""

    def get_tensor_mode(self, name: str) -> Any:
        """Whether a tensor is an input or an output."""

    def get_tensor_dtype(self, name: str) -> Any:
        """Type of a tensor."""

    def get_tensor_location(self, name: str) -> Any:
        """Whether a tensor lies on the device."""

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        """Shape of a tensor, -1 where it is free."""

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Sequence[int]]:
        """Smallest, usual and largest shape of an input in a profile."""

    def create_execution_context(self) -> IExecutionContext | None:
        """A context; None when memory is short."""


class Runtime(Protocol):
    """``tensorrt.Runtime``: loads plans."""

    DLA_core: int

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """The loaded plan; None when it is refused."""


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

    def Builder(self, logger: object) -> Builder:
        """Make a builder."""

    def OnnxParser(self, network: INetworkDefinition, logger: object) -> OnnxParser:
        """Make a parser that reads into ``network``."""

    def Runtime(self, logger: object) -> Runtime:
        """Make a runtime."""


class Log:
    """TensorRT's messages: the errors are kept for the exception that follows, the rest is dropped.

    ``logger`` is what TensorRT's objects are made with. It must live as long as any of them.
    """

    def __init__(self, tensorrt: TensorRt) -> None:
        """Make TensorRT's logger."""
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
            with kept_signals():  # whatever a handler raises while TensorRT logs is swallowed
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
        gpu = probe_gpu()
    except RuntimeMissingError as error:
        raise RuntimeMissingError(f"TensorRT cannot run: {error}") from None
    wanted = cuda_of_package()
    if wanted and wanted > int(gpu.cuda.split(".")[0]):
        raise RuntimeMissingError(
            f"the installed TensorRT is for CUDA {wanted}, the NVIDIA driver supports CUDA {gpu.cuda} at most: "
            f"update the driver, or pip uninstall {' '.join(installed_packages())} and "
            f"pip install tensorrt-cu{gpu.cuda.split('.')[0]}"
        )
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
