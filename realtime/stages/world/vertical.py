"""Which way is up, from the regressor network's predictions for every person in every frame, and from upright edges.

The network's ``up`` is a posterior mean given its keypoints AND the training cameras: it is biased towards their mean tilt,
by a third of the way or so. Averaging over people and time would keep that bias. So each prediction is taken away from that
mean first, and what is known of users' cameras, or what the user says, is multiplied in once.

How people stand says it, too, without that bias: `realtime.stages.world.balance`.

Its error for one person in one pose is much the same from frame to frame (5 to 6 degrees between windows
of two seconds, 2 within; ``python -m training.evaluation vertical``). A second frame of the same person therefore says
little more than the first: only time and other people do.

Directions are in the axes of the shot's first camera, see `realtime.stages.world.camera_motion.CameraMotion.rotation`.
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
"""Mean pitch of the training cameras, radians; their mean roll is 0. The network's answers are biased towards both."""
PITCH_PULL, ROLL_PULL = 0.23, 0.33
"""Share of the way to these means by which the network's answers are biased (``python -m training.evaluation vertical``: 0.21
to 0.25 and 0.30 to 0.35 at its usual deviations)."""
_PULLED: Final = math.radians(3.0)
"""Deviation stated by the network at which the bias is half of that, radians. It hardly grows above it."""
USED_PITCH_SPREAD, USED_ROLL_SPREAD = math.radians(20.0), math.radians(15.0)
"""Prior standard deviation of users' cameras around the same means, radians: wider than in training."""
PITCH_SHARE, ROLL_SHARE = 0.9, 0.5
"""The error of the network's pitch and of its roll over the ``up_sigma`` it gives (same command)."""
_NEWS_S: Final = 8.0  # of watching a person count as one more independent frame
_MAX_NEWS: Final = 4.0
_COMMON: Final = math.radians(2.5)
"""Standard deviation of the error that all people of a clip share (same camera, focal length and lens), radians."""
_KNOWN: Final = math.radians(0.3)  # standard deviation of what the user gives
_DRIFT: Final = math.radians(0.3)  # a turn so far unknown halves the weight of edges seen before it
_MIN_DOUBT, _MAX_DOUBT = math.radians(4.0), math.radians(12.0)
"""Least and greatest standard deviation of the up found from people, while edges are searched near to it."""
_SAME: Final = math.radians(0.4)  # edges are not fitted again before up has changed by more
_ROUNDS: Final = 4  # of Gauss-Newton
_TOP_DOWN: Final = 0.97  # sine of the pitch from which on there is no roll


def up_of(pitch: float, roll: float) -> DoubleArray:
    """The unit vector (3,) away from the ground, camera axes, of a camera that looks down by ``pitch`` and is turned
    clockwise, seen from behind it, by ``roll``, radians."""
    return np.array([-math.sin(roll) * math.cos(pitch), -math.cos(roll) * math.cos(pitch), -math.sin(pitch)])


def pitch_and_roll(up: DoubleArray | FloatArray) -> tuple[float, float]:
    """What `up_of` made ``up`` (3,) of."""
    return -math.asin(min(1.0, max(-1.0, float(up[2])))), math.atan2(-float(up[0]), -float(up[1]))


@dataclass(slots=True)
class _PersonEvidence:
    """What the network has answered for one person."""

    total: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) sum of the weighted unit vectors up, first camera's axes."""
    weight: float = 0.0
    """Sum of their weights, seconds/rad²."""
    seconds: float = 0.0
    """For how long the person has been watched."""
    pitch_axis: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) unit vector, the way ``up`` moves as the camera pitches."""
    roll_axis: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) unit vector, the way ``up`` moves as the camera rolls."""
    pitch_precision: float = 0.0
    """Weighted mean of 1/variance along ``pitch_axis``, rad⁻²."""
    roll_precision: float = 0.0
    """The same along ``roll_axis``."""


class Vertical:
    """Collects what is known of up.

    Args:
        pitch, roll: what the user knows of the first camera, see `up_of`, radians; None where he does not.
    """

    def __init__(self, pitch: float | None = None, roll: float | None = None) -> None:
        self._known = pitch, roll
        self.balance = Balance()
        """How people stand, which goes into the answer."""
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
        """(3,) unit vector: the present answer; `solve` renews it."""
        self.sigma = USED_PITCH_SPREAD if pitch is None else _KNOWN
        """Its standard deviation, radians."""

    @property
    def is_known(self) -> bool:
        """Whether there is anything but the prior."""
        return bool(self._people) or bool(self._past[0].any()) or None not in self._known

    def see(self, person: int, up: FloatArray, sigma: float, dt_s: float, rotation: DoubleArray) -> None:
        """Take the network's answer for one person: ``up`` (3,) camera axes, ``sigma`` radians, ``dt_s`` seconds after the
        last one; ``rotation`` (3, 3) takes the camera's axes to the first camera's."""
        if not (np.isfinite(up).all() and sigma > 0):
            return
        pitch, roll = pitch_and_roll(up)
        pitch_sigma, roll_sigma = PITCH_SHARE * sigma, ROLL_SHARE * sigma
        pulled = sigma**2 / (sigma**2 + _PULLED**2)
        free_pitch, pitch_precision = _likelihood(pitch, pitch_sigma, PITCH_MEAN, PITCH_PULL * pulled)
        free_roll, roll_precision = _likelihood(roll, roll_sigma, 0.0, ROLL_PULL * pulled)
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

    def look(self, edges: UprightEdges | None) -> None:
        """Take what may stand upright in the background, in place of what was taken before, if there is more of it."""
        if edges is not None and (self._edges is None or edges.weight.sum() > self._edges.weight.sum()):
            self._edges = edges

    def drifted(self, variance: float) -> None:
        """The camera has turned, which is known to within ``variance``, rad²: what was seen before counts less."""
        if self._edges is not None:  # the next look shall replace them
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
        """People not in ``present`` will not be seen again: what is known from them stays."""
        for person in self._people.keys() - present:
            matrix, vector = self._evidence(self._people.pop(person))
            self._past = self._past[0] + matrix, self._past[1] + vector
        self._past = self._past[0] + self.balance.forget(present, self.up), self._past[1]
        # The network's errors on many people are correlated: their average does not become exact.
        trace, most = float(np.trace(self._past[0])), 2 * _MAX_NEWS * 4 / math.radians(6.0) ** 2
        if trace > most:
            self._past = self._past[0] * (most / trace), self._past[1] * (most / trace)

    @staticmethod
    def _evidence(evidence: _PersonEvidence) -> tuple[DoubleArray, DoubleArray]:
        mean = evidence.total / max(float(np.linalg.norm(evidence.total)), 1e-12)
        news = min(1 + evidence.seconds / _NEWS_S, _MAX_NEWS)
        matrix = news * (
            evidence.pitch_precision * np.outer(evidence.pitch_axis, evidence.pitch_axis)
            + evidence.roll_precision * np.outer(evidence.roll_axis, evidence.roll_axis)
        )
        return matrix, matrix @ mean

    def evidence(self) -> tuple[DoubleArray, DoubleArray]:
        """All that is known as a quadratic form: the best up makes u·A·u - 2 b·u least, with A (3, 3), rad⁻², and b (3,)."""
        matrix, vector = self._from_people_and_user()
        return matrix + self._scene[0], vector + self._scene[1]

    def _from_people_and_user(self) -> tuple[DoubleArray, DoubleArray]:
        """What is known from people and from the user, in the form of `evidence`."""
        matrix, vector = self._past[0] + self.balance.evidence(self.up), self._past[1].copy()
        for evidence in self._people.values():
            more, toward = self._evidence(evidence)
            matrix += more
            vector += toward
        shared = np.linalg.inv(np.eye(3) + _COMMON**2 * matrix)
        matrix, vector = shared @ matrix, shared @ vector
        pitch, roll = self._known
        # A fixed angle is a plane that up lies in, which makes the form linear for it.
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
        """`fit_upright_edges`, unless hardly anything has changed since the last time."""
        if edges is not self._fitted[0] or float(np.abs(self.up - self._fitted[1]).max()) > _SAME:
            self._fitted = edges, self.up, fit_upright_edges(edges, self.up, doubt)
        return self._fitted[2]

    def solve(self) -> None:
        """Renew `up` and `sigma` from all that is known."""
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
    """The unit vector u (3,) that makes u·A·u - 2 b·u least, near ``start``, and its covariance (2, 2), rad², in the plane
    square to it."""
    up, covariance = start.copy(), np.empty((2, 2))
    descend(matrix, vector, up, _ROUNDS, covariance)
    return up, covariance


def _likelihood(mean: float, sigma: float, prior: float, pull: float) -> tuple[float, float]:
    """Mean and precision of what was seen, from those of the answer, which was drawn to the prior by the share ``pull``."""
    return prior + (mean - prior) / (1 - pull), ((1 - pull) / sigma) ** 2
