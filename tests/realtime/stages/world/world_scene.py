"""People on a floor before a camera of known tilt, as exact estimates, and images of a wall behind them."""

from __future__ import annotations

import cv2
import numpy as np

from body.lbs import NumpyBody
from body.model import load_body
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import DoubleArray, FloatArray, ImageArray
from common.camera import Camera
from realtime.records import BodyEstimate, Frame, Keypoints
from realtime.stages.world.vertical import up_of

CAMERA = Camera(280.0, 280.0, 159.5, 119.5)
ARRAYS = load_body("body_1722")
_STANDING = np.zeros((23, 3), np.float32)
_STANDING[[15, 16], 2] = -1.2, 1.2  # arms hang


def camera_from_world(pitch: float, roll: float, height: float) -> DoubleArray:
    """(4, 4) of a camera that looks along the world's -z from ``height``, see `realtime.stages.world.vertical.up_of`."""
    up = up_of(pitch, roll)
    forward = np.array([0.0, 0.0, 1.0])
    back = -(forward - (forward @ up) * up)
    back /= np.linalg.norm(back)
    out = np.eye(4)
    out[:3, :3] = np.stack([np.cross(up, back), up, back], 1)
    out[:3, 3] = -out[:3, :3] @ (0, height, 0)
    return out


class Person:
    """Stands upright where it is put, in steps of both feet."""

    def __init__(self, number: int = 0, size: float = 1.0, betas: FloatArray | None = None) -> None:
        self.number, self.size = number, size
        self._body = NumpyBody(ARRAYS)
        self._betas = np.zeros(10, np.float32) if betas is None else betas
        self._body.set_shape(self._betas)

    def at(
        self,
        place: tuple[float, float, float],
        view: DoubleArray,
        *,
        contact: float = 0.99,
        sequence: int = 0,
        up_error: DoubleArray | None = None,
        sigma: float = 0.03,
    ) -> BodyEstimate:
        """The estimate of a body whose soles are at ``place``, world, m. ``size`` is the factor by which the distance is taken
        for too large. ``up_error`` (3, 3) turns what the network would say of up."""
        turn = view[:3, :3]
        vertices, joints = self._body.pose(matrix_to_axis_angle(turn), _STANDING, np.zeros(3, np.float32))
        lowest = float((vertices @ turn[:, 1]).min())
        pelvis = (turn @ (np.array(place) - (0, lowest, 0)) + view[:3, 3]) * self.size
        pelvis = pelvis.astype(np.float32)
        coco = self._body.coco(vertices) + pelvis
        up = (np.eye(3) if up_error is None else up_error) @ turn[:, 1]
        points = CAMERA.project(coco).astype(np.float32)
        return BodyEstimate(
            sequence,
            self.number,
            np.asarray(matrix_to_axis_angle(turn), np.float32),
            _STANDING,
            self._betas,
            pelvis,
            joints + pelvis,
            coco,
            vertices + pelvis,
            Keypoints(sequence, self.number, points, np.full(17, 0.9, np.float32)),
            contact=np.full(4, contact, np.float32),
            up=up.astype(np.float32),
            up_sigma=sigma,
        )


def wall(seed: int = 0) -> ImageArray:
    """A large image full of corners."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (45, 60, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(cv2.resize(blocks, (960, 720), interpolation=cv2.INTER_NEAREST), (0, 0), 1.0))


def view_of(image: ImageArray, turn: DoubleArray) -> ImageArray:
    """What `CAMERA` sees of a far ``image`` once it has been turned by ``turn`` (3, 3), from its axes to those of before."""
    far = np.array([[280.0, 0, 479.5], [0, 280.0, 359.5], [0, 0, 1]])
    mapping = far @ turn @ np.linalg.inv(CAMERA.matrix)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(image, mapping, (320, 240), flags=flags, borderMode=cv2.BORDER_REFLECT))


def turn_by(degrees: tuple[float, float, float]) -> DoubleArray:
    """Rotation (3, 3) by an axis-angle in degrees."""
    return np.asarray(axis_angle_to_matrix(np.radians(np.array(degrees, np.float64))), np.float64)


def frame(sequence: int, image: ImageArray, fps: float = 30.0) -> Frame:
    """One frame of a source."""
    return Frame(sequence, 0, sequence / fps, image)
