"""Live output by UDP: JSON messages (``udp://``) and VMC avatars (``vmc://``)."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any, Final

import numpy as np

from body.model import BodyArrays
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import DoubleArray
from formats.axes import Y_UP
from formats.endings import ReferenceFrame
from formats.json_lines import line_of
from formats.skeleton import rest_offsets
from formats.vmc import vmc_bundles
from realtime.outputs.live_messages import ClosingSender, body_in_world, frame_message
from realtime.records import BodyEstimate, Result, WorldFrame

_LOG = logging.getLogger(__name__)

_HEADER_EVERY_S: Final = 1.0
"""A UDP client that begins to listen late gets the joints' names after this long at most."""
_STAY_S: Final = 1.0
"""VMC shows one person: another one only after the first has not been seen for so long."""


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
                _LOG.warning(f"cannot send to {self._address[0]}:{self._address[1]} ({error.strerror}); still trying")

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
            known = body_in_world(body, world)
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
