"""Where one person's keypoints are: MoveNet on a crop."""

from __future__ import annotations

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from engines.engine import Engine, EngineError
from realtime.records import Box
from realtime.stages.crops import Cropper
from realtime.stages.masking import Outline, hide

CONFIDENT = 0.3
"""Confidence from which on a keypoint counts as seen."""


class MoveNet:
    """COCO-17 keypoints of the person in a square region. Wraps a MoveNet engine; used by one thread."""

    def __init__(self, engine: Engine) -> None:
        spec = engine.inputs[0]
        if len(engine.inputs) != 1 or len(spec.shape) != 4 or spec.shape[1] != spec.shape[2] or spec.shape[3] != 3:
            raise EngineError(f"not a MoveNet model: its input is {spec}")
        self._engine, self._name, self._output = engine, spec.name, engine.outputs[0].name
        self._crop = Cropper(spec.shape[1])
        self._rgb: ImageArray = np.empty((spec.shape[1], spec.shape[1], 3), np.uint8)
        self._input = np.empty((1, spec.shape[1], spec.shape[1], 3), spec.dtype)

    def __call__(
        self,
        image: ImageArray,
        box: Box,
        turn: int = 0,
        own: Outline | None = None,
        others: tuple[Outline, ...] = (),
    ) -> tuple[FloatArray, FloatArray]:
        """Keypoints (17, 2) image pixels and confidences (17,) of the person in ``box`` of a BGR image.

        ``turn`` quarter turns counter-clockwise of what the network is shown bring the person upright. ``others`` stand in
        the same region and are hidden from it, but for what covers ``own``, where the person is expected.
        """
        crop = self._crop(image, box)
        if own is not None and others:
            hide(crop, box, own, others)
        cv2.cvtColor(crop, cv2.COLOR_BGR2RGB, self._rgb)
        np.copyto(self._input[0], np.rot90(self._rgb, turn) if turn else self._rgb, casting="unsafe")
        rows = self._engine.infer({self._name: self._input})[self._output].reshape(17, 3)
        places = _turned_back(rows[:, 1::-1], turn)
        # The network counts from the crop's edge, pixels from the centre of the first one.
        corner = np.array([box.x - box.size / 2 - 0.5, box.y - box.size / 2 - 0.5], np.float32)
        points = places.astype(np.float32) * np.float32(box.size) + corner
        return points, rows[:, 2].astype(np.float32)


def _turned_back(places: FloatArray, turn: int) -> FloatArray:
    """Places (N, 2), x and y in 0..1, in a frame before `numpy.rot90` turned it ``turn`` times."""
    x, y = places.T
    match turn % 4:
        case 1:
            return np.stack([1 - y, x], 1)
        case 2:
            return 1 - places
        case 3:
            return np.stack([y, 1 - x], 1)
    return places
