"""The torch body against the numpy one, and its skeleton path against its own skin."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from body.joints import COCO_JOINT, COCO_NAMES, JOINT_NAMES
from body.lbs import NumpyBody
from body.lbs_torch import TorchBody
from body.model import BodyArrays, load_body
from body.rotations import axis_angle_to_matrix
from tests.body.smpl_like import random_betas, random_pose


@pytest.fixture(scope="module", params=["body_6890", "body_1722"])
def body(request: pytest.FixtureRequest) -> BodyArrays:
    return load_body(str(request.param))


def batch(count: int, spread: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    poses = np.stack([random_pose(seed, spread) for seed in range(count)])
    betas = np.stack([random_betas(seed) for seed in range(count)])
    return torch.from_numpy(axis_angle_to_matrix(poses)), torch.from_numpy(betas)


def test_equals_numpy(body: BodyArrays) -> None:
    rotations, betas = batch(4)
    vertices, joints = TorchBody(body)(rotations.reshape(2, 2, 24, 3, 3), betas.reshape(2, 2, 10))
    assert vertices.shape == (2, 2, body.vertex_count, 3)
    posed = NumpyBody(body)
    for seed in range(4):
        posed.set_shape(random_betas(seed))
        pose = random_pose(seed, 0.5)
        wanted, wanted_joints = posed.pose(pose[0], pose[1:], np.zeros(3))
        np.testing.assert_allclose(vertices.reshape(4, -1, 3)[seed].numpy(), wanted, atol=5e-6)
        np.testing.assert_allclose(joints.reshape(4, -1, 3)[seed].numpy(), wanted_joints, atol=5e-6)


def test_the_skeleton_has_the_joints_of_the_skin(body: BodyArrays) -> None:
    model = TorchBody(body)
    rotations, betas = batch(5)
    joints, coco = model.skeleton(rotations, betas)
    np.testing.assert_allclose(joints.numpy(), model(rotations, betas)[1].numpy(), atol=1e-6)
    assert coco.shape == (5, 17, 3)
    np.testing.assert_allclose(joints[:, 0].numpy(), 0, atol=0)


def test_skeleton_keypoints_equal_the_regressed_ones_at_rest_and_stay_near(body: BodyArrays) -> None:
    model, regressor = TorchBody(body), torch.from_numpy(np.array(body.coco_regressor))
    rotations, betas = batch(5, 0.3)
    still = torch.eye(3).expand(5, 24, 3, 3)
    for turned, limit in ((still, 1e-5), (rotations, 0.03)):
        _, coco = model.skeleton(turned, betas)
        vertices, _ = model(turned, betas)
        gap = (coco - regressor @ vertices).norm(dim=-1)
        assert gap.max() < limit, dict(zip(COCO_NAMES, gap.amax(0).tolist(), strict=True))


def test_keypoints_ride_on_the_right_joint(body: BodyArrays) -> None:
    """Turning a joint's children moves nothing that is fixed to the joint itself."""
    model = TorchBody(body)
    rotations, betas = batch(1)
    for index, joint in enumerate(COCO_JOINT):
        _, before = model.skeleton(rotations, betas)
        bent = rotations.clone()
        bent[:, joint + 1 :] = torch.eye(3)
        later = torch.zeros(24, dtype=torch.bool)
        later[joint + 1 :] = True
        _, after = model.skeleton(bent, betas)
        np.testing.assert_allclose(after[0, index].numpy(), before[0, index].numpy(), atol=1e-6)
    assert COCO_JOINT[0] == JOINT_NAMES.index("head")
    assert COCO_JOINT[COCO_NAMES.index("left_hip")] == 0


def test_gradients_are_right(body: BodyArrays) -> None:
    model = TorchBody(body).double()
    rotations, betas = batch(1)
    inputs = rotations.double().requires_grad_(True), (0.5 * betas.double()).requires_grad_(True)
    assert torch.autograd.gradcheck(model.skeleton, inputs)


def test_betas_are_clamped_as_in_numpy(body: BodyArrays) -> None:
    rotations, betas = batch(1)
    model = TorchBody(body)
    far, edge = torch.full_like(betas, 7.0), torch.full_like(betas, 2.0)
    assert torch.equal(model(rotations, far)[0], model(rotations, edge)[0])
