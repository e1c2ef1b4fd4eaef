"""Results in random poses, and senders of them, for tests of live output."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from websockets.sync.client import ClientConnection

from body.lbs import NumpyBody
from body.model import BodyArrays
from common.camera import Camera
from formats.endings import ReferenceFrame
from realtime.outputs.live import Sender, open_sender
from realtime.records import BodyEstimate, Frame, Keypoints, Result, WorldFrame

CAMERA = Camera(500.0, 500.0, 319.5, 239.5)


def result(arrays: BodyArrays, sequence: int, *people: int, time_s: float | None = None) -> Result:
    """Everybody stands upright, faces the camera, and bends limbs by an own random pose."""
    bodies = []
    poser = NumpyBody(arrays)
    for person in people:
        rng = np.random.default_rng(100 * sequence + person)
        pose = rng.normal(0, 0.3, (23, 3)).astype(np.float32)
        orient = np.array([np.pi, 0, 0], np.float32)
        place = np.array([0.5 * person + 0.01 * sequence, 0.2, 3], np.float32)
        vertices, joints = poser.pose(orient, pose, place)
        keypoints = Keypoints(sequence, person, np.full((17, 2), 50, np.float32), np.full(17, 0.8, np.float32))
        betas = np.zeros(10, np.float32)
        coco = poser.coco(vertices)
        bodies.append(BodyEstimate(sequence, person, orient, pose, betas, place, joints, coco, vertices, keypoints))
    frame = Frame(
        sequence, time.monotonic_ns(), sequence / 30 if time_s is None else time_s, np.zeros((2, 2, 3), np.uint8)
    )
    return Result(frame, CAMERA, tuple(bodies), time.monotonic_ns())


def tilted(one: Result, shot: int = 0) -> Result:
    """The same seen by a camera 1.4 m over the floor that looks down by 20 degrees."""
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = Rotation.from_euler("x", 160, degrees=True).as_matrix()
    matrix[1, 3] = 1.4
    return replace(one, world=WorldFrame(matrix, 0.02, np.inf, shot))


def open_to(scheme: str, port: int, arrays: BodyArrays, query: str = "", frame: ReferenceFrame | None = None) -> Sender:
    return open_sender(f"{scheme}://127.0.0.1:{port}{query}", CAMERA, 30.0, "camera 0", arrays, frame)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def received(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(client.recv(timeout=5))
    return message
