"""Where the person's keypoints are: MoveNet on a crop, and BlazePose's detector to find the crop."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from engines.engine import Engine, EngineError
from realtime.records import Box
from realtime.stages.crops import Cropper

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

    def __call__(self, image: ImageArray, box: Box) -> tuple[FloatArray, FloatArray]:
        """Keypoints (17, 2) image pixels and confidences (17,) of the person in ``box`` of a BGR image."""
        cv2.cvtColor(self._crop(image, box), cv2.COLOR_BGR2RGB, self._rgb)
        np.copyto(self._input[0], self._rgb, casting="unsafe")
        rows = self._engine.infer({self._name: self._input})[self._output].reshape(17, 3)
        # The network counts from the crop's edge, pixels from the centre of the first one.
        corner = np.array([box.x - box.size / 2 - 0.5, box.y - box.size / 2 - 0.5], np.float32)
        points = rows[:, 1::-1].astype(np.float32) * np.float32(box.size) + corner
        return points, rows[:, 2].astype(np.float32)


def _anchors() -> FloatArray:
    """Centres (2254, 2) of the detector's anchors, 0..1: three grids with 2, 2 and 6 anchors a cell."""
    rows = []
    for cells, repeat in ((28, 2), (14, 2), (7, 6)):
        line = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(line, line, indexing="ij")
        rows.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), repeat, axis=0))
    return np.concatenate(rows)


class PersonDetector:
    """Finds people with BlazePose's detector, which looks for faces and names the body's middle and reach with each."""

    def __init__(self, engine: Engine, threshold: float = 0.5) -> None:
        spec = engine.inputs[0]
        if len(engine.outputs) != 2 or spec.shape[1:] != (3, 224, 224):
            raise EngineError(f"not a BlazePose detector: its input is {spec}")
        self._engine, self._name, self._threshold = engine, spec.name, threshold
        boxes, scores = sorted(engine.outputs, key=lambda output: -output.shape[-1])
        self._boxes, self._scores = boxes.name, scores.name
        self._anchor = _anchors()
        self._crop = Cropper(224)
        self._input = np.empty((1, 3, 224, 224), np.float32)

    def __call__(self, image: ImageArray, region: Box) -> list[tuple[Box, float]]:
        """People in ``region``: a box that holds the whole body, and the score, best first."""
        rgb = cv2.cvtColor(self._crop(image, region), cv2.COLOR_BGR2RGB)
        np.multiply(rgb.transpose(2, 0, 1), np.float32(1 / 127.5), out=self._input[0], casting="unsafe")
        self._input -= 1
        outputs = self._engine.infer({self._name: self._input})
        score = 1 / (1 + np.exp(-np.clip(outputs[self._scores].reshape(-1), -30, 30)))
        found = np.argsort(-score)[: (score > self._threshold).sum()]  # best first
        raw = outputs[self._boxes].reshape(len(self._anchor), -1)[found] / np.float32(224)
        middle = raw[:, 4:6] + self._anchor[found]  # middle of the hips
        reach = raw[:, 6:8] + self._anchor[found]  # a point on the circle around the whole body
        radius = np.linalg.norm(reach - middle, axis=1)
        people: list[tuple[Box, float]] = []
        origin = np.array([region.x - region.size / 2, region.y - region.size / 2], np.float32)
        for row, anchor in enumerate(found):
            centre = middle[row] * region.size + origin
            box = Box(float(centre[0]), float(centre[1]), float(2.2 * radius[row] * region.size))
            # Neighbouring anchors answer for the same person.
            if all(np.hypot(box.x - b.x, box.y - b.y) > 0.35 * max(box.size, b.size) for b, _ in people):
                people.append((box, float(score[anchor])))
        return people


def search_regions(width: int, height: int) -> Iterator[Box]:
    """Where to look for people, in turn: the whole picture, then squares along its longer side, then smaller ones.

    The detector sees 224 pixels: who is small in the whole picture is large enough in one of the tiles.
    """
    yield Box(width / 2, height / 2, max(width, height))
    short, long = min(width, height), max(width, height)
    for side in (short, short * 0.6):
        across = max(2, int(np.ceil(1.5 * long / side)) - 1)
        along = np.linspace(side / 2, long - side / 2, across)
        rows = [short / 2] if side == short else [side / 2, short - side / 2]
        for down in rows:
            for place in along:
                yield Box(place, down, side) if width >= height else Box(down, place, side)
