"""The keypoints of one person: MoveNet on a crop of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from engines.engine import Engine, EngineError
from realtime.records import Box
from realtime.stages.crops import Cropper
from realtime.stages.keypoints.masking import Outline, hide

CONFIDENT = 0.3
"""Confidence from which on a keypoint counts as seen."""


class CropView(NamedTuple):
    """The crop of an image that `MoveNet` reads."""

    box: Box
    """The region, image pixels."""
    turn: int = 0
    """Quarter turns counter-clockwise that bring the person upright."""
    own: Outline | None = None
    """Expected keypoints of the person; None: not known."""
    others: tuple[Outline, ...] = ()
    """People in the region who are blurred, except where ``own`` covers them."""


class MoveNet:
    """COCO-17 keypoints of the person in a square region. Wraps a MoveNet engine; used by one thread."""

    def __init__(self, engine: Engine) -> None:
        spec = engine.inputs[0]
        if len(engine.inputs) != 1 or len(spec.shape) != 4 or spec.shape[1] != spec.shape[2] or spec.shape[3] != 3:
            raise EngineError(f"not a MoveNet model: its input is {spec}")
        self._engine, self._name, self._output = engine, spec.name, engine.outputs[0].name
        # A CPU takes as long for several people in one run as for one after the other (docs/results/precision.md).
        self._max_rows = engine.max_rows if engine.runtime == "tensorrt" else 1
        self._crop = Cropper(spec.shape[1])
        self._rgb: ImageArray = np.empty((spec.shape[1], spec.shape[1], 3), np.uint8)
        self._input = np.zeros((1, spec.shape[1], spec.shape[1], 3), spec.dtype)

    def __call__(
        self,
        image: ImageArray,
        box: Box,
        turn: int = 0,
        own: Outline | None = None,
        others: tuple[Outline, ...] = (),
    ) -> tuple[FloatArray, FloatArray]:
        """Keypoints (17, 2) image pixels and confidences (17,) of the person in ``box`` of a BGR image.

        ``turn`` quarter turns counter-clockwise of the crop bring the person upright. ``others`` stand in the same region and
        are blurred, except where ``own``, the person's expected keypoints, covers them.
        """
        return self.more(image, [CropView(box, turn, own, others)])[0]

    def all(self, image: ImageArray, views: Sequence[CropView]) -> list[tuple[FloatArray, FloatArray]]:
        """Keypoints and confidences for each of ``views``, see `__call__`; a GPU takes them in one run."""
        missing = max(1, min(len(views), self._max_rows)) - len(self._input)
        if missing:  # negative: fewer than before. Runs keep this number of rows until the next call
            self._input = np.resize(self._input, (len(self._input) + missing, *self._input.shape[1:]))
        return self.more(image, views)

    def more(self, image: ImageArray, views: Sequence[CropView]) -> list[tuple[FloatArray, FloatArray]]:
        """Keypoints of more people in the frame that `all` was last called for, in runs of the same number of rows: on a GPU
        another number would cost more than unused rows."""
        found, rows = [], len(self._input)
        for first in range(0, len(views), rows):
            some = views[first : first + rows]
            for row, view in enumerate(some):
                self._fill(row, image, view)
            answers = self._engine.infer({self._name: self._input})[self._output].reshape(rows, 17, 3)
            found += [_in_image(answer, view, self._crop.size) for answer, view in zip(answers, some, strict=False)]
        return found

    def _fill(self, row: int, image: ImageArray, view: CropView) -> None:
        """Put what ``view`` shows into one row of the network's input."""
        crop = self._crop(image, view.box)
        if view.own is not None and view.others:
            hide(crop, view.box, view.own, view.others)
        if not view.turn and self._input.dtype == np.uint8:
            cv2.cvtColor(crop, cv2.COLOR_BGR2RGB, self._input[row])
            return
        cv2.cvtColor(crop, cv2.COLOR_BGR2RGB, self._rgb)
        np.copyto(self._input[row], np.rot90(self._rgb, view.turn) if view.turn else self._rgb, casting="unsafe")


def _in_image(answer: FloatArray, view: CropView, size: int) -> tuple[FloatArray, FloatArray]:
    """Keypoints in image pixels and confidences from one row (17, 3) of the network's output for a crop of ``size`` px."""
    box = view.box
    # The network counts from the centre of the crop's first pixel, as mirrored images show (docs/results/detections.md):
    # taken as its edge, everything would lie half a pixel of the crop to the left and above.
    places = _turned_back(answer[:, 1::-1] + np.float32(0.5 / size), view.turn)
    corner = np.array([box.x - box.size / 2 - 0.5, box.y - box.size / 2 - 0.5], np.float32)
    points = places.astype(np.float32) * np.float32(box.size) + corner
    return points, answer[:, 2].astype(np.float32)


def _turned_back(places: FloatArray, turn: int) -> FloatArray:
    """Places (N, 2), x and y in 0..1, in the crop before `numpy.rot90` turned it ``turn`` times."""
    if not turn:
        return places
    x, y = places.T
    match turn % 4:
        case 1:
            return np.stack([1 - y, x], 1)
        case 2:
            return 1 - places
        case 3:
            return np.stack([y, 1 - x], 1)
    return places
