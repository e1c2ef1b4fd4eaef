"""A body of a given height: the same person, larger or smaller.

One image shows a person's proportions but not the size. If the height is known, betas are changed so that the body in its rest
pose has this height, while the proportions change as little as possible. A shape space has no exact scaling, so this is a
compromise with small changes of the betas.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from body.model import BodyArrays
from body.packed import BETAS
from common.arrays import DoubleArray, FloatArray

_CLOSE_M: Final = 0.005
"""Regularisation: a change of a beta by 1 costs as much as this root mean square error of joints and keypoints, metres."""
_WIDEST: Final = 5.0
"""Limit of the betas of bodies that have none of their own, standard deviations."""
_EXACT_M: Final = 1e-5
_ROUNDS: Final = 12
_HARDLY: Final = 0.05
"""The search ends when the betas that are not at their limits have less than this share of the effect on the height."""


class BodyScale:
    """Makes bodies larger and smaller.

    Args:
        arrays: the body that betas belong to.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        self._limit = min(arrays.beta_limit, _WIDEST)
        surface = np.concatenate([arrays.v_template[:, 1:2], arrays.shapedirs[:, 1]], 1).astype(np.float64)
        spread = self._limit * np.abs(surface[:, 1:]).sum(1)
        level = surface[:, 0]
        self._crown = surface[level + spread >= (level - spread).max()]
        """(K, 11) height of vertices that may be the highest, for the mean shape and for one unit of each beta."""
        self._sole = surface[level - spread <= (level + spread).min()]
        joints, coco = arrays.at_rest(arrays.joint_regressor), arrays.at_rest(arrays.coco_regressor)
        points = np.concatenate([joints[1:], coco]) - joints[:1]
        self._points = points.reshape(-1, 1 + BETAS) / np.sqrt(len(points))
        slopes = self._points[:, 1:]
        self._cheap: DoubleArray = np.linalg.inv(slopes.T @ slopes + _CLOSE_M**2 * np.eye(BETAS))
        """(10, 10) inverse of the cost's Hessian: takes a gradient to the cheapest change of the betas."""
        self._scale: DoubleArray = self._cheap @ slopes.T

    @property
    def reach_m(self) -> tuple[float, float]:
        """The least and the greatest height of an average body that is made smaller and larger, metres."""
        average = np.zeros(BETAS)
        return self.height(self._moved(average, 0.0)), self.height(self._moved(average, 10.0))

    def to_height(self, betas: FloatArray, height_m: float) -> tuple[FloatArray, float]:
        """Betas (10,) float32 of the person of ``betas`` (10,) scaled to ``height_m`` from sole to crown in the rest pose, and
        the scale factor, by which the person is also farther away in the same image. A height out of reach gives the nearest
        possible one."""
        given = np.clip(betas.astype(np.float64), -self._limit, self._limit)
        moved = self._moved(given, height_m)
        return moved.astype(np.float32), self.height(moved) / self.height(given)

    def by_factor(self, betas: FloatArray, factor: float) -> tuple[FloatArray, float]:
        """`to_height` with ``factor`` times the height of ``betas`` (10,)."""
        given = np.clip(betas.astype(np.float64), -self._limit, self._limit)
        return self.to_height(betas, factor * self.height(given))

    def height(self, betas: FloatArray | DoubleArray) -> float:
        """Height from sole to crown in the rest pose, metres."""
        features = np.append(1.0, betas)
        return float((self._crown @ features).max() - (self._sole @ features).min())

    def _moved(self, betas: DoubleArray, height_m: float) -> DoubleArray:
        step = (height_m / self.height(betas) - 1) * (self._scale @ (self._points @ np.append(1.0, betas)))
        main = int(np.abs(step).argmax())  # when this beta reaches its limit, the others stop, too
        room = self._limit - float(np.sign(step[main]) * betas[main])
        step *= min(1.0, room / max(abs(float(step[main])), 1e-9))
        moved: DoubleArray = np.clip(betas + step, -self._limit, self._limit)
        # The scaled body is nearly as high as wanted; Newton's steps do the rest, within the limits.
        for _ in range(_ROUNDS):
            features = np.append(1.0, moved)
            crown, sole = self._crown @ features, self._sole @ features
            high, low = int(crown.argmax()), int(sole.argmin())
            miss = height_m - float(crown[high] - sole[low])
            if abs(miss) < _EXACT_M:
                break
            slope = self._crown[high, 1:] - self._sole[low, 1:]
            step = self._cheap @ slope
            whole = float(slope @ step)
            step[np.where(miss * step > 0, moved >= self._limit, moved <= -self._limit)] = 0.0
            effect = float(slope @ step)
            if effect < _HARDLY * whole:
                break
            moved = np.clip(moved + miss / effect * step, -self._limit, self._limit)
        return moved


class Stature(BodyScale):
    """Makes bodies of one height.

    Args:
        arrays: the body that betas belong to.
        height_m: from sole to crown in the rest pose, metres; a height out of reach gives the nearest possible one.
    """

    def __init__(self, arrays: BodyArrays, height_m: float) -> None:
        super().__init__(arrays)
        self.height_m: Final = height_m

    def __call__(self, betas: FloatArray) -> tuple[FloatArray, float]:
        """`BodyScale.to_height` of ``betas`` (10,) with this height."""
        return self.to_height(betas, self.height_m)
