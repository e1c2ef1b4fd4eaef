"""Results of people who wave, for benchmarks that show or send results without networks."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from body.lbs import NumpyBody
from body.model import BodyArrays
from common.camera import Camera
from realtime.records import BodyEstimate, Box, Flow, Frame, Keypoints, Result, WorldFrame

RATE: Final = 30
"""Frames a second that they were taken at."""
POSES: Final = 60
"""Results that there are: two seconds."""
SIZE: Final = (1280, 720)
"""Width and height of the images, pixels."""
WAVING_CAMERA: Final = Camera(1000.0, 1000.0, 639.5, 359.5)
"""Of the images."""


def waving_results(arrays: BodyArrays, people: int, world: WorldFrame | None = None) -> list[Result]:
    """Two seconds of people who wave, over a gradient with noise, which is as large as a JPEG of a real image."""
    body = NumpyBody(arrays)
    rng = np.random.default_rng(0)
    width, height = SIZE
    image = np.empty((height, width, 3), np.uint8)
    image[:] = np.linspace(40, 200, width)[None, :, None] + rng.normal(0, 12, (height // 8, width // 8, 3)).repeat(
        8, 0
    ).repeat(8, 1)
    results = []
    for number in range(POSES):
        bodies = []
        for person in range(people):
            pose = (0.4 * np.sin(2 * np.pi * number / POSES + rng.uniform(0, 0.1, (23, 3)))).astype(np.float32)
            orient, place = np.array([np.pi, 0, 0], np.float32), np.array([0.8 * person - 1, 0, 4], np.float32)
            vertices, joints = body.pose(orient, pose, place)
            coco = body.coco(vertices)
            seen = Keypoints(number, person, WAVING_CAMERA.project(coco).astype(np.float32), np.ones(17, np.float32))
            betas = np.zeros(10, np.float32)
            bodies.append(BodyEstimate(number, person, orient, pose, betas, place, joints, coco, vertices, seen))
        fields = (rng.normal(0, 1, (128, 128, 2)).astype(np.float32) for _ in bodies)
        flows = tuple(Flow(number, number - 1, 1 / RATE, Box(640, 360, 600), field) for field in fields)
        now = time.monotonic_ns()
        frame = Frame(number, now, number / RATE, image)
        results.append(Result(frame, WAVING_CAMERA, tuple(bodies), now, flows, world))
    return results
