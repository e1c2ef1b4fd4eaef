"""The camera's rotation, from a few points of the background.

Corners outside of the people are found in one image, the key image, and tracked into each later one by sparse flow (Lucas &
Kanade 1981, pyramidal: Bouguet 2001). Every frame is compared with its key image instead of the frame before, so that errors
do not accumulate. A dead zone keeps the rotation of a camera that hardly moves exactly constant. When too few points are
left, a new key image is taken.

Only rotation is measured. If the camera also moves, the parallax of near things is treated as outliers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from common.arrays import BoolArray, DoubleArray, FloatArray, ImageArray
from common.camera import Camera
from realtime.stages.thinning import thin_green
from realtime.stages.world.kernels import keep_background
from realtime.stages.world.rotation_fit import fit_rotation

_SIDE: Final = 320  # longer side of the image in which points are tracked, px
_POINTS: Final = 60
_MIN_POINTS: Final = 8  # least number of points for a rotation
_STILL_PX: Final = 0.5
"""Largest displacement, px, of a point that counts as still: 0.12° at the usual field of view, four times a point's noise."""
_STILL_SHARE: Final = 0.35
"""Share of still points from which on the camera is still. It is low because an untracked person may cover most of the image;
no rotation leaves so many points in place."""
_SURELY_STILL_SHARE: Final = 0.7  # share of still points from which on no rotation is fitted at all
_CELL_PX, _PER_CELL = 40, 2
"""Size of a cell of the image, and the most points in it, so that a patterned shirt does not outvote a plain wall."""
_MIN_INLIERS: Final = 0.5  # least share of the points that agree with a rotation
_FEWER: Final = 0.6  # a new key image is taken below this share of its points
_FAR_PX: Final = 28.0  # or when points have moved farther than this
_OLD_S: Final = 15.0  # or after this time, because light and furniture change
_OLD_MOVING_S: Final = 1.0
_RETRY_S: Final = 0.4  # least time between two key images
_LOST: Final = 0.2  # share of tracked points below which the scene may have been cut
_ALIKE: Final = 0.5  # least correlation of two thumbnails of one scene
_WINDOW_PX, _LEVELS = (13, 13), 3
_STOP: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.02)


class CameraMotion:
    """Measures the camera's rotation in each frame. Used by one thread; frames come in order.

    Args:
        camera: of the images.
    """

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self.rotation: DoubleArray = np.eye(3)
        """(3, 3) from the axes of the present camera to those of the scene's first one; exactly the identity until the
        camera rotates."""
        self.shot = 0
        """Number of hard cuts so far."""
        self.has_moved = False
        """Whether the camera has rotated since the scene began."""
        self.turned = 0.0
        """Angle between the frame before and this one, radians."""
        self._key: ImageArray | None = None
        self._key_rotation: DoubleArray = np.eye(3)
        self._key_points = np.zeros((0, 2), np.float32)
        self._expected = self._key_points  # where they are likely to be in the next image
        self._key_time_s = -math.inf
        self._last: ImageArray | None = None
        self._scale = 1.0

    def __call__(self, image: ImageArray, time_s: float, people: Sequence[FloatArray]) -> DoubleArray:
        """Update and return `rotation` by ``image``, uint8 (H, W, 3) BGR of ``time_s``. ``people``: keypoints (17, 2) px of
        everybody in it, where no points are tracked."""
        grey = self._small(image)
        before, self.turned = self.rotation, 0.0
        if self._key is None or self._key.shape != grey.shape:
            self._begin(grey, time_s, people)
            return self.rotation
        share, fitted = self._compare(grey, people)
        if (share < _LOST or fitted is None) and self._is_elsewhere(grey):
            self.shot += 1
            self.has_moved = False
            self.rotation = np.eye(3)
            self._begin(grey, time_s, people)
            return self.rotation
        self._last = grey
        if fitted is not None:
            self.rotation = fitted
        if self.rotation is not before:
            trace = float(np.einsum("ij,ij", before, self.rotation))
            self.turned = math.acos(min(1.0, max(-1.0, (trace - 1) / 2)))
            self.has_moved = True
        age = time_s - self._key_time_s
        apart = self._key_rotation is not self.rotation
        if age > _RETRY_S and (
            share < _FEWER
            or self._gone() > _FAR_PX
            or age > (_OLD_MOVING_S if apart else _OLD_S)
            or len(self._key_points) < _MIN_POINTS
        ):
            self._begin(grey, time_s, people)
        return self.rotation

    def _gone(self) -> float:
        """How far points have moved since the key image, px: their median."""
        if self._expected is self._key_points or not len(self._expected):
            return 0.0
        return float(np.median(np.abs(self._expected - self._key_points).max(-1)))

    def _small(self, image: ImageArray) -> ImageArray:
        """The green channel, `_SIDE` on its longer side. Every few pixels are enough: reading all of a large image would cost
        more than all else here. Bilinear samples are then the means of 2x2 of them, or nearly so."""
        height, width = image.shape[:2]
        longer = max(height, width)
        step = max(round(longer / (2 * _SIDE)), 1)
        self._scale = min(_SIDE / longer, 1.0)
        return thin_green(image, (max(round(width * self._scale), 1), max(round(height * self._scale), 1)), step)

    def _begin(self, grey: ImageArray, time_s: float, people: Sequence[FloatArray]) -> None:
        """Take ``grey`` as the key image."""
        mask = np.full(grey.shape, 255, np.uint8)
        for left, top, right, bottom in self._boxes(people):
            mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 0
        found = cv2.goodFeaturesToTrack(grey, 3 * _POINTS, 0.02, 0.03 * _SIDE, mask=mask, blockSize=5)
        self._key, self._key_rotation, self._key_time_s = grey, self.rotation, time_s
        self._key_points = (
            np.zeros((0, 2), np.float32) if found is None else _spread(np.asarray(found, np.float32).reshape(-1, 2))
        )
        self._expected = self._key_points
        self._last = grey

    def _boxes(self, people: Sequence[FloatArray]) -> list[tuple[int, int, int, int]]:
        """Left, top, right and bottom of everybody, px of the small image, with room for what keypoints do not reach."""
        boxes = []
        for points in people:
            low, high = points.min(0) * self._scale, points.max(0) * self._scale
            room = 0.12 * float((high - low).max()) + 4
            boxes.append((int(low[0] - room), int(low[1] - room), int(high[0] + room) + 1, int(high[1] + room) + 1))
        return boxes

    def _compare(self, grey: ImageArray, people: Sequence[FloatArray]) -> tuple[float, DoubleArray | None]:
        """Share of the key image's points that are found again, and the rotation from them; None if it cannot be determined."""
        if self._key is None or len(self._key_points) < _MIN_POINTS:
            return 1.0, None
        boxes, points = self._boxes(people), len(self._key_points)
        found, good, count, still = self._follow(self._key, grey, boxes, 0)
        # Most cameras stand still, which the finest level of the pyramid shows at a quarter of the cost.
        if count / points < _FEWER or still / count < _SURELY_STILL_SHARE:
            found, good, count, still = self._follow(self._key, grey, boxes, _LEVELS)
        share = count / points
        if count < _MIN_POINTS:
            return share, None
        if still / count >= _STILL_SHARE:
            self._expected = self._key_points
            return share, self._key_rotation
        ray, now = self._rays(self._key_points[good]), self._rays(found[good])
        pixel = 1 / (self._camera.fx * self._scale)
        start = self.rotation.T @ self._key_rotation
        turn, agreeing = fit_rotation(ray, now, start, pixel)
        if agreeing < _MIN_INLIERS:
            return share, None
        self._expected = self._project(self._rays(self._key_points) @ turn.T)
        return share, np.asarray(self._key_rotation @ turn.T, np.float64)

    def _follow(
        self, key: ImageArray, grey: ImageArray, boxes: list[tuple[int, int, int, int]], levels: int
    ) -> tuple[FloatArray, BoolArray, int, int]:
        """Where the points of the ``key`` image are in ``grey`` (N, 2), which of them were found outside of the ``boxes`` of
        people (N,), how many, and how many of those are still."""
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            key,
            grey,
            self._key_points,
            self._expected.copy(),
            winSize=_WINDOW_PX,
            maxLevel=levels,
            criteria=_STOP,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        found, good = np.asarray(moved, np.float32), np.asarray(status[:, 0] > 0)
        # A passer-by hides some points and uncovers others. Both are outliers.
        taken = np.array(boxes, np.int64).reshape(-1, 4)
        height, width = grey.shape
        count, still = keep_background(found, self._key_points, taken, height, width, np.float32(_STILL_PX), good)
        return found, good, count, still

    def _is_elsewhere(self, grey: ImageArray) -> bool:
        """Whether the image looks like another place than the last one."""
        return self._last is not None and float((_thumbnail(grey) * _thumbnail(self._last)).mean()) < _ALIKE

    def _rays(self, points: FloatArray) -> DoubleArray:
        """Unit vectors (N, 3) of points (N, 2), px of the small image."""
        rays = self._camera.rays((points + 0.5) / self._scale - 0.5)
        return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True), np.float64)

    def _project(self, rays: DoubleArray) -> FloatArray:
        ahead = rays / np.maximum(rays[:, 2:], 0.05)
        pixels = self._camera.project(ahead)
        return np.asarray((pixels + 0.5) * self._scale - 0.5, np.float32)


def _spread(points: FloatArray) -> FloatArray:
    """The first of the ``points`` (N, 2), best first, px, with at most `_PER_CELL` in a cell of the image."""
    column, row = (points // _CELL_PX).astype(np.intp).T
    cell = row * 100 + column
    order = np.argsort(cell, kind="stable")
    first = np.searchsorted(cell[order], cell[order])
    fine = np.zeros(len(points), np.bool_)
    fine[order] = np.arange(len(points)) - first < _PER_CELL
    return np.asarray(points[fine][:_POINTS], np.float32)


def _thumbnail(grey: ImageArray) -> FloatArray:
    """(16, 16) of zero mean and unit deviation."""
    small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    return np.asarray(small / max(float(small.std()), 1e-3), np.float32)
