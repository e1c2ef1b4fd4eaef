"""People in random poses, for tests of what the browser is sent."""

from __future__ import annotations

import time

import numpy as np

from body.lbs import NumpyBody
from body.model import BodyArrays
from common.camera import Camera
from realtime.records import BodyEstimate, Box, Flow, Frame, Keypoints, Result, WorldFrame

CAMERA = Camera(500.0, 510.0, 319.5, 239.5)


def person_of(body: NumpyBody, person: int, seed: int, bend: float = 0.5) -> BodyEstimate:
    """Somebody of random shape who faces the camera, every joint bent by about ``bend`` radians."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, bend, (23, 3)).astype(np.float32)
    orient = (np.array([np.pi, 0, 0]) + rng.normal(0, 0.2, 3)).astype(np.float32)
    place = np.array([0.8 * person, 0.2, 3], np.float32) + rng.normal(0, 0.2, 3).astype(np.float32)
    betas = rng.normal(0, 1, 10).astype(np.float32)
    body.set_shape(betas)
    vertices, joints = body.pose(orient, pose, place)
    coco = body.coco(vertices)
    seen = Keypoints(seed, person, CAMERA.project(coco).astype(np.float32), rng.uniform(0, 1, 17).astype(np.float32))
    return BodyEstimate(seed, person, orient, pose, betas, place, joints, coco, vertices, seen)


def result_of(arrays: BodyArrays, sequence: int, people: int, world: WorldFrame | None = None) -> Result:
    """A frame with so many people, flow for everybody, and an image of noise."""
    body = NumpyBody(arrays)
    bodies = tuple(person_of(body, person, 10 * sequence + person) for person in range(people))
    rng = np.random.default_rng(sequence)
    fields = (rng.normal(0, 1, (128, 128, 2)).astype(np.float32) for _ in bodies)
    flows = tuple(
        Flow(sequence, sequence - 1, 1 / 30, Box(300, 200, 256), field, person) for person, field in enumerate(fields)
    )
    image = rng.integers(0, 255, (480, 640, 3), np.uint8)
    now = time.monotonic_ns()
    return Result(Frame(sequence, now - 40_000_000, sequence / 30, image), CAMERA, bodies, now, flows, world)
