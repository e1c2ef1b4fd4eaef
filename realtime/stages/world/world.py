"""The camera's pose in the world frame: y up, floor at y = 0, metres.

    people's up, upright edges of the background ──▶ vertical ─┐
    standing feet ──▶ floor ───────────────────────────────────┼──▶ world_from_camera
    corners of the background ──▶ camera's rotation ───────────┘

The world frame (origin under the first person when first seen, -z the horizontal direction in which the camera looked then) is
fixed relative to the scene's first camera; the present camera's rotation relative to that one is measured. A still camera has
exactly the same pose in every frame once vertical and floor are known well: corrections are applied only when they are large
enough, and then gradually.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from body.model import BodyArrays
from body.soles import Soles
from common.arrays import DoubleArray, FloatArray
from common.camera import Camera
from realtime.records import BodyEstimate, Frame, Unlocked, WorldFrame
from realtime.stages.world.camera_motion import CameraMotion
from realtime.stages.world.floor import KNOWN_SIZE_SIGMA, SIZE_SIGMA, Floor
from realtime.stages.world.foot_lock import FootLock, seen_contact
from realtime.stages.world.kernels import cross_product, keep_background
from realtime.stages.world.leg_reach import FOOT_JOINTS, LEG_JOINTS, UNTURNED, LegReach
from realtime.stages.world.upright_edges import find_upright_edges
from realtime.stages.world.vertical import Vertical

_UP_DEAD, _UP_DONE = math.radians(0.6), math.radians(0.12)
_HEIGHT_DEAD, _HEIGHT_DONE = 0.015, 0.004
"""Hysteresis, rad and m: the result begins to follow the filters at the first difference, and stops at the second."""
_SIZE_DEAD, _SIZE_DONE = 0.015, 0.004  # the same for a person's size, as a share of it
_GLIDE_S: Final = 0.4  # time constant with which the result follows the filters
_GLIDE_FIRST_S, _FIRST_S = 0.25, 1.0  # the same in the first seconds, and how long they last
_SOLVE_S, _SOLVE_LATER_S = 0.1, 0.4
"""Intervals at which the filters are solved, s: during the first `_SOLVED_OFTEN_S`, and later."""
_SOLVED_OFTEN_S: Final = 2.0
_FLOOR_KNOWN_M: Final = 0.5  # largest deviation of the floor's height at which feet are drawn onto it
_LOWEST: Final = 7  # number of lowest points that define the floor until feet are seen on it
_MIN_MOVE_M, _MIN_SHIFT_M = 1e-3, 1e-5  # smallest move of a foot, and shift of a body, that is applied
_TOES_M: Final = 0.2  # from the ankle to the tip of the toes
_TURN_ERROR: Final = 0.03  # standard deviation of a measured rotation, as a share of it
_FIRST_SEARCH_S, _SEARCH_S, _SEARCH_MOVED_S = 0.5, 1.0, 2.0
"""When edges are searched, s: first when somebody appears or after this time, then at these intervals while the camera is still
(doubled each time) and after it has moved."""
_LONGEST_S: Final = 0.2  # longest time step of the filters


class World:
    """Estimates the camera's pose in each frame. Used by one thread; frames come in order.

    Args:
        camera: of the images.
        arrays: the body of the estimates.
        pitch, roll: the first camera's, if the user gives them, radians, see `realtime.stages.world.vertical.up_of`.
        floor: False for people who climb: the floor is at the first person's lowest point.
        foot_lock: whether `with_feet_locked` keeps standing feet in place.
        sizes_known: whether the user gives people's height, so that sizes are kept.
    """

    def __init__(
        self,
        camera: Camera,
        arrays: BodyArrays,
        pitch: float | None = None,
        roll: float | None = None,
        floor: bool = True,
        foot_lock: bool = True,
        sizes_known: bool = False,
    ) -> None:
        self.motion = CameraMotion(camera)
        """The camera's rotation."""
        self._camera, self._soles = camera, Soles(arrays)
        self._angles, self._with_floor = (pitch, roll), floor
        self._sizes_known = sizes_known
        self._legs = LegReach(arrays) if foot_lock else None
        _compile(self._soles(arrays.v_template))
        self._shot = -1
        self._begin()

    def _begin(self) -> None:
        """Reset everything for a new scene."""
        self._shot = self.motion.shot
        self._vertical = Vertical(*self._angles)
        self._floor, self._lock = Floor(KNOWN_SIZE_SIGMA if self._sizes_known else SIZE_SIGMA), FootLock()
        self.growths: dict[int, float] = {}
        """Factor by which each person should be larger and farther away than predicted, so that all stand on one floor. Later
        estimates are expected to be scaled by it (`realtime.records.BodyEstimate.growth`)."""
        self._factors: dict[int, float] = {}
        self._growing: set[int] = set()
        self._last_s: float | None = None
        self._first_s = math.inf
        self._origin: DoubleArray | None = None
        self._forward = np.array([0.0, 0.0, 1.0])
        self._up = self._vertical.up
        self._height = 0.0
        self._floor_sigma = math.inf
        self._up_sigma = self._vertical.sigma
        self._wanted = self._up, self._height
        self._gliding = False
        self._answer: DoubleArray | None = None
        self._solved_s = -math.inf
        self._lowest: deque[DoubleArray] = deque(maxlen=_LOWEST)
        self._next_search_s, self._search_gap_s = -math.inf, _SEARCH_S
        self._has_seen_people = False
        self._feet: dict[int, tuple[FloatArray, FloatArray]] = {}
        """Everybody's contact points (4, 3) in the last frame, m, and how surely each of them stands (4,)."""

    def __call__(self, frame: Frame, people: Sequence[BodyEstimate]) -> WorldFrame | None:
        """The world frame of ``frame``; None until something is known of the vertical."""
        rotation = self.motion(frame.image, frame.time_s, [body.keypoints.points for body in people])
        if self.motion.shot != self._shot:
            self._begin()
        if self._next_search_s == -math.inf:  # by then people in the first image are found, and left out of the search
            self._next_search_s = frame.time_s + _FIRST_SEARCH_S
        comes = bool(people) and not self._has_seen_people
        self._has_seen_people |= comes
        if (comes or frame.time_s >= self._next_search_s) and None in self._angles:
            self._search_edges(frame, people, rotation)
        dt_s = 1 / 30 if self._last_s is None else min(max(frame.time_s - self._last_s, 0.0), _LONGEST_S)
        self._last_s = frame.time_s
        if self.motion.turned > 0:
            self._vertical.drifted((_TURN_ERROR * self.motion.turned) ** 2)
            self._floor.drifted(frame.time_s)
        present = {body.person for body in people}
        self._vertical.forget(present)
        self._floor.forget(present)
        self._feet = {body.person: (self._soles(body.vertices), _standing(body)) for body in people}
        for body in people:
            self._see(body, dt_s, frame.time_s, rotation)
        if not people and self._answer is None:
            return None
        if not self._vertical.is_known:
            return None
        if people and self._origin is None:
            self._first_s = frame.time_s
            self._origin = rotation @ people[0].transl.astype(np.float64)
        often = _SOLVE_S if frame.time_s - self._first_s < _SOLVED_OFTEN_S else _SOLVE_LATER_S
        if people and (self._answer is None or frame.time_s - self._solved_s >= often):
            self._solved_s = frame.time_s
            self._solve(people, rotation)
        if self._answer is None:
            assert self._origin is not None
            # The origin is on the floor: the vertical turns about it, and under whoever stands there the floor stays.
            up, height = self._wanted
            self._origin = self._origin - (float(self._origin @ up) + height) * up
        self._follow(dt_s, frame.time_s)
        self._grow(present, dt_s)
        assert self._answer is not None
        motion, turn = self.motion, np.eye(4)
        turn[:3, :3] = rotation
        settled = (self._world_from_first(*self._wanted) @ turn).astype(np.float32) if self._gliding else None
        matrix = (self._answer @ turn).astype(np.float32)
        return WorldFrame(matrix, self._up_sigma, self._floor_sigma, motion.shot, motion.has_moved, settled)

    def _search_edges(self, frame: Frame, people: Sequence[BodyEstimate], rotation: DoubleArray) -> None:
        """Search the background for what stands upright."""
        points = [body.keypoints.points for body in people]
        self._vertical.add_edges(find_upright_edges(frame.image, self._camera, points, rotation))
        self._next_search_s = frame.time_s + (_SEARCH_MOVED_S if self.motion.has_moved else self._search_gap_s)
        self._search_gap_s *= 2

    def _see(self, body: BodyEstimate, dt_s: float, time_s: float, rotation: DoubleArray) -> None:
        if body.up is not None:
            sigma = body.up_sigma if body.up_sigma is not None else math.radians(7)
            self._vertical.add_prediction(body.person, body.up, sigma, dt_s, rotation)
        feet, stands = self._feet[body.person]
        vertical = self._vertical
        vertical.balance.see(body.person, body.joints, feet, stands, dt_s, rotation, vertical.up)
        if self._with_floor:
            self._floor.see(body.person, feet / np.float32(body.growth), stands, dt_s, time_s, rotation)

    def with_feet_locked(self, people: tuple[BodyEstimate, ...], time_s: float) -> tuple[BodyEstimate, ...]:
        """``people`` of the last frame, which was at ``time_s``, with standing feet kept in their places."""
        if self._legs is None:
            return people
        self._lock.forget({body.person for body in people})
        rotation = self.motion.rotation
        known = self._with_floor and self._floor_sigma < _FLOOR_KNOWN_M
        floor = (self._up, self._height, self._floor_sigma) if known else None
        return tuple(self._locked(body, time_s, rotation, floor) for body in people)

    def _locked(
        self, body: BodyEstimate, time_s: float, rotation: DoubleArray, floor: tuple[DoubleArray, float, float] | None
    ) -> BodyEstimate:
        assert self._legs is not None
        feet, stands = self._feet[body.person]
        legs = body.joints[FOOT_JOINTS] @ rotation.T
        pelvis = rotation @ body.transl
        held = self._lock(body.person, pelvis, feet @ rotation.T, legs, stands, time_s, floor, body.growth)
        soles = (held.turned @ rotation).astype(np.float32)
        body = replace(body, unlocked=Unlocked(body.transl, body.joints[LEG_JOINTS], soles))
        moves, turns = held.moves, held.turns
        if max(float(np.abs(moves).max()), _TOES_M * float(np.abs(turns).max())) < _MIN_MOVE_M:
            if float(np.abs(held.shift).max()) < _MIN_SHIFT_M:
                return body
            moves = turns = UNTURNED
        return self._legs(body, moves @ rotation, (held.shift @ rotation).astype(np.float32), turns @ rotation)

    def _solve(self, people: Sequence[BodyEstimate], rotation: DoubleArray) -> None:
        """Solve the filters for the vertical and the floor."""
        vertical = self._vertical
        vertical.solve()
        up, self._up_sigma = vertical.up, vertical.sigma
        plane = self._floor.fit(*vertical.evidence(), up)
        if plane is not None:
            self._floor_sigma, self._up_sigma = plane.sigma, plane.up_sigma
            self._wanted = plane.up, plane.height
            self._factors = {} if self._sizes_known else plane.factors
        elif self._floor_sigma == math.inf and (self._answer is None or self._with_floor):
            # No foot has stood yet: the floor is at the median of people's lowest points, or at the first one if people climb.
            self._lowest.append(
                min((self._lowest_of(body, rotation, up) for body in people), key=lambda low: float(low @ up))
            )
            self._wanted = up, -float(np.median(np.array(self._lowest) @ up))
        else:  # the floor keeps its place under the origin
            assert self._origin is not None
            self._wanted = up, self._height + float(self._origin @ (self._up - up))

    @staticmethod
    def _lowest_of(body: BodyEstimate, rotation: DoubleArray, up: DoubleArray) -> DoubleArray:
        """The lowest point (3,) of a body, in the axes of the shot's first camera."""
        points = body.vertices[::7]
        return np.asarray(rotation @ points[int((points @ (rotation.T @ up)).argmin())], np.float64)

    def _follow(self, dt_s: float, time_s: float) -> None:
        """Move the result towards the filters: at once in the first frame, later gradually and only for large differences."""
        up, height = self._wanted
        assert self._origin is not None
        off = math.acos(min(1.0, float(up @ self._up)))
        # The floor's rise under the people: under the camera, a small rotation of the vertical would go unnoticed.
        rise = abs(height - self._height + float(self._origin @ (up - self._up)))
        if self._answer is None:
            self._up, self._height = up, height
        else:
            is_new = time_s - self._first_s < _FIRST_S
            self._gliding |= is_new or off > _UP_DEAD or rise > _HEIGHT_DEAD
            self._gliding &= off > _UP_DONE or rise > _HEIGHT_DONE
            if not self._gliding:
                return
            share = -math.expm1(-dt_s / (_GLIDE_FIRST_S if is_new else _GLIDE_S))
            mixed = self._up + share * (up - self._up)
            self._up = mixed / np.linalg.norm(mixed)
            self._height += share * (height - self._height)
        self._answer = self._world_from_first(self._up, self._height)

    def _grow(self, present: set[int], dt_s: float) -> None:
        """Move the growths of everybody ``present`` towards the floor's, gradually and only for large differences."""
        for person in present & self._factors.keys():
            now, wanted = self.growths.get(person, 1.0), self._factors[person]
            off = abs(wanted / now - 1)
            if off > (_SIZE_DONE if person in self._growing else _SIZE_DEAD):
                self._growing.add(person)
                self.growths[person] = now - math.expm1(-dt_s / _GLIDE_S) * (wanted - now)
            else:
                self._growing.discard(person)

    def _world_from_first(self, up: DoubleArray, height: float) -> DoubleArray:
        """(4, 4) from the axes of the shot's first camera, whose vertical is ``up`` (3,), to the world; ``height`` m over the
        floor."""
        forward = self._forward
        if abs(float(forward @ up)) > 0.98:  # the camera looks straight down: ahead is up in the image
            forward = np.array([0.0, -1.0, 0.0])
        back = -(forward - float(forward @ up) * up)
        back /= np.linalg.norm(back)
        turn = np.stack([cross_product(up, back), up, back])
        assert self._origin is not None
        shift = -turn @ self._origin
        shift[1] = height
        out = np.eye(4)
        out[:3, :3], out[:3, 3] = turn, shift
        return out


def _compile(feet: FloatArray) -> None:
    """Run every compiled loop once over ``feet`` (4, 3), so that no frame waits for their compilation."""
    vertical, floor, lock = Vertical(), Floor(), FootLock()
    points, boxes = np.zeros((1, 2), np.float32), np.zeros((1, 4), np.int64)
    keep_background(points, points, boxes, 240, 320, np.float32(1), np.ones(1, np.bool_))
    stands, rotation, dt_s = np.ones(4, np.float32), np.eye(3), 0.1
    vertical.add_prediction(0, np.array([0.0, -1.0, 0.0], np.float32), 0.1, dt_s, rotation)
    vertical.balance.see(0, np.zeros((24, 3), np.float32), feet, stands, dt_s, rotation, vertical.up)
    vertical.solve()
    for step in range(5):
        floor.see(0, feet, stands, dt_s, step * dt_s, rotation)
        known = None if step == 0 else (vertical.up, 1.0, 0.1)
        lock(0, rotation[2], feet @ rotation.T, np.ones((2, 4, 3)), stands, step * dt_s, known)
    floor.fit(*vertical.evidence(), vertical.up)


def _standing(body: BodyEstimate) -> FloatArray:
    """Probability that each of `body.soles.CONTACTS` (4,) stands on something; 0 where it is not known, and for a foot that is
    not seen."""
    contact = body.contact
    if contact is None or contact.shape not in ((4,), (2,)):
        return np.zeros(4, np.float32)
    return seen_contact(np.repeat(contact, 4 // len(contact)), body.keypoints.confidence)
