"""TensorRT on an NVIDIA GPU.

An engine owns one execution context, one stream and, for each tensor, one block of GPU memory and one of pinned host
memory, all made at loading time for the largest shapes that the plan allows. So a run takes no memory of the GPU: it fills
the pinned inputs, queues copies, network and copies back, waits once, and copies the answers out of pinned memory, which
dies with the engine, into arrays that the caller keeps. A second set of pinned buffers would never be in flight, for a run
ends before the next begins; and a recorded CUDA graph wants the addresses that it was recorded with. Engines of different
threads have streams of their own, on which the GPU works side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cuda.driver import probe_gpu
from engines.cuda.packages import open_cuda
from engines.cuda.port import Cuda, DeviceMemory, Graph, PinnedMemory, Stream
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from engines.tensorrt_api import DTYPES, ICudaEngine, IExecutionContext, Shape, TensorRt, load_tensorrt, shared_log


class PlanRefusedError(EngineError):
    """TensorRT does not load the plan: it is for another GPU or version, or no plan at all. It must be built anew."""


class TensorRtEngine(Engine):
    """A network in TensorRT, from a plan that `engines.plans` has found fit to load.

    Args:
        plan: the serialised engine. Loading it runs code that is in it.
        label: what errors call it.
        precision: of its numbers, for `Engine.device`.
        dla: the DLA core that it was built for.
        graphs: replay each run as a CUDA graph where the package that wraps the driver has them.
        cuda: that package. None: see `engines.cuda.packages.open_cuda`.

    Raises `RuntimeMissingError` where TensorRT cannot run, `PlanRefusedError` for a plan that it does not load, and
    `EngineError` when its memory does not fit on the GPU or a tensor cannot be served.
    """

    runtime = "tensorrt"
    runs_to_warm_up = 3  # a plain one, one that is recorded as a CUDA graph, and its first replay

    def __init__(
        self,
        plan: bytes,
        *,
        label: str = "the plan",
        precision: str = "",
        dla: int | None = None,
        graphs: bool = True,
        cuda: Cuda | None = None,
    ) -> None:
        """Load the plan and take all memory that its runs need."""
        trt = load_tensorrt()
        self._label, self._log = label, shared_log()
        self._cuda = cuda or open_cuda()
        self._cuda.activate()
        self._resources = ExitStack()
        self._replay = _Replay(self._cuda) if graphs else None
        try:
            # Each refers to the one before, and must be dropped before it.
            self._runtime: Any = self._log.made("runtime", lambda: trt.Runtime(self._log.logger))
            if dla is not None:
                self._runtime.DLA_core = dla
            self._engine: ICudaEngine | None = self._load(plan)
            self._context: IExecutionContext | None = self._log.made(
                f"execution context for {label}", self._engine.create_execution_context
            )
            self._stream = self._cuda.stream()
            self._resources.callback(self._stream.close)
            names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
            modes = {name: self._engine.get_tensor_mode(name) for name in names}
            sockets = {name: _describe(trt, self._engine, name, label) for name in names}
            self._in = [sockets[name] for name in names if modes[name] == trt.TensorIOMode.INPUT]
            self._out = [sockets[name] for name in names if modes[name] != trt.TensorIOMode.INPUT]
            self._allocate(self._context)
        except BaseException:
            self.close()
            raise
        self.inputs = tuple(socket.spec for socket in self._in)
        self.outputs = tuple(socket.spec for socket in self._out)
        self.device = ", ".join(filter(None, (str(probe_gpu()), precision)))

    @property
    def replays(self) -> bool:
        """Whether runs are replayed as a CUDA graph: from the second run of the same shapes on, where that works."""
        return self._replay is not None and self._replay.recorded

    def infer(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """See `engines.engine.Engine.infer`."""
        context = self._context
        if context is None:
            raise EngineError("the engine is closed")
        self.check_feeds(feeds)
        self._cuda.activate()
        if self._set_shapes(context, {name: array.shape for name, array in feeds.items()}):
            for socket in self._in + self._out:
                socket.view()
            if self._replay:
                self._replay.forget()
        for socket in self._in:
            np.copyto(socket.pinned_view, feeds[socket.spec.name])

        def queue() -> None:
            for socket in self._in:
                self._cuda.copy_in(socket.device, socket.pinned_view, self._stream)
            if not context.execute_async_v3(self._stream.handle):
                raise EngineError(f"TensorRT cannot run {self._label}: {self._log.take()}")
            for socket in self._out:
                self._cuda.copy_out(socket.pinned_view, socket.device, self._stream)

        try:
            if self._replay:
                self._replay.run(queue, self._stream)
            else:
                queue()
            self._stream.synchronise()
        except BaseException:
            with suppress(EngineError):  # nothing may still be copying when the pinned memory is filled or freed
                self._stream.synchronise()
            raise
        return {socket.spec.name: socket.pinned_view.copy() for socket in self._out}

    def close(self) -> None:
        """See `engines.engine.Engine.close`."""
        self._cuda.activate()
        if self._replay:
            self._replay.forget()
        self._context = self._engine = self._runtime = None
        self._resources.close()

    def _load(self, plan: bytes) -> ICudaEngine:
        try:
            engine: ICudaEngine = self._log.made("engine", lambda: self._runtime.deserialize_cuda_engine(plan))
        except EngineError as error:
            raise PlanRefusedError(f"TensorRT does not load {self._label}: {error}") from error
        return engine

    def _allocate(self, context: IExecutionContext) -> None:
        self._set_shapes(context, {socket.spec.name: socket.largest for socket in self._in})
        for socket in self._in + self._out:
            socket.allocate(self._cuda, self._resources)
            socket.view()
            if not context.set_tensor_address(socket.spec.name, socket.device.address):
                raise EngineError(f"{self._label}: TensorRT takes no memory for tensor '{socket.spec.name}'")

    def _set_shapes(self, context: IExecutionContext, shapes: dict[str, Shape]) -> bool:
        """Tell TensorRT the inputs' shapes where they are new; whether any was."""
        changed = [socket for socket in self._in if socket.shape != shapes[socket.spec.name]]
        if not changed:
            return False
        try:
            for socket in changed:
                shape = shapes[socket.spec.name]
                if not context.set_input_shape(socket.spec.name, shape):
                    raise EngineError(
                        f"tensor '{socket.spec.name}' {list(shape)} is outside of what {self._label} was built for: "
                        f"{list(socket.smallest)} to {list(socket.largest)}"
                    )
                socket.shape = shape
            for socket in self._out:
                shape = tuple(context.get_tensor_shape(socket.spec.name))
                if -1 in shape:
                    raise EngineError(
                        f"{self._label}: the size of tensor '{socket.spec.name}' {list(shape)} depends on the data, "
                        "which is not supported"
                    )
                socket.shape = shape
        except BaseException:
            for socket in changed:
                socket.shape = _UNKNOWN  # whatever TensorRT keeps of it, the next run sets it again
            raise
        return True


_UNKNOWN: Shape = (-1,)


class _Socket:
    """One input or output, and its memory.

    ``shape`` is the current one, `_UNKNOWN` before the first. ``smallest`` and ``largest`` are the shapes that an input
    may have. ``pinned_view`` is the pinned memory in the current shape.
    """

    device: DeviceMemory
    pinned: PinnedMemory
    pinned_view: NDArray[Any]

    def __init__(self, spec: TensorSpec, smallest: Shape, largest: Shape) -> None:
        self.spec, self.smallest, self.largest = spec, smallest, largest
        self.shape: Shape = _UNKNOWN

    @property
    def _size(self) -> int:
        return math.prod(self.shape) * self.spec.dtype.itemsize

    def allocate(self, cuda: Cuda, resources: ExitStack) -> None:
        """Take memory for the current shape; ``resources`` frees it."""
        self.device = cuda.device_memory(self._size)
        resources.callback(self.device.close)
        self.pinned = cuda.pinned_memory(self._size)
        resources.callback(self.pinned.close)

    def view(self) -> None:
        """Lay the pinned memory out in the current shape."""
        self.pinned_view = self.pinned.bytes[: self._size].view(self.spec.dtype).reshape(self.shape)


def _describe(trt: TensorRt, engine: ICudaEngine, name: str, label: str) -> _Socket:
    kind = engine.get_tensor_dtype(name)
    dtype = next((dtype for member, dtype in DTYPES.items() if getattr(trt.DataType, member, None) == kind), None)
    if dtype is None:
        raise EngineError(f"{label}: tensor '{name}' has the unsupported type {kind}")
    if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
        raise EngineError(f"{label}: tensor '{name}' is read by the CPU (a shape), which is not supported")
    smallest = largest = shape = tuple(engine.get_tensor_shape(name))
    if -1 in shape and engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
        smallest, _, largest = (tuple(size) for size in engine.get_tensor_profile_shape(name, 0))
    return _Socket(TensorSpec(name, shape, dtype), smallest, largest)


class _Replay:
    """Runs the same work again and again; from the second time on as a CUDA graph, where that works.

    The first run is a plain one: what TensorRT sets up in it must not be part of the recording.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._warm = self._refused = False
        self._graph: Graph | None = None

    @property
    def recorded(self) -> bool:
        return self._graph is not None

    def run(self, work: Callable[[], None], stream: Stream) -> None:
        """Queue ``work`` on ``stream``."""
        if self._warm and self._graph is None and not self._refused:
            try:
                self._graph = self._cuda.capture(stream, work)
            except EngineError:  # networks with loops, for one, cannot be recorded
                self._graph = None
            self._refused = self._graph is None
        if self._graph is not None:
            self._graph.launch(stream)
        else:
            work()
            self._warm = True

    def forget(self) -> None:
        """Drop the recording: shapes have changed, or the end has come."""
        graph, self._graph, self._warm = self._graph, None, False
        if graph is not None:
            graph.close()
