"""People at known places, and a detector and a keypoint network that see them, for tests of tracking."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.records import Box, Frame
from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.movenet import CropView
from realtime.stages.tracking.detection import Detection
from realtime.stages.tracking.finder import Detector, Finder, SearchAnswer, SearchRequest
from realtime.stages.tracking.tracker import Tracker

WIDTH, HEIGHT = 640, 480
POSE = np.random.default_rng(0).uniform([-0.3, -0.5], [0.3, 0.5], (17, 2)).astype(np.float32)
POSE[:5] = [[0, -0.44], [0.02, -0.46], [-0.02, -0.46], [0.04, -0.45], [-0.04, -0.45]]  # a head's size
POSE[[5, 6, 11, 12]] = [[-0.1, -0.3], [0.1, -0.3], [-0.08, 0.05], [0.08, 0.05]]


Person = tuple[float, float, float] | tuple[float, float, float, int]  # x, y, height, and the colour that is worn
ROOM = cv2.resize(np.random.default_rng(1).integers(60, 160, (12, 16, 3), np.uint8), (WIDTH, HEIGHT))
COLOURS = [(40, 40, 200), (200, 60, 40), (40, 180, 40), (30, 200, 220)]


class World:
    """People at known places; a detector and a keypoint network that see whoever is inside of what they are shown.

    Like the real one, the keypoint network names whoever is nearest to the middle of its crop, unless he is hidden from it.
    """

    def __init__(self) -> None:
        self.people: list[Person] = []
        self.detector_calls = 0
        self.confidence = 0.8
        self.upright = True
        self.seen_turn: int | None = None
        """The only quarter turn of a crop in which the keypoint network sees anybody; None: as ``upright`` says."""
        self.turns: list[int] = []
        """Quarter turns of all crops so far."""

    def points(self, person: Person) -> FloatArray:
        x, y, height = person[:3]
        return np.asarray(POSE * (height if self.upright else -height) + [x, y], np.float32)

    def image(self) -> ImageArray:
        """Everybody in clothes of one colour, those farther down the list before the others."""
        image = ROOM.copy()
        for x, y, height, *colour in self.people:
            corners = [int(x - 0.4 * height), int(y - 0.5 * height)], [int(x + 0.4 * height), int(y + 0.5 * height)]
            cv2.rectangle(image, *corners, COLOURS[colour[0] if colour else 0], -1)
        return image

    def all(self, image: ImageArray, views: Sequence[CropView]) -> list[tuple[FloatArray, FloatArray]]:
        return [self(image, *view) for view in views]

    more = all

    def __call__(
        self,
        image: ImageArray,
        box: Box,
        turn: int = 0,
        own: Outline | None = None,
        others: tuple[Outline, ...] = (),
    ) -> tuple[FloatArray, FloatArray]:
        self.turns.append(turn)
        half = box.size / 2
        inside = [
            p
            for p in self.people
            if abs(p[0] - box.x) < half
            and abs(p[1] - box.y) < half
            and p[2] > box.size / 6
            and not any(np.abs(self.points(p) - other.points).max() < 0.02 * p[2] for other in others)
        ]
        seen_turn = self.seen_turn if self.seen_turn is not None else 0 if self.upright else 2
        if not inside or turn != seen_turn:
            return np.zeros((17, 2), np.float32), np.full(17, 0.05, np.float32)
        nearest = min(inside, key=lambda p: abs(p[0] - box.x) + abs(p[1] - box.y))
        return self.points(nearest), np.full(17, self.confidence, np.float32)

    def detector(self, image: ImageArray, region: Box) -> list[Detection]:
        self.detector_calls += 1
        if self.seen_turn or not self.upright:
            return []
        half = region.size / 2
        return [
            Detection(self.points(p), np.full(17, self.confidence, np.float32), 0.5)
            for p in self.people
            if abs(p[0] - region.x) < half
            and abs(p[1] - region.y) < half
            and p[2] > region.size / 8
            and self.upright
            and not self.seen_turn
        ]


class LateFinder(Finder):
    """Answers after so many tries to take the answer, as a thread of its own may; at once for one who waits."""

    def __init__(self, detector: Detector, tries: int) -> None:
        super().__init__(detector)
        self._tries, self._left = tries, 0

    def ask(self, request: SearchRequest) -> None:
        super().ask(request)
        self._left = self._tries

    def take(self, wait: bool) -> SearchAnswer | None:
        self._left -= 1
        return super().take(wait) if wait or self._left < 0 else None


class Run:
    def __init__(self, max_persons: int = 1, thorough: bool = True, late: int = 0) -> None:
        self.world = World()
        finder = LateFinder(self.world.detector, late)
        self.tracker = Tracker(self.world, finder, max_persons, thorough)  # type: ignore[arg-type]
        self.number = 0

    def find(self, *people: Person, backdrop: ImageArray | None = None) -> dict[int, int]:
        """The name of each of ``people``, by his place in the list, where he is seen."""
        self.world.people = list(people)
        image = self.world.image() if backdrop is None else backdrop
        found = self.tracker.update(Frame(self.number, 0, self.number / 30, image))
        self.number += 1
        names: dict[int, int] = {}
        for keypoints in found:
            (place,) = [
                place
                for place, p in enumerate(people)
                if np.allclose(keypoints.points, self.world.points(p), atol=0.01)
            ]
            assert place not in names, "two names for one person"
            names[place] = keypoints.person
        return names

    def step(self, *people: Person) -> list[int]:
        return sorted(self.find(*people).values())
