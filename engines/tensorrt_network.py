"""One plan in TensorRT, its tensors, and the memory that the tensors of one or several plans share."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

from common.arrays import AnyArray
from engines.cuda.port import Cuda, DeviceMemory, PinnedMemory, Stream
from engines.engine import EngineError, TensorSpec
from engines.tensorrt_api import DTYPES, ICudaEngine, IExecutionContext, Log, Shape, TensorRt

UNKNOWN: Final[Shape] = (-1,)
"""The shape of a tensor before the first one is set."""
_SMALL: Final = 4096  # bytes
_ALIGNMENT: Final = 512  # bytes: what the driver's own blocks have, and more than TensorRT asks for


class PlanRefusedError(EngineError):
    """TensorRT does not load the plan: it is for another GPU or version, or no plan at all. It must be built anew."""


class Part(NamedTuple):
    """A plan to load."""

    plan: bytes
    """The serialised engine. Loading it runs code that is in it."""
    label: str = "the plan"
    """What errors call it."""
    precision: str = ""
    """Precision of its numbers, in words, for messages."""
    dla: int | None = None
    """The DLA core that it was built for; None: it runs on the GPU alone."""


class Socket:
    """One input or output. ``shape`` is the current one. ``smallest`` and ``largest`` are the shapes that an input may have.
    ``view`` is its pinned memory in the current shape, where it has any."""

    view: AnyArray

    def __init__(self, spec: TensorSpec, smallest: Shape, largest: Shape) -> None:
        self.spec, self.smallest, self.largest = spec, smallest, largest
        self.shape: Shape = UNKNOWN

    @property
    def size(self) -> int:
        """Bytes in the current shape."""
        return math.prod(self.shape) * self.spec.dtype.itemsize


class Block:
    """Tensors one after the other in one block of GPU memory and, where they come from the host or go there, in one of pinned
    memory: so one copy moves all of them. A few numbers that go to the host need none: the GPU writes them into pinned
    memory."""

    def __init__(self, sockets: list[Socket]) -> None:
        self.sockets = sockets
        self._device: DeviceMemory | None = None
        self._pinned: PinnedMemory | None = None
        self._bytes = 0

    def allocate(self, cuda: Cuda, resources: ExitStack, pinned: bool = True, goes_out: bool = False) -> None:
        """Take memory for the current shapes, which must be the largest; ``resources`` frees it. ``goes_out``: the GPU only
        writes it."""
        if not self.sockets:
            return
        size = sum(_aligned(socket.size) for socket in self.sockets)
        # Of a short copy the launch is what takes time. Such writes are visible to the CPU after the wait that follows.
        if not (goes_out and size <= _SMALL):
            self._device = cuda.device_memory(size)
            resources.callback(self._device.close)
        if pinned:
            self._pinned = cuda.pinned_memory(size)
            resources.callback(self._pinned.close)

    def lay_out(self) -> dict[int, int]:
        """Put the tensors one after the other in their current shapes. Returns the GPU address of each, by its `id`."""
        at, addresses = 0, {}
        memory = self._device or self._pinned
        for socket in self.sockets:
            assert memory is not None, "allocate comes first"
            addresses[id(socket)] = memory.address + at
            if self._pinned is not None:
                part = self._pinned.bytes[at : at + socket.size]
                socket.view = part.view(socket.spec.dtype).reshape(socket.shape)
            self._bytes = at + socket.size
            at += _aligned(socket.size)
        return addresses

    def copy_in(self, cuda: Cuda, stream: Stream) -> None:
        """Queue the copy of all tensors to the GPU."""
        if self._device is not None and self._pinned is not None:
            cuda.copy_in(self._device, self._pinned.bytes[: self._bytes], stream)

    def copy_out(self, cuda: Cuda, stream: Stream) -> None:
        """Queue the copy of all tensors from the GPU."""
        if self._device is not None and self._pinned is not None:
            cuda.copy_out(self._pinned.bytes[: self._bytes], self._device, stream)


class Network:
    """A loaded plan with one execution context.

    Raises `PlanRefusedError` for a plan that TensorRT does not load, `EngineError` when a tensor cannot be served.
    """

    def __init__(self, trt: TensorRt, log: Log, part: Part) -> None:
        self.label, self._log = part.label, log
        # Each refers to the one before, and must be dropped before it.
        self._runtime: Any = log.made("runtime", lambda: trt.Runtime(log.logger))
        if part.dla is not None:
            self._runtime.DLA_core = part.dla
        self._engine: ICudaEngine | None = self._load(part.plan)
        self._context: IExecutionContext | None = log.made(
            f"execution context for {self.label}", self._engine.create_execution_context
        )
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        sockets = {name: _describe(trt, self._engine, name, self.label) for name in names}
        self.inputs = [sockets[name] for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self.outputs = [sockets[name] for name in names if modes[name] != trt.TensorIOMode.INPUT]

    @property
    def context(self) -> IExecutionContext:
        """TensorRT's execution context. Raises `EngineError` after `close`."""
        if self._context is None:
            raise EngineError("the engine is closed")
        return self._context

    def set_shapes(self, shapes: dict[str, Shape]) -> bool:
        """Tell TensorRT the inputs' shapes where they are new; whether any was. Raises `EngineError`."""
        context = self.context
        changed = [socket for socket in self.inputs if socket.shape != shapes[socket.spec.name]]
        if not changed:
            return False
        try:
            for socket in changed:
                shape = shapes[socket.spec.name]
                if not context.set_input_shape(socket.spec.name, shape):
                    raise EngineError(
                        f"tensor '{socket.spec.name}' {list(shape)} is outside of what {self.label} was built for: "
                        f"{list(socket.smallest)} to {list(socket.largest)}"
                    )
                socket.shape = shape
            for socket in self.outputs:
                shape = tuple(context.get_tensor_shape(socket.spec.name))
                if -1 in shape:
                    raise EngineError(
                        f"{self.label}: the size of tensor '{socket.spec.name}' {list(shape)} depends on the data, "
                        "which is not supported"
                    )
                socket.shape = shape
        except BaseException:
            for socket in changed:
                socket.shape = UNKNOWN  # whatever TensorRT keeps of it, the next run sets it again
            raise
        return True

    def set_address(self, socket: Socket, address: int) -> None:
        """Tell TensorRT where a tensor lies on the GPU. Raises `EngineError`."""
        if not self.context.set_tensor_address(socket.spec.name, address):
            raise EngineError(f"{self.label}: TensorRT takes no memory for tensor '{socket.spec.name}'")

    def queue(self, stream: Stream) -> None:
        """Queue one run. Raises `EngineError`."""
        if not self.context.execute_async_v3(stream.handle):
            raise EngineError(f"TensorRT cannot run {self.label}: {self._log.take()}")

    def close(self) -> None:
        """Drop the context and the plan. Closing twice is harmless."""
        self._context = self._engine = self._runtime = None

    def _load(self, plan: bytes) -> ICudaEngine:
        try:
            engine: ICudaEngine = self._log.made("engine", lambda: self._runtime.deserialize_cuda_engine(plan))
        except EngineError as error:
            raise PlanRefusedError(f"TensorRT does not load {self.label}: {error}") from error
        return engine


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _describe(trt: TensorRt, engine: ICudaEngine, name: str, label: str) -> Socket:
    kind = engine.get_tensor_dtype(name)
    dtype = next((dtype for member, dtype in DTYPES.items() if getattr(trt.DataType, member, None) == kind), None)
    if dtype is None:
        raise EngineError(f"{label}: tensor '{name}' has the unsupported type {kind}")
    if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
        raise EngineError(f"{label}: tensor '{name}' is read by the CPU (a shape), which is not supported")
    smallest = largest = shape = tuple(engine.get_tensor_shape(name))
    if -1 in shape and engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
        smallest, _, largest = (tuple(size) for size in engine.get_tensor_profile_shape(name, 0))
    return Socket(TensorSpec(name, shape, dtype), smallest, largest)
