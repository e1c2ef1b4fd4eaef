"""Optical flow of a person's crop between two frames: DIS (Kroeger et al. 2016) on the CPU, RAFT (Teed & Deng 2020) on a
GPU. Both give the same field in the same unit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import cv2
import numpy as np

from common.arrays import AnyArray, FloatArray, ImageArray
from engines.device_array import DeviceArray
from engines.engine import Arrays, Engine, EngineError
from realtime.records import Box, Flow, Frame
from realtime.stages.crops import Cropper

FLOW_SIZE = 128
"""Side of the flow field, px."""
CELL_MEANS: Final = "cell_means"
"""Name of the engine output with the flow's means over a grid of cells, which is all that the regressor reads of the flow."""
_NO_FIELD: Final = np.empty((0, 0, 2), np.float32)


class CropFlow(ABC):
    """Optical flow inside a box: a field of ``size`` × ``size``, from crops of ``pixels`` × ``pixels``. Used by one thread."""

    def __init__(self, size: int, pixels: int) -> None:
        self.size = size
        self.shows = True
        """Whether the field is displayed; any thread may change it. If not, the field may stay on the GPU."""
        self._crop = Cropper(pixels, cv2.BORDER_REPLICATE)
        self._last: tuple[int, Box] | None = None

    def __call__(self, previous: Frame, current: Frame, box: Box) -> Flow:
        """Flow from ``previous`` to ``current`` inside ``box``, to which both are cropped.

        Raises ``ValueError`` unless ``current`` is later than ``previous``: the same frame twice would show no motion.
        """
        dt = _interval(previous, current)
        for place, frame in enumerate((previous, current)):
            self._keep(place, self._crop(frame.image, box))
        goes_on = self._last is not None and self._last[0] == previous.sequence and _alike(self._last[1], box)
        self._last = (current.sequence, box)
        field, means = self._measure(goes_on)
        return Flow(current.sequence, previous.sequence, dt, box, field, means=means)

    def all(self, previous: Frame, current: Frame, boxes: Sequence[Box]) -> list[Flow]:
        """The flow in each of ``boxes``, in their order; see `__call__`."""
        return [self(previous, current, box) for box in boxes]

    @abstractmethod
    def _keep(self, place: int, crop: ImageArray) -> None:
        """Copy the BGR ``crop`` (pixels, pixels, 3) of the previous (0) or the current (1) frame; the caller overwrites it."""

    @abstractmethod
    def _measure(self, goes_on: bool) -> tuple[FloatArray, AnyArray | None]:
        """A new (size, size, 2) field between the two crops, in pixels of a crop of ``size``², and `Flow.means` where they are
        known. ``goes_on``: the last call was for nearly the same box, one frame earlier: its field is a good start."""


class DisFlow(CropFlow):
    """DIS tuned for small crops: its fast preset, one scale finer, without variational refinement."""

    def __init__(self, size: int = FLOW_SIZE) -> None:
        super().__init__(size, size)
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._dis.setFinestScale(1)
        self._dis.setVariationalRefinementIterations(0)
        self._field = np.zeros((size, size, 2), np.float32)
        self._grey: list[ImageArray] = [np.empty((size, size), np.uint8), np.empty((size, size), np.uint8)]

    def _keep(self, place: int, crop: ImageArray) -> None:
        cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY, self._grey[place])

    def _measure(self, goes_on: bool) -> tuple[FloatArray, AnyArray | None]:
        if not goes_on:
            self._field[:] = 0  # its contents are the initial field
        return np.asarray(self._dis.calc(self._grey[0], self._grey[1], self._field), np.float32).copy(), None


class RaftFlow(CropFlow):
    """RAFT-small in an engine of the network that ``export.raft`` exports.

    Its inputs are uint8 ``previous`` and ``current`` (N, P, P, 3) RGB, its output is ``flow`` (N, S, S, 2) in pixels of a crop
    of S × S. P is larger than S because the network's features cover 8 × 8 px, which are wider than a forearm in a crop of
    S × S. An engine that takes several rows processes all boxes in one run. Raises `EngineError` for another network.

    If the engine also outputs `CELL_MEANS`, ``start`` may be given: it queues a run that leaves them on the GPU and does not
    wait for it, or returns None if there is no room for them. It is used while the field is not displayed.
    """

    def __init__(self, engine: Engine, start: Callable[[Arrays], DeviceArray | None] | None = None) -> None:
        reads = {spec.name: spec.shape for spec in engine.inputs}
        gives = {spec.name: spec.shape for spec in engine.outputs}
        shape, field = reads.get("previous", ()), gives.get("flow", ())
        pair = reads == dict.fromkeys(("previous", "current"), shape)
        if not (pair and _square(shape, 3) and _square(field, 2)):
            raise EngineError(f"not an optical flow network of this project: it reads {reads} and gives {gives}")
        super().__init__(field[1], shape[1])
        self._engine, self._gives_means = engine, CELL_MEANS in gives
        self._start = start
        self._crops: dict[str, ImageArray] = {name: np.zeros((1, *shape[1:]), np.uint8) for name in reads}
        self._row = 0

    def all(self, previous: Frame, current: Frame, boxes: Sequence[Box]) -> list[Flow]:
        """See `CropFlow.all`."""
        dt, found = _interval(previous, current), list[Flow]()
        most = self._engine.max_rows
        for first in range(0, len(boxes), most):
            some = boxes[first : first + most]
            missing = len(some) - len(self._crops["previous"])
            if missing > 0:
                self._crops = {
                    name: np.concatenate([crops, np.zeros((missing, *crops.shape[1:]), np.uint8)])
                    for name, crops in self._crops.items()
                }
            for self._row, box in enumerate(some):
                for place, frame in enumerate((previous, current)):
                    self._keep(place, self._crop(frame.image, box))
            self._row = 0
            found += [
                Flow(current.sequence, previous.sequence, dt, box, field, means=means)
                for box, (field, means) in zip(some, self._run(len(some)), strict=True)
            ]
        return found

    def _keep(self, place: int, crop: ImageArray) -> None:
        cv2.cvtColor(crop, cv2.COLOR_BGR2RGB, self._crops[("previous", "current")[place]][self._row])

    def _measure(self, goes_on: bool) -> tuple[FloatArray, AnyArray | None]:
        (found,) = self._run(1)
        return found

    def _run(self, rows: int) -> Iterator[tuple[FloatArray, AnyArray | None]]:
        """Field and means of the first ``rows`` crops."""
        feeds = {name: crops[:rows] for name, crops in self._crops.items()}
        if self._start is not None and not self.shows:
            left = self._start(feeds)
            if left is not None:
                yield from ((_NO_FIELD, row) for row in left.rows())
                return
        found = self._engine.infer(feeds)
        for row in range(rows):
            means = found[CELL_MEANS][row : row + 1] if self._gives_means else None
            yield np.asarray(found["flow"][row], np.float32), means


def _interval(previous: Frame, current: Frame) -> float:
    """Seconds from one frame to a later one. Raises ``ValueError`` for others."""
    dt = current.time_s - previous.time_s
    if current.sequence <= previous.sequence or dt <= 0:
        raise ValueError(f"flow needs two frames in order, got {previous.sequence} and {current.sequence}")
    return dt


def _alike(last: Box, box: Box) -> bool:
    """Whether two boxes of consecutive frames are close enough to show the same person: the flow of another one is no good
    initial value."""
    far = 0.25 * box.size
    return abs(last.x - box.x) < far and abs(last.y - box.y) < far and 0.8 < last.size / box.size < 1.25


def cell_means(flow: Flow, cells: int) -> FloatArray:
    """The field's means over a grid of cells, float32 (cells, cells, 2), as a share of the crop's side."""
    size = len(flow.field)
    means = cv2.resize(flow.field, (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float32) / np.float32(size)


def _square(shape: tuple[int, ...], channels: int) -> bool:
    return len(shape) == 4 and shape[0] in (-1, 1) and shape[1] == shape[2] > 0 and shape[3] == channels
