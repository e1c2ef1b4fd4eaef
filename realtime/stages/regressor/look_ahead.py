"""Smoothing each frame with the frames before and after it: no lag, but results are delayed by the later frames.

A causal filter lags behind what it smooths; one that also reads later frames does not. Each value becomes that of a parabola
fitted to its neighbours in time, with weights that fall with the distance (local regression, Cleveland 1979; evenly spaced,
the filter of Savitzky & Golay 1964). A plain average would flatten fast motion such as a wave of the arm; the parabola
follows it. A weak prior on its curvature smooths joints that hardly move.

No width suits every motion: over many frames even a parabola flattens a fast one, over few it smooths little. So a wide and
a narrow one are fitted, and each joint takes a blend: the more they differ beyond what noise explains, the more of the narrow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

import numpy as np

from body.rotations import nearest_rotation
from body.skeleton import Skeleton
from common.arrays import DoubleArray, FloatArray
from common.camera import Camera
from realtime.records import PosePrediction
from realtime.stages.regressor.translation_fit import fit_translation

Item = TypeVar("Item")

WIDEST_S: Final = 0.3
"""Seconds beyond which frames have no weight, even with a longer look-ahead: limbs reverse in less time."""
NARROW_S: Final = 0.12
"""The same for the narrow fit, for fast motion."""
STEADYING: Final = 4
"""Number of later frames within `WIDEST_S` from which on jitter averages out."""
BEND: Final = 0.05
"""Weight of the prior on a parabola's curvature, in frames. With these values, 8 frames at 30 frames/s jitter a third as much
as the One-Euro filters and lie nearer to the person (docs/results/look-ahead.md)."""
_TURN, _SHIFT = 0.03, 0.006
"""Difference between the wide and the narrow fit that noise explains: of a joint's rotation, rad, and of the pelvis's
direction."""
_STRAIGHT: Final = 1e-6  # on the slope: two frames must not make the equations singular
_COHERENT: Final = 1.6
"""Sum of the singular values below which a mean of rotation matrices is meaningless; 3 for equal rotations."""


def averages_shaking(frames: int, fps: float) -> bool:
    """Whether a look-ahead of ``frames`` of a source of ``fps`` frames/s smooths jitter away."""
    return min(frames, WIDEST_S * fps) >= STEADYING


def fit_weights(offsets_s: DoubleArray, half_width_s: float, bend: float = BEND) -> DoubleArray:
    """The weight (N,) of each neighbour in the value at offset 0 of a local parabola; their sum is 1.

    ``offsets_s`` (N,) seconds from the frame in question, of which one is 0; neighbours from ``half_width_s`` on have
    no weight. ``bend`` is the weight against curvature: infinite for a straight line.
    """
    x = offsets_s / half_width_s
    near = np.clip(1 - np.abs(x) ** 3, 0, None) ** 3
    columns = [np.ones_like(x), x] if np.isinf(bend) else [np.ones_like(x), x, x**2]
    powers = np.stack(columns)
    normal = (near * powers) @ powers.T + np.diag([0.0, _STRAIGHT, bend][: len(columns)])
    weights: DoubleArray = np.linalg.solve(normal, near * powers)[0]
    return weights


@dataclass(frozen=True, slots=True)
class _Seen:
    """One person in one frame."""

    prediction: PosePrediction
    """The network's."""
    place: DoubleArray
    """float64 (3,) pelvis, camera frame, as x/z, y/z and log z."""


class LookAhead(Generic[Item]):
    """Holds the predictions of the last frames and returns each, smoothed, once ``frames`` later ones are known.

    People are told apart by their number; a person who comes or goes is smoothed over the frames that show them. Memory is
    bounded: an item is held for ``frames`` pushes, predictions for as many more.

    Args:
        frames: to wait for, at least 1.
        skeleton: of the body that will be posed: its translation is fitted in every frame by itself.
        camera: of the images.
    """

    def __init__(self, frames: int, skeleton: Skeleton, camera: Camera) -> None:
        if frames < 1:
            raise ValueError(f"a look-ahead of {frames} frames is none: give 1 or more")
        self.frames, self._skeleton, self._camera = frames, skeleton, camera
        self._known: deque[tuple[float, dict[int, _Seen]]] = deque(maxlen=2 * frames + 1)
        self._held: deque[Item] = deque()

    def push(
        self, item: Item, time_s: float, predictions: Sequence[PosePrediction]
    ) -> tuple[Item, tuple[PosePrediction, ...]] | None:
        """Add the newest frame as ``item``. Returns item and smoothed predictions of the frame that now has enough later
        frames; None while there is none."""
        people = {prediction.keypoints.person: _Seen(prediction, self._place(prediction)) for prediction in predictions}
        self._known.append((time_s, people))
        self._held.append(item)
        return self._next() if len(self._held) > self.frames else None

    def flush(self) -> Iterator[tuple[Item, tuple[PosePrediction, ...]]]:
        """All that is still held when there are no more frames, in order, smoothed with the frames there are."""
        while self._held:
            yield self._next()

    def _next(self) -> tuple[Item, tuple[PosePrediction, ...]]:
        centre = len(self._known) - len(self._held)
        steady = tuple(self._steady(person, centre) for person in self._known[centre][1])
        return self._held.popleft(), steady

    def _place(self, prediction: PosePrediction) -> DoubleArray:
        """The pelvis of ``prediction`` as (3,) x/z, y/z and log z. Direction and distance are smoothed separately, because
        an image determines the direction well and the distance badly."""
        _, coco = self._skeleton(prediction.rotations, prediction.betas)
        seen = replace(prediction.keypoints, points=prediction.points)
        x, y, z = fit_translation(coco, seen, self._camera, prediction.pelvis).astype(np.float64)
        depth = max(float(z), 0.1)
        return np.array([x / depth, y / depth, np.log(depth)])

    def _steady(self, person: int, centre: int) -> PosePrediction:
        now = self._known[centre][0]
        first = max(0, centre - self.frames)
        around = [self._known[index] for index in range(first, min(len(self._known), centre + self.frames + 1))]
        # The first frame out of reach would have weight 0, so that frames come and go without a jump.
        reach = max(abs(time_s - now) for time_s, _ in around) * (self.frames + 1) / self.frames
        mine = [(time_s - now, people[person]) for time_s, people in around if person in people]
        own = self._known[centre][1][person].prediction
        offsets = np.array([offset for offset, _ in mine])
        if reach > 0:
            wide, narrow = (fit_weights(offsets, min(width, reach)) for width in (WIDEST_S, NARROW_S))
            level = fit_weights(offsets, min(WIDEST_S, reach), np.inf)
        else:
            wide = narrow = level = np.array([float(seen.prediction is own) for _, seen in mine])
        turned = np.stack([seen.prediction.rotations for _, seen in mine]).astype(np.float64)
        places = np.stack([seen.place for _, seen in mine])
        calm, close = wide @ places[:, :2], narrow @ places[:, :2]
        across = calm + _share(np.linalg.norm(close - calm, axis=-1, keepdims=True), _SHIFT) * (close - calm)
        depth = np.exp(level @ places[:, 2])
        return replace(
            own,
            rotations=_mean_rotation(turned, wide, narrow, own.rotations),
            betas=mine[-1][1].prediction.betas,  # a mean over all frames so far: the latest is the most certain
            pelvis=np.array([*across * depth, depth], np.float32),
        )


def _share(apart: DoubleArray, noise: float) -> DoubleArray:
    """The weight, 0..1, of the narrow fit if it differs by ``apart`` from the wide one and ``noise`` explains that much."""
    return apart**2 / (apart**2 + noise**2)


def _mean_rotation(rotations: DoubleArray, wide: DoubleArray, narrow: DoubleArray, own: FloatArray) -> FloatArray:
    """The weighted mean (J, 3, 3) of ``rotations`` (N, J, 3, 3); a joint that turns too fast for a mean keeps its ``own``."""
    calm, close = (np.tensordot(weights, rotations, 1) for weights in (wide, narrow))
    apart = np.linalg.norm(close - calm, axis=(-2, -1)) / np.sqrt(2)  # about the angle
    total = calm + _share(apart, _TURN)[:, None, None] * (close - calm)
    nearest = nearest_rotation(total)
    coherent = (nearest * total).sum((-1, -2)) >= _COHERENT
    return np.where(coherent[:, None, None], nearest, own).astype(np.float32)
