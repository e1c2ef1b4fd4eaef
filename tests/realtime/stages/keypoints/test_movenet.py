"""MoveNet's and the detector's wrappers: from an engine's numbers to image pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.arrays import AnyArray
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from engines.registry import open_engine
from realtime.records import Box
from realtime.stages.keypoints.movenet import MoveNet
from realtime.stages.keypoints.parity import CROP_SIZE, parity_crops
from realtime.stages.tracking.detection import PersonDetector
from tests.realtime.stages.tracking.test_association import STANDING


class Spot(Engine):
    """Answers each keypoint with the brightest pixel of what it is shown."""

    def __init__(self, size: int = 64) -> None:
        self.runtime, self.device = "onnxruntime", "test"
        self.inputs = (TensorSpec("image", (1, size, size, 3), np.dtype(np.int32)),)
        self.outputs = (TensorSpec("points", (1, 1, 17, 3), np.dtype(np.float32)),)

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        grey = feeds["image"][0].sum(-1)
        row, column = np.unravel_index(int(grey.argmax()), grey.shape)
        place = [row / len(grey), column / len(grey), 0.8]  # as MoveNet counts: from the centre of the first pixel
        return {"points": np.tile(np.array(place, np.float32), (1, 1, 17, 1))}

    def close(self) -> None: ...


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_turned_crop_gives_the_same_place_in_the_image(turn: int) -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, (150, 90), 2, (255, 255, 255), -1)
    points, confidence = MoveNet(Spot())(image, Box(140, 110, 128), turn)
    np.testing.assert_allclose(points, np.tile([150, 90], (17, 1)), atol=3)
    assert confidence == pytest.approx(np.full(17, 0.8))


@pytest.mark.parametrize("size", [64, 128, 192])
def test_a_point_is_where_the_network_saw_it(size: int) -> None:
    """Exact where a pixel of the crop covers one of the image, three, or a third of it."""
    image = np.zeros((240, 320, 3), np.uint8)
    side = 64
    image[90 : 90 + max(1, size // side), 150 : 150 + max(1, size // side)] = 255
    points, _ = MoveNet(Spot(side))(image, Box(159.5, 119.5, size))
    centre = (max(1, size // side) - 1) / 2
    np.testing.assert_allclose(points, np.tile([150 + centre, 90 + centre], (17, 1)), atol=size / side / 2)


@pytest.mark.parametrize(("model", "size"), [("movenet-lightning", 192), ("movenet-thunder", 256)])
def test_mirrored_people_have_mirrored_keypoints(model: str, size: int) -> None:
    """What a network sees to the left in a picture and in its mirror image alike is its own error, or that of its reader."""
    swapped = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    half, off = (CROP_SIZE - 1) / 2, []
    with open_engine(model) as engine:
        movenet = MoveNet(engine)
        for crop in parity_crops():
            points, sure = movenet(crop, Box(half, half, CROP_SIZE))
            mirrored, sure_too = movenet(np.ascontiguousarray(crop[:, ::-1]), Box(half, half, CROP_SIZE))
            both = (sure > 0.4) & (sure_too[swapped] > 0.4)
            off.append((points[:, 0] + mirrored[swapped, 0] - 2 * half)[both] / 2)
    shift = np.concatenate(off) * size / CROP_SIZE
    assert len(shift) > 100
    assert abs(np.median(shift)) < 0.3


class Six(Engine):
    """Two people, one of them twice, and three of whom it is not sure."""

    def __init__(self) -> None:
        self.runtime, self.device = "onnxruntime", "test"
        self.inputs = (TensorSpec("image", (1, 256, 256, 3), np.dtype(np.int32)),)
        self.outputs = (TensorSpec("people", (1, 6, 56), np.dtype(np.float32)),)

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        rows = np.zeros((6, 56), np.float32)
        for row, (x, score) in zip(rows, ((0.7, 0.3), (0.3, 0.6), (0.31, 0.5), (0.5, 0.1)), strict=False):
            keypoints = np.concatenate([STANDING[:, ::-1] * 0.3 + [0.5, x], np.full((17, 1), 0.8)], 1)
            row[:51], row[55] = keypoints.ravel(), score
        return {"people": rows[None]}

    def close(self) -> None: ...


def test_the_detector_names_everybody_once_best_first() -> None:
    found = PersonDetector(Six())(np.zeros((480, 640, 3), np.uint8), Box(319.5, 239.5, 640))
    assert [round(one.score, 1) for one in found] == [0.6, 0.3]
    np.testing.assert_allclose(
        found[0].points[[11, 12]].mean(0), [0.3 * 640 + 640 / 512 - 0.5, 239.5 + 640 / 512], atol=0.6
    )
    with pytest.raises(EngineError, match="MultiPose"):
        PersonDetector(Spot())


def test_the_shipped_detector_sees_nobody_in_noise() -> None:
    rng = np.random.default_rng(0)
    with open_engine("movenet-multipose") as engine:
        detector = PersonDetector(engine)
        assert detector(rng.integers(0, 256, (480, 640, 3), np.uint8), Box(319.5, 239.5, 640)) == []
        assert detector(np.full((480, 640, 3), 80, np.uint8), Box(319.5, 239.5, 640)) == []
