"""Live output: motion to other programs while it is estimated, ``--send vmc://``, ``udp://`` and ``ws://`` ``HOST:PORT``.

Each sender is a sink that takes the newest result and leaves the rest out (``add_sink(every=False)``): one that is slow sends
less, and holds nobody up. JSON messages are those of `formats.json_lines`; VMC is `formats.vmc`.
"""

from __future__ import annotations

import logging
import socket
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

import numpy as np

from body.model import BodyArrays
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import DoubleArray, FloatArray
from common.camera import Camera
from common.errors import UserError
from formats.axes import Y_UP
from formats.endings import ReferenceFrame
from formats.json_lines import frame_of, header_of, line_of, to_json_values
from formats.skeleton import rest_offsets
from formats.vmc import vmc_bundles
from formats.world import in_world
from realtime.records import BodyEstimate, Result, WorldFrame

_LOG = logging.getLogger(__name__)

_SCHEMES: Final = ("vmc", "udp", "ws")
_HEADER_EVERY_S: Final = 1.0
"""A UDP client that begins to listen late learns the joints' names after this long at most."""
_STAY_S: Final = 1.0
"""VMC shows one person: another one only after the first has not been seen for so long."""
_METRES, _PIXELS, _RADIANS = 5, 2, 6
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


def open_sender(
    url: str, camera: Camera, fps: float, source: str, arrays: BodyArrays, frame: ReferenceFrame | None = None
) -> Sender:
    """A sender to ``url``, one of `_SCHEMES`.

    Args:
        url: ``vmc://HOST:PORT[?person=N]`` and ``udp://HOST:PORT`` send there; ``ws://HOST:PORT`` listens there for clients.
        camera: of the frames that results belong to.
        fps: nominal rate of the source.
        source: the name it is told by.
        arrays: the body that is estimated.
        frame: of reference. None: JSON has the world's beside the camera's, and VMC is in the world's, where it is known.

    Raises `UserError` for a URL that is none of these, a host that is not known and a port that is taken.
    """
    scheme, host, port, person = _parts_of(url)
    if scheme == "vmc":
        return VmcSender(_address_of(url, host, port), arrays, person, frame)
    header = header_of(source, fps, camera.matrix, arrays.sha256)
    if scheme == "udp":
        return UdpSender(_address_of(url, host, port), header, frame != "camera")
    from realtime.outputs.live_websocket import WebSocketSender  # asyncio is loaded for those alone who want it

    return WebSocketSender(host, port, header, frame != "camera")


def check_send(url: str) -> None:
    """Raise `UserError` unless ``url`` is one that `open_sender` knows."""
    _parts_of(url)


def _parts_of(url: str) -> tuple[str, str, int, int | None]:
    """Scheme, host, port and the person that is asked for."""
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        person = int(query.pop("person")[0]) if parts.scheme == "vmc" and "person" in query else None
    except ValueError:
        raise UserError(f"--send {url}: give it as vmc://HOST:PORT, udp://HOST:PORT or ws://HOST:PORT") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or not port or query or parts.path.strip("/"):
        raise UserError(f"--send {url}: give it as vmc://HOST:PORT, udp://HOST:PORT or ws://HOST:PORT")
    return parts.scheme, parts.hostname, port, person


def _address_of(url: str, host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise UserError(f"--send {url}: there is no host {host} ({error.strerror})") from None
    return family, address


def frame_message(result: Result, world: bool = True) -> dict[str, Any]:
    """What is known of one frame, as a message of `formats.json_lines`; ``latency_ms`` is how long ago it was captured.
    ``world``: with the world's frame beside the camera's, where it is known."""
    people = [_person_of(body, result.camera) for body in result.people]
    shared: dict[str, Any] = {}
    if world and result.world is not None:
        shared = _camera_of(result.world)
        for person, body in zip(people, result.people, strict=True):
            person |= {
                name: to_json_values(values, _RADIANS if name == "world_global_orient" else _METRES)
                for name, values in _in_world(body, result.world).items()
            }
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


def _in_world(body: BodyEstimate, world: WorldFrame) -> dict[str, FloatArray]:
    """Orientation, pelvis and joints of one person in the world's frame, named as in `formats.motion.WORLD_SHAPES`."""
    rows = in_world(world.world_from_camera[None], body.global_orient[None], body.transl[None], body.joints[None])
    return {name: values[0] for name, values in rows.items() if name != "world_from_camera"}


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


class _Datagrams(ClosingSender):
    """A UDP socket that never waits: what the system has no room for is not sent."""

    def __init__(self, address: tuple[socket.AddressFamily, Any]) -> None:
        family, self._address = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._said = False

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.sendto(datagram, self._address)
        except BlockingIOError:
            pass
        except OSError as error:
            if not self._said and self._socket.fileno() >= 0:
                self._said = True
                _LOG.warning(f"cannot send to {self._address[0]}:{self._address[1]} ({error.strerror}); trying on")

    def close(self) -> None:
        """See `Sender`."""
        self._socket.close()


class UdpSender(_Datagrams):
    """One datagram a frame, and the header once a second. ``world``: whether messages have the world's frame, too."""

    def __init__(self, address: tuple[socket.AddressFamily, Any], header: dict[str, Any], world: bool = True) -> None:
        super().__init__(address)
        self._world = world
        self._header = line_of(header).encode()
        self._header_due = 0.0

    def send(self, result: Result) -> None:
        """See `Sender`."""
        now = time.monotonic()
        if now >= self._header_due:
            self._header_due = now + _HEADER_EVERY_S
            self._send(self._header)
        self._send(line_of(frame_message(result, self._world)).encode())


class VmcSender(_Datagrams):
    """One person as a humanoid avatar: ``person``, or whoever is seen first, until that one is lost.

    In the world's ``frame`` the avatar stands upright on the floor, and nobody is shown before that is known. The camera's has
    neither: the avatar stands where the person is first seen, and moves from there. None takes the world's if it is known when
    the first person is seen. Avatars begin in the middle, and again after a cut of the video.
    """

    def __init__(
        self,
        address: tuple[socket.AddressFamily, Any],
        arrays: BodyArrays,
        person: int | None = None,
        frame: ReferenceFrame | None = None,
    ) -> None:
        super().__init__(address)
        self._arrays, self._wanted, self._frame = arrays, person, frame
        self._shown: int | None = person
        self._seen_s = -np.inf
        self._offsets: DoubleArray = rest_offsets(arrays, np.zeros(10, np.float32))
        self._origin: DoubleArray | None = None
        self._shot = -1

    def send(self, result: Result) -> None:
        """See `Sender`."""
        body = self._choose(result)
        if body is not None and self._frame is None:
            self._frame = "camera" if result.world is None else "world"
        if body is None or (self._frame == "world" and result.world is None):
            bundles = vmc_bundles(result.frame.time_s, None, None, self._offsets)
        else:
            rotations, pelvis = self._placed(body, result.world)
            bundles = vmc_bundles(result.frame.time_s, rotations, pelvis, self._offsets)
        for bundle in bundles:
            self._send(bundle)

    def _placed(self, body: BodyEstimate, world: WorldFrame | None) -> tuple[DoubleArray, DoubleArray]:
        """Rotations (24, 3), the root's to y up, and the pelvis (3,) from where the avatar began, on the floor."""
        rotations = np.concatenate([body.global_orient[None], body.body_pose]).astype(np.float64)
        if self._frame == "world" and world is not None:
            known = _in_world(body, world)
            rotations[0], pelvis = known["world_global_orient"], known["world_transl"].astype(np.float64)
            if world.shot != self._shot:
                self._shot, self._origin = world.shot, None
            floor = 0.0
        else:
            rotations[0] = matrix_to_axis_angle(Y_UP @ axis_angle_to_matrix(rotations[0]))
            pelvis = Y_UP @ body.transl
            floor = float((Y_UP @ body.joints[[7, 8]].T)[1].min()) + self._ankle_height()
        if self._origin is None:
            self._offsets = rest_offsets(self._arrays, body.betas)
            self._origin = np.array([pelvis[0], floor, pelvis[2]])
        return rotations, pelvis - self._origin

    def _ankle_height(self) -> float:
        """Of the ankles over the ground, negative: metres from the ankles down to the soles of the rest body."""
        ankle = (self._arrays.joint_regressor @ self._arrays.v_template)[7, 1]
        return float(self._arrays.v_template[:, 1].min() - ankle)

    def _choose(self, result: Result) -> BodyEstimate | None:
        now = result.frame.time_s
        for body in result.people:
            if body.person == self._shown:
                self._seen_s = now
                return body
        if self._wanted is not None or not result.people or now - self._seen_s < _STAY_S:
            return None
        self._shown, self._seen_s = result.people[0].person, now
        return result.people[0]
