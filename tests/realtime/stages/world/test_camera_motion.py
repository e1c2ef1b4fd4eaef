from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from common.arrays import DoubleArray, ImageArray
from realtime.stages.world.camera_motion import CameraMotion
from realtime.stages.world.rotation_fit import fit_rotation
from tests.realtime.stages.world.world_scene import CAMERA, turn_by, view_of, wall

WALL = wall()


def angle_between(first: DoubleArray, second: DoubleArray) -> float:
    return math.degrees(math.acos(min(1.0, (float(np.sum(first * second)) - 1) / 2)))


def with_person(image: ImageArray, across: float) -> tuple[ImageArray, np.ndarray]:
    """A textured person-sized patch over the image, and its keypoints."""
    out = image.copy()
    left = int(across)
    patch = cv2.resize(wall(9)[:200, :120], (90, 200))
    width = max(min(90, 320 - left), 0)
    out[30:230, left : left + width] = patch[:, :width]
    points = np.stack([np.linspace(left + 10, left + 80, 17), np.linspace(40, 220, 17)], 1).astype(np.float32)
    return out, points


def test_a_still_camera_keeps_its_rotation_to_the_last_bit_whatever_walks_past() -> None:
    motion, rng = CameraMotion(CAMERA), np.random.default_rng(1)
    still = view_of(WALL, np.eye(3))
    for number in range(90):
        image, points = with_person(still, 5 + 2.4 * number)
        light = 1 + 0.1 * math.sin(number / 9)
        noisy = np.clip(image * light + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        motion(noisy, number / 30, [points] if number > 20 else [])  # at first nobody knows that it is a person
        assert (motion.rotation == np.eye(3)).all()
    assert not motion.has_moved


@pytest.mark.parametrize("kind", ["pan", "hand-held"])
def test_a_turning_camera_is_followed(kind: str) -> None:
    motion = CameraMotion(CAMERA)
    worst = 0.0
    for number in range(90):
        if kind == "pan":
            turn = turn_by((0, 0.35 * number, 0))
        else:
            wave = number / 30 * 2 * math.pi
            turn = turn_by((1.5 * math.sin(0.9 * wave), 2 * math.sin(0.6 * wave), 0.8 * math.sin(1.3 * wave)))
        image, points = with_person(view_of(WALL, turn), 60 + number)
        motion(image, number / 30, [points])
        worst = max(worst, angle_between(motion.rotation, turn))
    assert motion.has_moved
    assert worst < (1.5 if kind == "pan" else 0.35)  # of 31 degrees, and of 2.5


def test_a_camera_that_stops_stands_still_again() -> None:
    motion = CameraMotion(CAMERA)
    rng = np.random.default_rng(2)
    seen = []
    for number in range(150):
        image = view_of(WALL, turn_by((0, min(number, 30) * 0.3, 0)))
        noisy = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
        seen.append(motion(noisy, number / 30, []))
    assert all((one == seen[-1]).all() for one in seen[80:])
    assert angle_between(seen[-1], turn_by((0, 9, 0))) < 0.5


def test_a_cut_is_told_from_a_fast_turn() -> None:
    motion = CameraMotion(CAMERA)
    for number in range(20):
        motion(view_of(WALL, np.eye(3)), number / 30, [])
    for number in range(20, 30):
        motion(view_of(wall(7), turn_by((5, 40, 0))), number / 30, [])
    assert motion.shot == 1
    assert not motion.has_moved
    grey = np.full((240, 320, 3), 128, np.uint8)
    blank = CameraMotion(CAMERA)
    for number in range(10):
        assert (blank(grey, number / 30, []) == np.eye(3)).all()


def test_outliers_do_not_turn_the_fit() -> None:
    rng = np.random.default_rng(0)
    first = np.concatenate([rng.uniform(-0.5, 0.5, (60, 2)), np.ones((60, 1))], 1)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    truth = turn_by((2, -5, 3))
    second = first @ truth.T
    second[:20] = first[:20] @ turn_by((0, 4, 0)).T
    found, share = fit_rotation(first, second, np.eye(3), 1 / 280)
    assert angle_between(found, truth) < 1e-3
    assert share == pytest.approx(40 / 60, abs=0.02)
