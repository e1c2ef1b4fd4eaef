"""A sheet of unseen people with a network's predictions, one column a person.

Above, the image: detected keypoints (white, the surer the larger), the true skeleton (green) and the network's (orange),
each where it stands. Below, the same two from the camera's right, far away on the right, pelvis on pelvis: depth is what one
camera gets wrong.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch

from body.joints import PARENTS
from body.lbs_torch import TorchBody
from common.arrays import DoubleArray, ImageArray
from common.camera import Camera
from training.evaluation.synthetic import EVALUATION_FPS, LENGTH, unseen_people
from training.motion.clip import Clip
from training.networks.lifter import Lifter
from training.networks.outputs import Lifted
from training.simulation.batches import Batch

PEOPLE_TILE: Final = 192
"""Side of one view, pixels."""
SPAN_M: Final = 2.2
"""What fits into the view from the side, metres."""
TRUE, PREDICTED, DETECTED = (70, 210, 90), (255, 150, 40), (255, 255, 255)
_GROUND, _LINE = 24, (60, 60, 60)
_SHIFT = 4  # OpenCV draws at 1/16 of a pixel


@torch.no_grad()
def draw_validation(
    network: Lifter,
    body: TorchBody,
    clips: list[Clip],
    people: int = 8,
    single_frames: bool = False,
    seed: int = 4321,
) -> ImageArray:
    """The last frames of ``people`` windows of ``clips``, RGB (2 tiles, people tiles of `PEOPLE_TILE` pixels, 3): the same
    people at every call. ``single_frames`` shows the network's per-frame part alone."""
    batch = unseen_people(network, body, clips, seed).draw(people, LENGTH, EVALUATION_FPS)
    was_training = network.training
    network.eval()
    lifted = network(batch.seen, network.start_state(people), alone=single_frames)
    network.train(was_training)
    return draw_people(batch, lifted, body)


def draw_people(batch: Batch, lifted: Lifted, body: TorchBody) -> ImageArray:
    """The last frame of each window of ``batch`` and what was ``lifted`` from it, uint8 RGB (2 tiles, B tiles, 3)."""
    found, _ = body.skeleton(lifted.rotations[:, -1], lifted.betas[:, -1])
    skeletons = (
        (_numpy(batch.joints[:, -1]), _numpy(batch.pelvis[:, -1]), TRUE),
        (_numpy(found), _numpy(lifted.pelvis[:, -1]), PREDICTED),
    )
    seen = batch.seen
    points, confidence, boxes, cameras = (
        _numpy(part[:, -1]) for part in (seen.points, seen.confidence, seen.box, seen.camera)
    )
    columns = []
    for row, (x, y, side) in enumerate(boxes):
        corner, scale = np.array([x, y]) - side / 2, PEOPLE_TILE / side
        front, aside = (np.full((PEOPLE_TILE, PEOPLE_TILE, 3), _GROUND, np.uint8) for _ in range(2))
        for point, sure in zip(points[row], confidence[row], strict=True):
            _dot(front, (point - corner) * scale, 1 + 2 * float(sure))
        for joints, pelvis, colour in skeletons:
            place = joints[row] + pelvis[row]
            pixels = Camera.from_array(cameras[row]).project_clamped(place)
            _skeleton(front, (pixels - corner) * scale, colour)
            _skeleton(aside, joints[row][:, [2, 1]] / SPAN_M * PEOPLE_TILE + PEOPLE_TILE / 2, colour)
        column = np.concatenate([front, aside])
        column[:, -1] = column[PEOPLE_TILE] = _LINE
        columns.append(column)
    return np.concatenate(columns, 1)


def _numpy(values: torch.Tensor) -> DoubleArray:
    return values.detach().cpu().double().numpy()


def _fixed(point: DoubleArray) -> tuple[int, int]:
    """Points within OpenCV's range, also from an untrained network."""
    x, y = np.nan_to_num(point).clip(-4 * PEOPLE_TILE, 4 * PEOPLE_TILE) * (1 << _SHIFT)
    return round(float(x)), round(float(y))


def _skeleton(image: ImageArray, joints: DoubleArray, colour: tuple[int, int, int]) -> None:
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            cv2.line(image, _fixed(joints[joint]), _fixed(joints[parent]), colour, 1, cv2.LINE_AA, _SHIFT)


def _dot(image: ImageArray, point: DoubleArray, radius: float) -> None:
    cv2.circle(image, _fixed(point), round(radius * (1 << _SHIFT)), DETECTED, -1, cv2.LINE_AA, _SHIFT)
