"""The skeleton without the skin, against the one in torch and the whole body."""

from __future__ import annotations

import numpy as np
import pytest

from body.joints import COCO_NAMES
from body.lbs import NumpyBody
from body.model import load_body
from body.rotations import axis_angle_to_matrix
from body.skeleton import Skeleton
from tests.body.smpl_like import random_betas, random_pose

ARRAYS = load_body("body_1722")


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_skeleton_that_training_knows(seed: int) -> None:
    torch = pytest.importorskip("torch")
    from body.lbs_torch import TorchBody

    rotations, betas = axis_angle_to_matrix(random_pose(seed)), random_betas(seed) * 2  # beyond the limit, too
    joints, coco = Skeleton(ARRAYS)(rotations, betas)
    expected = TorchBody(ARRAYS).skeleton(torch.from_numpy(rotations)[None], torch.from_numpy(betas)[None])
    np.testing.assert_allclose(joints, expected[0][0].numpy(), atol=1e-5)
    np.testing.assert_allclose(coco, expected[1][0].numpy(), atol=1e-5)


def test_its_keypoints_lie_near_those_of_the_skin() -> None:
    body, pose, betas = NumpyBody(ARRAYS), random_pose(7, 0.3), random_betas(7)
    body.set_shape(betas)
    vertices, joints = body.pose(pose[0], pose[1:], np.zeros(3, np.float32))
    found, coco = Skeleton(ARRAYS)(axis_angle_to_matrix(pose), betas)
    np.testing.assert_allclose(found, joints, atol=1e-5)
    off = np.linalg.norm(coco - body.coco(vertices), axis=1)
    assert off.mean() < 0.01
    assert off[[COCO_NAMES.index(name) for name in ("nose", "left_wrist", "right_knee")]].max() < 0.02


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(24, 3, 3\)"):
        Skeleton(ARRAYS)(np.zeros((24, 3), np.float32), np.zeros(10))
