"""The vertical in the camera frame, from the network's predictions, how people stand, and upright edges of the background.

The network predicts ``up`` for every person in every frame. This is a posterior mean given the keypoints and the training
cameras, so it is biased towards the mean tilt of these cameras, in pitch by a quarter of the distance. Of small rolls it
keeps less than of large ones: nearly all training cameras are level, the others are rolled by any angle.
Averaging would keep that bias. So it is removed from each prediction, and one prior for the user's camera, or the angles
that the user gives, is multiplied in at the end. How people stand (`realtime.stages.world.balance`) has no such bias.

The network's error for one person in one pose hardly changes from frame to frame: its standard deviation is 5 to 6 degrees
between windows of two seconds and 2 within one (``python -m training.evaluation vertical``). So more frames of the same
person add little; more time and other people add more.

Directions are in the axes of the scene's first camera, see `realtime.stages.world.camera_motion.CameraMotion.rotation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.arrays import DoubleArray, FloatArray
from realtime.stages.world.balance import Balance
from realtime.stages.world.kernels import cross_product, descend
from realtime.stages.world.upright_edges import UprightEdges, fit_upright_edges

PITCH_MEAN: Final = math.radians(6.0)
"""Mean pitch of the training cameras, radians; their mean roll is 0. The network's predictions are biased towards both."""
PITCH_PULL: Final = 0.18
"""Bias of the network's pitch as a share of the distance to this mean (``python -m training.evaluation vertical``: 0.16 to
0.20)."""
_ROLL_GROWTH, _ROLL_CLEAR = 1.6, math.radians(12.0)
"""By how much a small roll is larger than predicted, as a share of the prediction, and the predicted roll, radians, at which
it is half of that."""
_ROLL_DOUBT, _ROLL_DOUBT_GROWTH = 0.57, 0.021
"""Error of the network's roll, once it is corrected, as a share of its predicted ``up_sigma``: for level cameras, and the
addition for each degree of roll."""
_HALF_PULL_SIGMA: Final = math.radians(3.0)
"""The network's predicted deviation at which the bias is half of that, radians. It grows little beyond."""
USED_PITCH_SPREAD, USED_ROLL_SPREAD = math.radians(20.0), math.radians(15.0)
"""Prior standard deviation of users' cameras around the same means, radians; wider than in training."""
PITCH_SHARE: Final = 0.9
"""Error of the network's pitch as a share of its predicted ``up_sigma`` (same command)."""
_INDEPENDENT_S: Final = 8.0  # time of watching a person that counts as one more independent sample
_MAX_SAMPLES: Final = 4.0  # largest number of independent samples of a person
_COMMON: Final = math.radians(2.5)
"""Standard deviation of the error that all people of a clip share (same camera, focal length and lens), radians."""
_KNOWN: Final = math.radians(0.3)  # standard deviation of angles that the user gives
_DRIFT: Final = math.radians(0.3)  # standard deviation of a rotation that halves the weight of edges seen before it
_MIN_DOUBT, _MAX_DOUBT = math.radians(4.0), math.radians(12.0)
"""Limits of the standard deviation of the people's vertical in the search for edges."""
_SAME: Final = math.radians(0.4)  # change of the vertical after which edges are fitted again
_ROUNDS: Final = 4  # rounds of Gauss-Newton
_TOP_DOWN: Final = 0.97  # sine of the pitch above which the roll is undefined


def up_of(pitch: float, roll: float) -> DoubleArray:
    """The unit vector (3,) away from the ground, camera axes, of a camera that looks down by ``pitch`` and is turned
    clockwise, seen from behind it, by ``roll``, radians."""
    return np.array([-math.sin(roll) * math.cos(pitch), -math.cos(roll) * math.cos(pitch), -math.sin(pitch)])


def pitch_and_roll(up: DoubleArray | FloatArray) -> tuple[float, float]:
    """The pitch and roll, radians, of ``up`` (3,): the inverse of `up_of`."""
    return -math.asin(min(1.0, max(-1.0, float(up[2])))), math.atan2(-float(up[0]), -float(up[1]))


@dataclass(slots=True)
class _PersonEvidence:
    """The network's predictions for one person."""

    total: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) sum of the weighted unit vectors up, first camera's axes."""
    weight: float = 0.0
    """Sum of their weights, seconds/rad²."""
    seconds: float = 0.0
    """Time that the person has been watched, s."""
    pitch_axis: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) unit vector, the way ``up`` moves as the camera pitches."""
    roll_axis: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) unit vector, the way ``up`` moves as the camera rolls."""
    pitch_precision: float = 0.0
    """Weighted mean of 1/variance along ``pitch_axis``, rad⁻²."""
    roll_precision: float = 0.0
    """The same along ``roll_axis``."""


class Vertical:
    """Estimates the vertical from all evidence.

    Args:
        pitch, roll: the first camera's, if the user gives them, see `up_of`, radians; else None.
    """

    def __init__(self, pitch: float | None = None, roll: float | None = None) -> None:
        self._known = pitch, roll
        self.balance = Balance()
        """Evidence from how people stand."""
        self._people: dict[int, _PersonEvidence] = {}
        self._past = np.zeros((3, 3)), np.zeros(3)
        self._edges: UprightEdges | None = None
        self._scene = np.zeros((3, 3)), np.zeros(3)
        self._fitted: tuple[UprightEdges | None, DoubleArray, tuple[DoubleArray, DoubleArray] | None] = (
            None,
            np.zeros(3),
            None,
        )
        self.up: DoubleArray = up_of(PITCH_MEAN if pitch is None else pitch, roll or 0.0)
        """(3,) unit vector, the present estimate; updated by `solve`."""
        self.sigma = USED_PITCH_SPREAD if pitch is None else _KNOWN
        """Standard deviation of ``up``, radians."""

    @property
    def is_known(self) -> bool:
        """Whether there is any evidence besides the prior."""
        return bool(self._people) or bool(self._past[0].any()) or None not in self._known

    def add_prediction(self, person: int, up: FloatArray, sigma: float, dt_s: float, rotation: DoubleArray) -> None:
        """Add the network's prediction for one person: ``up`` (3,) camera axes, ``sigma`` radians, ``dt_s`` seconds after the
        last one; ``rotation`` (3, 3) takes the camera's axes to the first camera's."""
        if not (np.isfinite(up).all() and sigma > 0):
            return
        pitch, roll = pitch_and_roll(up)
        pulled = sigma**2 / (sigma**2 + _HALF_PULL_SIGMA**2)
        free_pitch, pitch_precision = _likelihood(pitch, PITCH_SHARE * sigma, PITCH_MEAN, PITCH_PULL * pulled)
        free_roll, roll_precision = _roll_likelihood(roll, sigma, pulled)
        if abs(float(up[2])) > _TOP_DOWN:
            free_roll, roll_precision = roll, pitch_precision
        evidence = self._people.setdefault(person, _PersonEvidence())
        weight = dt_s / (sigma * sigma)
        free = up_of(max(-1.55, min(1.55, free_pitch)), free_roll)
        evidence.total += weight * (rotation @ free)
        share = weight / (evidence.weight + weight)
        evidence.weight += weight
        evidence.seconds += dt_s
        evidence.pitch_precision += share * (pitch_precision - evidence.pitch_precision)
        evidence.roll_precision += share * (roll_precision - evidence.roll_precision)
        across = rotation @ np.array([-free[1], free[0], 0.0])
        length = float(np.linalg.norm(across))
        evidence.roll_axis = across / length if length > 1e-6 else rotation[:, 0]
        evidence.pitch_axis = cross_product(rotation @ free, evidence.roll_axis)

    def add_edges(self, edges: UprightEdges | None) -> None:
        """Use these edges of the background in place of the earlier ones, if they have more weight."""
        if edges is not None and (self._edges is None or edges.weight.sum() > self._edges.weight.sum()):
            self._edges = edges

    def drifted(self, variance: float) -> None:
        """Reduce the weight of past evidence, because the camera has rotated by an angle known up to ``variance``, rad²."""
        if self._edges is not None:  # so that the next edges replace them
            self._edges = self._edges._replace(
                weight=self._edges.weight / (1 + variance / _DRIFT**2),
                sigma=np.sqrt(self._edges.sigma**2 + variance),
            )
        self.balance.drifted(variance)
        for evidence in self._people.values():
            keep = 1 / (1 + variance * (evidence.pitch_precision + evidence.roll_precision))
            evidence.total *= keep
            evidence.weight *= keep
            evidence.seconds *= keep
        matrix, vector = self._past
        keep = 1 / (1 + variance * float(np.trace(matrix)) / 2)
        self._past = matrix * keep, vector * keep

    def forget(self, present: set[int]) -> None:
        """Remove the people not in ``present``; their evidence is kept as a sum."""
        for person in self._people.keys() - present:
            matrix, vector = self._evidence(self._people.pop(person))
            self._past = self._past[0] + matrix, self._past[1] + vector
        self._past = self._past[0] + self.balance.forget(present, self.up), self._past[1]
        # The network's errors on many people are correlated, so their sum is limited.
        trace, most = float(np.trace(self._past[0])), 2 * _MAX_SAMPLES * 4 / math.radians(6.0) ** 2
        if trace > most:
            self._past = self._past[0] * (most / trace), self._past[1] * (most / trace)

    @staticmethod
    def _evidence(evidence: _PersonEvidence) -> tuple[DoubleArray, DoubleArray]:
        mean = evidence.total / max(float(np.linalg.norm(evidence.total)), 1e-12)
        samples = min(1 + evidence.seconds / _INDEPENDENT_S, _MAX_SAMPLES)
        matrix = samples * (
            evidence.pitch_precision * np.outer(evidence.pitch_axis, evidence.pitch_axis)
            + evidence.roll_precision * np.outer(evidence.roll_axis, evidence.roll_axis)
        )
        return matrix, matrix @ mean

    def evidence(self) -> tuple[DoubleArray, DoubleArray]:
        """All evidence as A (3, 3), rad⁻², and b (3,): the most likely vertical u minimises u·A·u - 2 b·u."""
        matrix, vector = self._from_people_and_user()
        return matrix + self._scene[0], vector + self._scene[1]

    def _from_people_and_user(self) -> tuple[DoubleArray, DoubleArray]:
        """The evidence of people and of the user, in the form of `evidence`."""
        matrix, vector = self._past[0] + self.balance.evidence(self.up), self._past[1].copy()
        for evidence in self._people.values():
            more, toward = self._evidence(evidence)
            matrix += more
            vector += toward
        shared = np.linalg.inv(np.eye(3) + _COMMON**2 * matrix)
        matrix, vector = shared @ matrix, shared @ vector
        pitch, roll = self._known
        # With a given angle the vertical lies in a plane.
        if pitch is not None:
            down, precision = np.array([0.0, 0.0, -1.0]), (_KNOWN * math.cos(pitch)) ** -2
            matrix += precision * np.outer(down, down)
            vector += precision * math.sin(pitch) * down
        else:
            down, precision = np.array([0.0, 0.0, -1.0]), (USED_PITCH_SPREAD * math.cos(PITCH_MEAN)) ** -2
            matrix += precision * np.outer(down, down)
            vector += precision * math.sin(PITCH_MEAN) * down
        turn, spread = (roll, _KNOWN) if roll is not None else (0.0, USED_ROLL_SPREAD)
        side = np.array([math.cos(turn), -math.sin(turn), 0.0])
        matrix += spread**-2 * np.outer(side, side)
        return matrix, vector

    def _fit(self, edges: UprightEdges, doubt: float) -> tuple[DoubleArray, DoubleArray] | None:
        """`fit_upright_edges`, or its last result if the vertical has hardly changed."""
        if edges is not self._fitted[0] or float(np.abs(self.up - self._fitted[1]).max()) > _SAME:
            self._fitted = edges, self.up, fit_upright_edges(edges, self.up, doubt)
        return self._fitted[2]

    def solve(self) -> None:
        """Update `up` and `sigma` from all evidence."""
        matrix, vector = self._from_people_and_user()
        self.up, covariance = nearest_up(matrix, vector, self.up)
        self._scene = np.zeros((3, 3)), np.zeros(3)
        if self._edges is not None and None in self._known:
            doubt = math.sqrt(float(np.trace(covariance)) / 2)
            found = self._fit(self._edges, min(max(doubt, _MIN_DOUBT), _MAX_DOUBT))
            if found is not None:
                self._scene = found
                self.up, covariance = nearest_up(matrix + found[0], vector + found[1], self.up)
        self.sigma = math.sqrt(float(np.trace(covariance)) / 2)


def nearest_up(matrix: DoubleArray, vector: DoubleArray, start: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """The unit vector u (3,) near ``start`` that minimises u·A·u - 2 b·u, and its covariance (2, 2), rad², in the tangent
    plane."""
    up, covariance = start.copy(), np.empty((2, 2))
    descend(matrix, vector, up, _ROUNDS, covariance)
    return up, covariance


def _likelihood(mean: float, sigma: float, prior: float, pull: float) -> tuple[float, float]:
    """Mean and precision of the likelihood, from a posterior mean that is pulled towards ``prior`` by the share ``pull``."""
    return prior + (mean - prior) / (1 - pull), ((1 - pull) / sigma) ** 2


def _roll_likelihood(mean: float, sigma: float, pulled: float) -> tuple[float, float]:
    """Mean and precision of the likelihood of the roll, radians, from the predicted roll ``mean`` with the predicted deviation
    ``sigma`` of ``up``; ``pulled``, 0..1, is how much of the bias there is at that deviation."""
    roll = mean * (1 + _ROLL_GROWTH * pulled / (1 + (mean / _ROLL_CLEAR) ** 2))
    return roll, ((_ROLL_DOUBT + _ROLL_DOUBT_GROWTH * math.degrees(abs(roll))) * sigma) ** -2
