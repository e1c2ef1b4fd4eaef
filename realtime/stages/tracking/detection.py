"""Finding people anywhere in the frame: MoveNet MultiPose, on the whole frame and on tiles of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from engines.engine import Engine, EngineError
from realtime.records import Box
from realtime.stages.crops import Cropper
from realtime.stages.keypoints.similarity import oks, pixels_per_metre

MAX_DETECTED = 6
"""Largest number of people that the network finds in one image."""
_SCORE = 0.15  # half-hidden people score little more, and MoveNet verifies newcomers
_MAX_TILES = 12
"""Largest number of tiles along the longer side. Up to an aspect ratio of 8:1 they are as high as the image."""
_DUPLICATE = 0.5
"""Object keypoint similarity from which on two answers are one person."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """Somebody in the frame."""

    points: FloatArray
    """float32 (17, 2), COCO order, image pixels."""
    confidence: FloatArray
    """float32 (17,), confidences, 0..1."""
    score: float
    """The detector's confidence that this is a person, 0..1."""


class PersonDetector:
    """Up to six people at once, with their keypoints. Wraps a MoveNet MultiPose engine; used by one thread.

    Its keypoints are coarse, because it reads any region at 256x256 pixels. They serve to choose MoveNet's regions, and to
    assign sightings to tracks.
    """

    def __init__(self, engine: Engine, threshold: float = _SCORE) -> None:
        spec, answer = engine.inputs[0], engine.outputs[0]
        square = len(spec.shape) == 4 and spec.shape[1] == spec.shape[2] > 0 and spec.shape[3] == 3
        if len(engine.inputs) != 1 or not square or answer.shape[-1] != 56:
            raise EngineError(f"not a MoveNet MultiPose model: it reads {spec} and gives {answer}")
        self._engine, self._name, self._output, self._threshold = engine, spec.name, answer.name, threshold
        size = spec.shape[1]
        self._crop = Cropper(size)
        self._rgb: ImageArray = np.empty((size, size, 3), np.uint8)
        self._input = np.empty((1, size, size, 3), spec.dtype)

    def __call__(self, image: ImageArray, region: Box) -> list[Detection]:
        """The people in ``region`` of a BGR image, best first, nobody twice."""
        cv2.cvtColor(self._crop(image, region), cv2.COLOR_BGR2RGB, self._rgb)
        np.copyto(self._input[0], self._rgb, casting="unsafe")
        rows = self._engine.infer({self._name: self._input})[self._output].reshape(-1, 56)
        # It counts from the centre of the first pixel, as MoveNet does.
        first = (0.5 / self._crop.size - 0.5) * region.size - 0.5
        corner = np.array([region.x + first, region.y + first], np.float32)
        found: list[Detection] = []
        for row in rows[np.argsort(-rows[:, 55])]:
            if not row[55] >= self._threshold:
                break
            keypoints = row[:51].reshape(17, 3).astype(np.float32)
            one = Detection(keypoints[:, 1::-1] * np.float32(region.size) + corner, keypoints[:, 2], float(row[55]))
            if not any(is_same(one, other) for other in found):
                found.append(one)
        return found


def is_same(a: Detection, b: Detection, least: float = _DUPLICATE) -> bool:
    """Whether two detections are of one person."""
    scale = min(pixels_per_metre(a.points, a.confidence), pixels_per_metre(b.points, b.confidence))
    return oks(a.points, a.confidence, b.points, b.confidence, scale, 1.5) > least


def search_regions(width: int, height: int) -> Iterator[Box]:
    """Regions to search for people, in turn: the whole frame, then squares along its longer side, then smaller ones.

    The detector reads 256x256 pixels: a person who is too small for it in the whole frame is large enough in one of the tiles.
    """
    yield Box(width / 2, height / 2, max(width, height))
    short, long = min(width, height), max(width, height)
    for share in (1.0, 0.6):
        side = max(share * short, 1.5 * long / (_MAX_TILES + 1))  # a line of pixels would have a thousand squares
        across = max(2, int(np.ceil(1.5 * long / side)) - 1)
        along = np.linspace(side / 2, long - side / 2, across)
        rows = [short / 2] if side >= short else [side / 2, short - side / 2]
        for down in rows:
            for place in along:
                yield Box(place, down, side) if width >= height else Box(down, place, side)
