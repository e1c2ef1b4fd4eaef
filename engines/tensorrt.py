"""TensorRT on an NVIDIA GPU.

An engine owns an execution context for each of its plans, one stream, and, for all that goes in and for all that comes out,
a block of GPU memory and one of pinned host memory, made at loading time for the largest shapes that the plans allow. So a
run takes no memory of the GPU and makes two copies, however many tensors there are: it fills the pinned inputs, queues the
copy, the networks and the copy back, waits once, and copies the answers out of pinned memory, which dies with the engine,
into arrays that the caller keeps. What one plan hands to the next stays on the GPU. A second set of pinned buffers would
never be in flight, for a run ends before the next begins; and a recorded CUDA graph wants the addresses that it was recorded
with. Engines of different threads have streams of their own, on which the GPU works side by side. An engine may also leave one
output on the GPU for another engine (`TensorRtEngine.start`): then nobody waits for it but the GPU itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from common.arrays import AnyArray
from engines.cuda.driver import probe_gpu
from engines.cuda.packages import open_cuda
from engines.cuda.port import Cuda, Event, Graph, Stream
from engines.cuda.timer import RunTimer
from engines.device_array import DeviceArray, Slots, on_the_device
from engines.engine import Arrays, Engine, EngineError
from engines.tensorrt_api import Shape, load_tensorrt, shared_log
from engines.tensorrt_network import Block, Network, Part, PlanRefusedError, Socket

__all__ = ["Part", "PlanRefusedError", "TensorRtEngine"]


class TensorRtEngine(Engine):
    """A network in TensorRT, or several that run one after the other, from plans that `engines.plans` has found fit to load.

    Args:
        plan: the serialised engine, or several parts.
        label: what errors call it.
        precision: of its numbers, for `Engine.device`.
        dla: the DLA core that it was built for.
        links: which input of a later part is which output of an earlier one, by their names: it stays on the GPU. Other inputs
            of one name are one input of the engine.
        inside: outputs that do not come back.
        leaves: an output that `start` leaves on the GPU, and how many answers may lie there at the same time.
        graphs: replay each run as a CUDA graph where the package that wraps the driver has them.
        urgent: the GPU takes its work before that of other engines, where the package can say so.
        cuda: that package. None: see `engines.cuda.packages.open_cuda`.

    Raises `RuntimeMissingError` where TensorRT cannot run, `PlanRefusedError` for a plan that it does not load, and
    `EngineError` when its memory does not fit on the GPU or a tensor cannot be served.
    """

    runtime = "tensorrt"
    runs_to_warm_up = 3  # a plain one, one that is recorded as a CUDA graph, and its first replay

    def __init__(
        self,
        plan: bytes | Sequence[Part],
        *,
        label: str = "the plan",
        precision: str = "",
        dla: int | None = None,
        links: Mapping[str, str] | None = None,
        inside: Collection[str] = (),
        leaves: tuple[str, int] | None = None,
        graphs: bool = True,
        urgent: bool = False,
        cuda: Cuda | None = None,
    ) -> None:
        """Load the plans and take all memory that their runs need."""
        trt, log = load_tensorrt(), shared_log()
        parts = [Part(plan, label, precision, dla)] if isinstance(plan, bytes) else list(plan)
        self._cuda = cuda or open_cuda()
        self._cuda.activate()
        self._resources = ExitStack()
        self._graphs = graphs
        self._replays: dict[_Kind, _Replay] = {}
        self._moved: dict[str, int] = {}
        """Addresses of tensors that are not where they were laid out, but in a slot."""
        self._leaves = leaves
        self._slots: Slots | None = None
        self._uploaded: Event | None = None
        self._timer: RunTimer | None = None
        self._places: dict[str, list[tuple[Network, Socket, int]]] = {}
        """Where the tensors of each name were laid out."""
        self._networks: list[Network] = []
        try:
            for part in parts:
                self._networks.append(Network(trt, log, part))
            self._stream = self._cuda.stream(urgent)
            self._resources.callback(self._stream.close)
            self._connect(dict(links or {}), set(inside))
            self._allocate()
        except BaseException:
            self.close()
            raise
        self.inputs = tuple(socket.spec for socket in self._in.sockets)
        self.outputs = tuple(socket.spec for socket in self._out.sockets)
        precisions = " and ".join(dict.fromkeys(part.precision for part in parts if part.precision))
        self.device = ", ".join(filter(None, (str(probe_gpu()), precisions)))

    @property
    def replays(self) -> int:
        """See `engines.engine.Engine.replays`: from the second run of the same shapes on, where that works."""
        return sum(replay.count for replay in self._replays.values())

    @property
    def max_rows(self) -> int:
        """See `engines.engine.Engine.max_rows`: what the plans' profiles allow."""
        if any(spec.shape[:1] != (-1,) for spec in self.inputs):
            return 1
        return min(socket.largest[0] for socket in self._in.sockets)

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        """See `engines.engine.Engine.infer`. A `engines.device_array.DeviceArray` is read where it lies."""
        there = on_the_device(feeds)
        self._prepare(feeds, {name: address for name, (address, _) in there.items()})
        for _, ready in there.values():
            self._stream.wait_for(ready)

        def queue() -> None:
            self._in.copy_in(self._cuda, self._stream)
            self._queue_networks()
            self._out.copy_out(self._cuda, self._stream)

        with self._drained_on_errors():
            if self._timer is not None:
                self._timer.begin(self._stream)
            self._replay("infer", queue)
            if self._timer is not None:
                self._timer.end(self._stream)
            self._stream.synchronise()
        return {socket.spec.name: socket.view.copy() for socket in self._out.sockets}

    def time_runs(self) -> RunTimer:
        """Measure each `infer` from now on; the timer says how long the last one took."""
        if self._timer is None:
            self._cuda.activate()
            self._timer = RunTimer(self._cuda)
            self._resources.callback(self._timer.close)
        return self._timer

    def warm_up(self) -> None:
        """See `engines.engine.Engine.warm_up`; runs that `start` queues, too."""
        super().warm_up()
        if self._slots is not None:
            for _ in range(self.runs_to_warm_up):
                left = self.start(self.made_up_feeds())
                if left is not None:
                    left.release()
            self._stream.synchronise()

    def start(self, feeds: Arrays) -> DeviceArray | None:
        """Queue a run and return at once. Its one answer is the output that this engine ``leaves``, on the GPU; release it.

        None where so many answers are still out that there is no place. Raises `EngineError` as `infer` does; an error on the
        GPU shows in the run that reads the answer.
        """
        if self._leaves is None or self._slots is None or self._uploaded is None:
            raise EngineError("this engine leaves nothing on the GPU")
        slot = self._slots.take()
        if slot is None:
            return None
        try:
            self._prepare(feeds, {self._leaves[0]: slot.address})
            with self._drained_on_errors():
                # Not in the recorded part, so that it is known when the pinned memory can be filled again.
                self._in.copy_in(self._cuda, self._stream)
                self._uploaded.record(self._stream)
                self._replay("start", self._queue_networks)
                slot.ready.record(self._stream)
        except BaseException:
            slot.release()
            raise
        left = next(socket for socket in self._out.sockets if socket.spec.name == self._leaves[0])
        return DeviceArray.over(slot, left.shape, left.spec)

    def _prepare(self, feeds: Arrays, moved: dict[str, int]) -> None:
        """Fill the pinned inputs, but for those that are ``moved``, by name and address."""
        if not self._networks:
            raise EngineError("the engine is closed")
        self.check_feeds(feeds)
        self._cuda.activate()
        if self._uploaded is not None and not self._uploaded.is_done():
            self._uploaded.synchronise()
        if self._set_shapes({name: array.shape for name, array in feeds.items()}):
            self._lay_out()
        for socket in self._in.sockets:
            if socket.spec.name not in moved:
                np.copyto(socket.view, feeds[socket.spec.name])
        for name in [*self._moved, *moved]:
            address = moved.get(name)
            for network, socket, laid_out in self._places[name]:
                network.set_address(socket, laid_out if address is None else address)
        self._moved = moved

    def _queue_networks(self) -> None:
        for network in self._networks:
            network.queue(self._stream)

    def _replay(self, what: str, queue: Callable[[], None]) -> None:
        """Queue work by ``queue``, or by the recording of it with the present addresses."""
        if not self._graphs:
            queue()
            return
        kind = what, tuple(sorted(self._moved.items()))
        if kind not in self._replays:
            self._replays[kind] = _Replay(self._cuda)
        self._replays[kind].run(queue, self._stream)

    @contextmanager
    def _drained_on_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(EngineError):  # nothing may still be copying when the pinned memory is filled or freed
                self._stream.synchronise()
            raise

    def close(self) -> None:
        """See `engines.engine.Engine.close`."""
        self._cuda.activate()
        self._forget_replays()
        if self._slots is not None:  # of runs that nobody has waited for
            with suppress(EngineError):
                self._stream.synchronise()
        for network in self._networks:
            network.close()
        self._networks = []
        self._resources.close()

    def _connect(self, links: dict[str, str], inside: set[str]) -> None:
        """Sort the tensors: which come in, which stay on the GPU, which come out, and which share memory."""
        self._same: list[tuple[Network, Socket, Socket]] = []
        """Inputs that lie where another tensor lies, the second one."""
        feeds: dict[str, Socket] = {}
        made: dict[str, Socket] = {}
        for network in self._networks:
            for socket in network.inputs:
                name = socket.spec.name
                there = made.get(links[name]) if name in links else feeds.setdefault(name, socket)
                if there is None:
                    feeds.setdefault(name, socket)
                elif there is not socket:
                    if there.spec.dtype != socket.spec.dtype:
                        raise EngineError(
                            f"{network.label}: '{name}' is {socket.spec.dtype}, '{there.spec.name}' is not"
                        )
                    self._same.append((network, socket, there))
            made |= {socket.spec.name: socket for socket in network.outputs}
        if missing := {*inside, *links.values()} - made.keys():
            raise EngineError(f"no plan gives {', '.join(sorted(missing))}")
        every = [socket for network in self._networks for socket in network.outputs]
        self._in = Block(list(feeds.values()))
        self._out = Block(
            [socket for socket in every if made[socket.spec.name] is socket and socket.spec.name not in inside]
        )
        self._kept = Block([socket for socket in every if socket not in self._out.sockets])

    def _allocate(self) -> None:
        self._set_shapes({socket.spec.name: socket.largest for socket in self._in.sockets})
        self._in.allocate(self._cuda, self._resources)
        self._kept.allocate(self._cuda, self._resources, pinned=False)
        self._out.allocate(self._cuda, self._resources, goes_out=True)
        self._lay_out()
        if self._leaves is not None:
            name, count = self._leaves
            left = next((socket for socket in self._out.sockets if socket.spec.name == name), None)
            if left is None:
                raise EngineError(f"no plan gives {name}")
            self._slots = Slots(self._cuda, self._resources, left.size, count)
            self._uploaded = self._cuda.event()
            self._resources.callback(self._uploaded.close)

    def _forget_replays(self) -> None:
        for replay in self._replays.values():
            replay.forget()

    def _lay_out(self) -> None:
        """Lay the memory out for new shapes. What was recorded for the old ones is void."""
        self._forget_replays()
        addresses = self._in.lay_out() | self._kept.lay_out() | self._out.lay_out()
        addresses |= {id(socket): addresses[id(there)] for _, socket, there in self._same}
        self._moved, self._places = {}, {}
        for network in self._networks:
            for socket in network.inputs + network.outputs:
                address = addresses[id(socket)]
                network.set_address(socket, address)
                self._places.setdefault(socket.spec.name, []).append((network, socket, address))

    def _set_shapes(self, shapes: dict[str, Shape]) -> bool:
        """Tell TensorRT all inputs' shapes where they are new; whether any was."""
        sources = {id(socket): there for _, socket, there in self._same}
        changed = False
        for network in self._networks:
            wanted = {
                socket.spec.name: sources[id(socket)].shape if id(socket) in sources else shapes[socket.spec.name]
                for socket in network.inputs
            }
            changed |= network.set_shapes(wanted)
        return changed


_Kind = tuple[str, tuple[tuple[str, int], ...]]
"""What is replayed: a kind of run, and the addresses of tensors that are in slots."""


class _Replay:
    """Runs the same work again and again; from the second time on as a CUDA graph, where that works.

    The first run is a plain one: what TensorRT sets up in it must not be part of the recording. ``count`` counts the replays.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._warm = self._refused = False
        self._graph: Graph | None = None
        self.count = 0

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
            self.count += 1
        else:
            work()
            self._warm = True

    def forget(self) -> None:
        """Drop the recording: shapes have changed, or the end has come."""
        graph, self._graph, self._warm = self._graph, None, False
        if graph is not None:
            graph.close()
