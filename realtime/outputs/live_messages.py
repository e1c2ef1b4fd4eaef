"""What live output has in common: the contract of its senders, and one frame as a message of `formats.json_lines`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Protocol

import numpy as np

from common.arrays import FloatArray
from common.camera import Camera
from formats.json_lines import frame_of, to_json_values
from formats.world import in_world
from realtime.records import BodyEstimate, Result, WorldFrame

_METRES: Final = 5
_PIXELS: Final = 2
_RADIANS: Final = 6
"""Decimals of live numbers: 10 micrometres, a hundredth of a pixel, less than a ten-thousandth of a degree."""


class Sender(Protocol):
    """Somewhere that results go. `send` belongs to one thread; `close` may come from another."""

    def send(self, result: Result) -> None:
        """Send what is known of one frame. Never waits for a receiver."""

    def close(self) -> None:
        """Stop sending. Does nothing the second time."""

    def __enter__(self) -> Sender: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ClosingSender(ABC):
    """A sender that is closed at the end of a ``with`` block."""

    @abstractmethod
    def close(self) -> None:
        """See `Sender.close`."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frame_message(result: Result, world: bool = True) -> dict[str, Any]:
    """What is known of one frame, as a message of `formats.json_lines`; ``latency_ms`` is how long ago it was captured.
    ``world``: with the world's frame beside the camera's, where it is known."""
    people = [_person_of(body, result.camera) for body in result.people]
    shared: dict[str, Any] = {}
    if world and result.world is not None:
        shared = _camera_of(result.world)
        for name, rows in _in_world(result.people, result.world).items() if people else ():
            decimals = _RADIANS if name == "world_global_orient" else _METRES
            for person, values in zip(people, to_json_values(rows, decimals), strict=True):
                person[name] = values
    latency = round((time.monotonic_ns() - result.frame.captured_ns) / 1e6, 2)
    return frame_of(result.frame.sequence, result.frame.time_s, people, latency_ms=latency, **shared)


def _camera_of(world: WorldFrame) -> dict[str, Any]:
    camera = world.world_from_camera
    return {
        "world_from_camera": to_json_values(camera, _RADIANS),
        "up": to_json_values(camera[1, :3], _RADIANS),
        "up_sigma_deg": to_json_values(np.asarray(np.degrees(world.up_sigma)), 3),
        "floor_sigma_m": to_json_values(np.asarray(world.floor_sigma), _METRES),
    }


def body_in_world(body: BodyEstimate, world: WorldFrame) -> dict[str, FloatArray]:
    """Orientation, pelvis and joints of one person in the world's frame, named as in `formats.motion.WORLD_SHAPES`."""
    return {name: values[0] for name, values in _in_world([body], world).items()}


def _in_world(people: Sequence[BodyEstimate], world: WorldFrame) -> dict[str, FloatArray]:
    """The same of N people at once, which takes hardly longer than of one: arrays with N rows."""
    cameras = np.repeat(world.world_from_camera[None], len(people), 0)
    orient, transl, joints = (
        np.array([getattr(body, name) for body in people]) for name in ("global_orient", "transl", "joints")
    )
    rows = in_world(cameras, orient, transl, joints)
    return {name: values for name, values in rows.items() if name != "world_from_camera"}


def _person_of(body: BodyEstimate, camera: Camera) -> dict[str, Any]:
    return {
        "person": body.person,
        "global_orient": to_json_values(body.global_orient, _RADIANS),
        "body_pose": to_json_values(body.body_pose, _RADIANS),
        "betas": to_json_values(body.betas, _METRES),
        "transl": to_json_values(body.transl, _METRES),
        "joints_m": to_json_values(body.joints, _METRES),
        "joints_px": to_json_values(camera.project(body.joints), _PIXELS),
        "keypoints_px": to_json_values(body.keypoints.points, _PIXELS),
        "keypoint_confidence": to_json_values(body.keypoints.confidence, 3),
    }
