"""The mechanics by which keypoints pull at a body, and the rounds of correction made of them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import roma  # noqa: E402

from body.joints import COCO_NAMES, JOINT_NAMES, PARENTS  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from export.conversion.kinematics import SkeletonGraph  # noqa: E402
from training.networks.geometry import rotation_from_6d  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.refinement import LocalKeypoints, Mechanics, Posed, rotations_from_axes  # noqa: E402

PEOPLE = 6


@pytest.fixture(scope="module")
def mechanics() -> Mechanics:
    return Mechanics()


def people(seed: int, stir: float = 0.3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rotations (24, 3, 3, N), betas (10, N) and pelvis (3, N) of upright people some metres before the camera, in random
    poses."""
    chance = torch.Generator().manual_seed(seed)
    pose = torch.randn(PEOPLE, 24, 3, generator=chance) * stir
    rotations = roma.rotvec_to_rotmat(pose)
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1, -1])) @ rotations[:, 0]
    pelvis = torch.tensor([0.1, -0.2, 3.0]) + torch.randn(PEOPLE, 3, generator=chance) * 0.2
    betas = torch.randn(PEOPLE, 10, generator=chance) * 0.7
    return rotations.permute(1, 2, 3, 0).contiguous(), betas.T.contiguous(), pelvis.T.contiguous()


def turned_by(axes: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Rotations (..., 3, 3, N) turned by rotation vectors (..., 3, N)."""
    turn = roma.rotvec_to_rotmat(axes.movedim(-1, 0).contiguous())
    return (turn @ rotations.movedim(-1, 0)).movedim(0, -1)


def seen(mechanics: Mechanics, rotations: torch.Tensor, betas: torch.Tensor, pelvis: torch.Tensor) -> LocalKeypoints:
    """Exact keypoints of a body."""
    _, _, coco = mechanics.body.frames_batch_last(rotations, betas)
    placed = coco + pelvis
    rays = placed[:, :2] / placed[:, 2:]
    return LocalKeypoints(rays, torch.ones(17, PEOPLE), rays.std((0, 1)))


def misfit(mechanics: Mechanics, answer: tuple[torch.Tensor, ...], keypoints: LocalKeypoints) -> torch.Tensor:
    return mechanics.pose(*answer, keypoints).residual.square().sum((0, 1))


def test_the_torque_is_the_gradient_of_the_squared_distance(mechanics: Mechanics) -> None:
    truth, betas, pelvis = people(1)
    keypoints = seen(mechanics, truth, betas, pelvis)
    start = people(2)[0]
    weight = torch.rand(17, PEOPLE, generator=torch.Generator().manual_seed(3))
    posed = mechanics.pose(start, betas, pelvis, keypoints)
    turns = mechanics.joint_rotations(posed, weight, keypoints.size)

    small = torch.zeros(24, 3, PEOPLE, requires_grad=True)
    turned = mechanics.pose(turned_by(small, start), betas, pelvis, keypoints)
    # Distances in metres at the keypoints' depth, which is held fast.
    metres = (keypoints.rays - turned.projected) * posed.depth[:, None]
    (-0.5 * (weight[:, None] * metres.square()).sum()).backward()
    assert small.grad is not None
    # Turns are this gradient over the moment of inertia: the same direction, joint by joint.
    free = (turns.abs().amax(1) < 0.99) & (small.grad.norm(dim=1) > 1e-5)
    assert free.float().mean() > 0.6
    alike = torch.cosine_similarity(turns, small.grad, 1)
    assert alike[free].min() > 0.999


@pytest.mark.parametrize("name", ["left_elbow", "right_knee", "left_shoulder", "pelvis"])
def test_a_joint_alone_turns_back_what_is_off(mechanics: Mechanics, name: str) -> None:
    rotations, betas, pelvis = people(4, 0.1)
    joint = JOINT_NAMES.index(name)
    keypoints = seen(mechanics, rotations, betas, pelvis)
    globals_, _, _ = mechanics.body.frames_batch_last(rotations, betas)
    # A turn about the line of sight, where an image shows all of it, written in the parent's frame.
    axis = torch.tensor([0.0, 0, 0.1])[:, None].expand(3, PEOPLE)
    if joint:
        axis = (globals_[PARENTS[joint]] * axis[:, None]).sum(0)
    bent = rotations.clone()
    bent[joint] = turned_by(axis, rotations[joint])
    posed = mechanics.pose(bent, betas, pelvis, keypoints)
    turn = mechanics.joint_rotations(posed, torch.ones(17, PEOPLE), keypoints.size)[joint]
    back = (turn * -axis).sum(0) / axis.square().sum(0)
    # Less than all: the inertia counts lengths along the line of sight as well, and is damped.
    assert (back > 0.3).all()
    assert (back < 1.15).all()


def test_a_shifted_body_is_moved_back(mechanics: Mechanics) -> None:
    rotations, betas, pelvis = people(5, 0.2)
    keypoints = seen(mechanics, rotations, betas, pelvis)
    every = torch.ones(17, PEOPLE)
    aside = torch.tensor([0.05, -0.03, 0.0])[:, None]
    shift = mechanics.shift(mechanics.pose(rotations, betas, pelvis + aside, keypoints), every, keypoints.size)
    metres = shift[:2] * keypoints.size * pelvis[2:]
    torch.testing.assert_close(metres, -aside[:2].expand(2, PEOPLE), atol=0.005, rtol=0.05)
    further = pelvis * 1.1
    shift = mechanics.shift(mechanics.pose(rotations, betas, further, keypoints), every, keypoints.size)
    torch.testing.assert_close(shift[2], torch.full((PEOPLE,), -0.095), atol=0.02, rtol=0)


def test_what_is_not_believed_does_not_pull(mechanics: Mechanics) -> None:
    rotations, betas, pelvis = people(6)
    keypoints = seen(mechanics, rotations, betas, pelvis)
    rays = keypoints.rays.clone()
    wrist = COCO_NAMES.index("left_wrist")
    rays[wrist] += 0.3
    weight = torch.ones(17, PEOPLE)
    weight[wrist] = 0
    posed = mechanics.pose(rotations, betas, pelvis, keypoints._replace(rays=rays))
    assert isinstance(posed, Posed)
    assert mechanics.joint_rotations(posed, weight, keypoints.size).abs().max() < 1e-5
    assert mechanics.shift(posed, weight, keypoints.size).abs().max() < 1e-5


def test_untrained_rounds_lay_a_body_over_its_keypoints() -> None:
    """Before anything is learned the rounds already are a fit."""
    torch.manual_seed(0)
    network = Lifter(LifterConfig(64, 1, 32, flow=False, rounds=4, correction=32)).eval()
    truth, betas, pelvis = people(7, 0.25)
    keypoints = seen(network.mechanics, truth, betas, pelvis)
    raw = torch.cat([people(8, 0.1)[0][:, :, :2].transpose(1, 2).flatten(0, 2), torch.zeros(3, PEOPLE)])
    raw[-3:-1] = keypoints.rays.mean(0) / keypoints.size

    def missed(raw: torch.Tensor) -> torch.Tensor:
        rotations, pelvis = network._decode(raw, keypoints.size)
        return misfit(network.mechanics, (rotations, betas, pelvis), keypoints)

    before, after = missed(raw), missed(network._refine(raw, betas, torch.zeros(PEOPLE, 96), keypoints))
    assert (after < 0.75 * before).all()
    assert after.sum() < 0.6 * before.sum()


def test_refinement_needs_keypoints() -> None:
    with pytest.raises(ValueError, match="keypoints"):
        LifterConfig(keypoints=False, rounds=2)


def test_the_graph_s_kinematics_are_the_body_s() -> None:
    body = TorchBody(load_body())
    rotations, betas, _ = people(9, 0.6)
    betas = betas * 4  # beyond the limit, too
    graph = SkeletonGraph(body).frames_batch_last(rotations, betas)
    for mine, theirs in zip(graph, body.frames_batch_last(rotations, betas), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=0)


def test_columns_make_the_same_rotations_in_either_layout() -> None:
    six = torch.randn(PEOPLE, 24, 6, generator=torch.Generator().manual_seed(5))
    axes = six.reshape(PEOPLE, 24, 2, 3).permute(1, 2, 3, 0)
    torch.testing.assert_close(rotations_from_axes(axes).permute(3, 0, 1, 2), rotation_from_6d(six))
