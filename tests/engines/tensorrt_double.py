"""A double of the ``tensorrt`` package that computes with ONNX Runtime, in the shape of any of its versions.

It parses, builds, loads and runs as far as `engines` asks it to, refuses what TensorRT refuses (a shape outside the
profile, a plan of another version, an unknown operator, a float16 network that may not use float16) and answers as
TensorRT does: with None or False and a line to the logger. A test holds its names against NVIDIA's bindings. Memory and
streams are a `Device`'s, so that results are there only when the stream has been waited for.
"""

from __future__ import annotations

import contextlib
import enum
import json
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.arrays import AnyArray
from engines.ort import load_onnxruntime
from tests.engines.tensorrt_double_network import INetworkDefinition, OnnxParser, Shape

onnxruntime = load_onnxruntime()

_NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


class Device(Protocol):
    """Where the double computes."""

    def view(self, address: int, size: int) -> NDArray[np.uint8]:
        """The bytes at a device address. Raises when they are not all of one living block."""

    def enqueue(self, stream_handle: int, work: Callable[[], None]) -> bool:
        """Do ``work`` when the stream comes to it."""


def tensorrt_double(device: Device, version: str = "10.3.0", dla_cores: int = 0) -> Any:
    """Something to stand for the ``tensorrt`` module.

    ``built`` on it lists what was built, as `_Build` records; ``while_building`` is called in the middle of a build.
    """
    major = int(version.split(".")[0])
    data_type = enum.Enum("DataType", [*_NUMPY])  # type: ignore[misc]
    if major < 10:
        data_type = enum.Enum("DataType", [name for name in _NUMPY if name != "INT64"])  # type: ignore[misc]
    flags = ["GPU_FALLBACK", "TF32"] + (["FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"] if major < 11 else [])
    network_flags = (["EXPLICIT_BATCH"] if major < 11 else []) + (["STRONGLY_TYPED"] if major >= 10 else [])

    class ILogger:
        Severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])

        def __init__(self) -> None:
            self.alive = True

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError

    trt = SimpleNamespace(
        __version__=version,
        built=[],
        while_building=lambda: None,
        ILogger=ILogger,
        DataType=data_type,
        BuilderFlag=enum.Enum("BuilderFlag", flags),  # type: ignore[misc]
        NetworkDefinitionCreationFlag=enum.IntEnum("NetworkDefinitionCreationFlag", network_flags, start=0),  # type: ignore[misc]
        LayerType=enum.Enum(
            "LayerType", ["QUANTIZE", "DEQUANTIZE", "CAST", "CONSTANT", "CONVOLUTION", "SHAPE", "UNARY"]
        ),
        MemoryPoolType=enum.Enum("MemoryPoolType", ["WORKSPACE"]),
        DeviceType=enum.Enum("DeviceType", ["GPU", "DLA"]),
        TensorIOMode=enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"]),
        TensorLocation=enum.Enum("TensorLocation", ["DEVICE", "HOST"]),
    )
    if major >= 10:

        class IProgressMonitor:
            def __init__(self) -> None:
                self.alive = True  # a subclass that forgets this call crashes in the real bindings

        trt.IProgressMonitor = IProgressMonitor

    def checked(logger: Any) -> Any:
        assert isinstance(logger, ILogger), "a logger of TensorRT's own kind is wanted"
        assert logger.alive

        def log(text: str) -> None:
            # As the real bindings do: what the logger raises, be it a KeyboardInterrupt, is gone.
            with contextlib.suppress(BaseException):
                logger.log(ILogger.Severity.ERROR, text)

        return log

    trt.Builder = lambda logger: Builder(trt, checked(logger), major, dla_cores)
    trt.OnnxParser = lambda network, logger: OnnxParser(network, checked(logger), major)
    trt.Runtime = lambda logger: Runtime(trt, checked(logger), device)
    return trt


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> bytearray:
        return bytearray(self._data)


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, tuple[Shape, Shape, Shape]] = {}

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:
        self._shapes[input] = (tuple(min), tuple(opt), tuple(max))


class IBuilderConfig:
    def __init__(self, trt: Any) -> None:
        self._version = trt.__version__
        self._flags: set[Any] = {trt.BuilderFlag.TF32}
        self._limits: dict[Any, int] = {}
        self._profile = IOptimizationProfile()
        self._cache: ITimingCache | None = None
        self.default_device_type: Any = None
        self.DLA_core = -1

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.remove(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._limits[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profile = profile
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        own = f"timings of {self._version}".encode()
        return ITimingCache(own) if serialized_timing_cache in (b"", own) else None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class _WatchedConfig(IBuilderConfig):
    progress_monitor: Any = None


class Builder:
    def __init__(self, trt: Any, log: Callable[[str], None], major: int, dla_cores: int) -> None:
        self._trt, self._log, self._major, self.num_DLA_cores = trt, log, major, dla_cores

    def create_network(self, flags: int) -> INetworkDefinition | None:
        return INetworkDefinition(self._trt, flags)

    def create_builder_config(self) -> IBuilderConfig:
        return (_WatchedConfig if self._major >= 10 else IBuilderConfig)(self._trt)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> memoryview | None:
        profile = config._profile._shapes
        for tensor in network._inputs:
            if -1 in tensor.shape and tensor.name not in profile:
                self._log(f"input {tensor.name} is dynamic and has no profile")
                return None
        flags = {flag.name for flag in config._flags}
        strong = "STRONGLY_TYPED" in self._trt.NetworkDefinitionCreationFlag.__members__ and bool(
            network._flags >> self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED & 1
        )
        if strong and flags & {"FP16", "INT8"}:
            self._log("precision flags are not for a strongly typed network")
            return None
        kinds = {output.dtype.name for layer in network._layers for output in layer._outputs}
        if not strong and "HALF" in kinds and "FP16" not in flags:
            self._log("a tensor is HALF and the FP16 flag is not set")
            return None
        monitor = getattr(config, "progress_monitor", None)
        self._trt.while_building()
        self._log("a remark in the middle of the build")
        if monitor is not None:
            monitor.phase_start("Building", None, 3)
            if not all(monitor.step_complete("Building", step) for step in range(3)):
                return None
            monitor.phase_finish("Building")
        self._trt.built.append(_Build(network, config, strong, flags))
        header = {"tensorrt": self._trt.__version__, "profile": profile}
        return memoryview(json.dumps(header).encode() + b"\n" + network._model)


class _Build:
    """What one plan was built with: ``limits`` by pool name, ``pinned`` counts layers with a precision of their own."""

    def __init__(self, network: INetworkDefinition, config: IBuilderConfig, strong: bool, flags: set[str]) -> None:
        self.strongly_typed, self.flags, self.tf32 = strong, flags - {"TF32"}, "TF32" in flags
        self.limits = {pool.name: size for pool, size in config._limits.items()}
        self.profile = config._profile._shapes
        self.dla = config.DLA_core if config.default_device_type is not None else None
        self.pinned = sum(layer.precision is not None for layer in network._layers)


class Runtime:
    def __init__(self, trt: Any, log: Callable[[str], None], device: Device) -> None:
        self._trt, self._log, self._device = trt, log, device
        self.DLA_core = -1

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        header, _, model = bytes(serialized_engine).partition(b"\n")
        try:
            found = json.loads(header)
        except ValueError:
            self._log("Magic tag does not match")
            return None
        if found["tensorrt"] != self._trt.__version__:
            self._log(f"The engine plan file is not compatible with this version of TensorRT, expecting library "
                      f"version {self._trt.__version__} got {found['tensorrt']}")  # fmt: skip
            return None
        return ICudaEngine(self._trt, model, found["profile"], self._device)


class ICudaEngine:
    def __init__(self, trt: Any, model: bytes, profile: dict[str, Any], device: Device) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._trt, self._profile, self._device = trt, profile, device
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = {value.name: value for value in self._session.get_inputs()}
        self._outputs = {value.name: value for value in self._session.get_outputs()}
        self._names = [*self._inputs, *self._outputs]

    num_io_tensors = property(lambda self: len(self._names))

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self._trt.TensorIOMode.INPUT if name in self._inputs else self._trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self._trt.DataType[self._kind(name)]

    def get_tensor_location(self, name: str) -> Any:
        return self._trt.TensorLocation.DEVICE

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        value = self._inputs.get(name) or self._outputs[name]
        return [size if isinstance(size, int) else -1 for size in value.shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Sequence[int]]:
        return [list(shape) for shape in self._profile[name]]

    def create_execution_context(self) -> IExecutionContext | None:
        return IExecutionContext(self)

    def _kind(self, name: str) -> str:
        value = self._inputs.get(name) or self._outputs[name]
        kinds = {
            "float": "FLOAT",
            "float16": "HALF",
            "int8": "INT8",
            "uint8": "UINT8",
            "int32": "INT32",
            "int64": "INT64",
            "bool": "BOOL",
        }
        return kinds[value.type[7:-1]]


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shapes = {name: tuple(engine.get_tensor_shape(name)) for name in engine._inputs}

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        own = self._engine.get_tensor_shape(name)
        smallest, _, largest = self._engine._profile.get(name, (own, own, own))
        if len(shape) != len(own) or any(
            not low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)
        ):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        if name in self._shapes:
            return self._shapes[name]
        free = [
            size
            for name, shape in self._shapes.items()
            for own, size in zip(self._engine.get_tensor_shape(name), shape, strict=True)
            if own == -1
        ]
        return tuple((free[0] if free else -1) if size == -1 else size for size in self._engine.get_tensor_shape(name))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine._names

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine = self._engine
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in engine._names}
        if set(self._addresses) != set(engine._names) or any(-1 in shape for shape in shapes.values()):
            return False
        addresses = dict(self._addresses)

        def memory(name: str) -> AnyArray:
            dtype = np.dtype(_NUMPY[engine._kind(name)])
            size = math.prod(shapes[name]) * dtype.itemsize
            return engine._device.view(addresses[name], size).view(dtype).reshape(shapes[name])

        def work() -> None:
            found = engine._session.run(None, {name: memory(name) for name in engine._inputs})
            for name, array in zip(engine._outputs, found, strict=True):
                memory(name)[...] = array

        return engine._device.enqueue(stream_handle, work)
