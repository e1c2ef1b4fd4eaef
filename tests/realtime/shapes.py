"""Small closed meshes and synthetic people for the tests of drawing."""

from __future__ import annotations

import numpy as np

from common.arrays import FloatArray, ImageArray, Int32Array
from common.camera import Camera
from realtime.records import BodyEstimate, Frame, Keypoints, Result

CAMERA = Camera(200, 200, 79.5, 59.5)
HEIGHT, WIDTH = 120, 160


def sphere(centre: tuple[float, float, float], radius: float, rings: int = 48) -> tuple[FloatArray, Int32Array]:
    """A sphere, camera frame: vertices (V, 3), faces (F, 3) counter-clockwise from outside."""
    around = 2 * rings
    theta, phi = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, around, False), indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    faces = []
    for ring in range(rings):
        for step in range(around):
            a, b = ring * around + step, ring * around + (step + 1) % around
            faces += [(a, a + around, b), (b, a + around, b + around)]
    return (np.array(centre) + radius * points).astype(np.float32), np.array(faces, np.int32)


def plane(z: float, half: float = 50.0) -> tuple[FloatArray, Int32Array]:
    """A square across the view at ``z`` metres, facing the camera."""
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], np.float32)
    return corners, np.array([[0, 2, 1], [0, 3, 2]], np.int32)


def person(vertices: FloatArray, number: int = 0, confidence: float = 1.0) -> BodyEstimate:
    """A body estimate that has ``vertices`` and keypoints in the middle of the frame."""
    points = np.array([[70 + i, 50 + 2 * i] for i in range(17)], np.float32)
    keypoints = Keypoints(0, number, points, np.full(17, confidence, np.float32))
    rest = np.zeros((24, 3), np.float32)
    return BodyEstimate(
        sequence=0, person=number, global_orient=rest[0], body_pose=rest[1:], betas=np.zeros(10, np.float32),
        transl=vertices.mean(0), joints=rest, coco=rest[:17], vertices=vertices, keypoints=keypoints,
    )  # fmt: skip


def result(image: ImageArray, *people: BodyEstimate) -> Result:
    """The result of one frame."""
    return Result(Frame(0, 0, 0.0, image), CAMERA, people, 0)
