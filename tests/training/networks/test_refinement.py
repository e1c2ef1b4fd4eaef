"""The mechanics by which keypoints pull at a body, and the rounds of correction made of them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import roma  # noqa: E402

from body.joints import COCO_NAMES, JOINT_NAMES, PARENTS  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from export.conversion.kinematics import SkeletonGraph  # noqa: E402
from training.networks.lifter import Lifter, LifterConfig  # noqa: E402
from training.networks.refinement import Mechanics, Posed, Sight  # noqa: E402

PEOPLE = 6


@pytest.fixture(scope="module")
def mechanics() -> Mechanics:
    return Mechanics()


def people(seed: int, stir: float = 0.3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rotations, betas and pelvis of upright people some metres before the camera, in random poses."""
    chance = torch.Generator().manual_seed(seed)
    pose = torch.randn(PEOPLE, 24, 3, generator=chance) * stir
    rotations = roma.rotvec_to_rotmat(pose)
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1, -1])) @ rotations[:, 0]
    pelvis = torch.tensor([0.1, -0.2, 3.0]) + torch.randn(PEOPLE, 3, generator=chance) * 0.2
    return rotations, torch.randn(PEOPLE, 10, generator=chance) * 0.7, pelvis


def seen(mechanics: Mechanics, rotations: torch.Tensor, betas: torch.Tensor, pelvis: torch.Tensor) -> Sight:
    """Exact keypoints of a body."""
    _, _, coco = mechanics.body.frames(rotations, betas)
    placed = coco + pelvis[:, None]
    rays = placed[..., :2] / placed[..., 2:]
    return Sight(rays, torch.ones(PEOPLE, 17), rays.std((1, 2)))


def misfit(mechanics: Mechanics, answer: tuple[torch.Tensor, ...], sight: Sight) -> torch.Tensor:
    return mechanics.pose(*answer, sight).off.square().sum((1, 2))


def test_the_torque_is_the_gradient_of_the_squared_distance(mechanics: Mechanics) -> None:
    truth, betas, pelvis = people(1)
    sight = seen(mechanics, truth, betas, pelvis)
    start = people(2)[0]
    weight = torch.rand(PEOPLE, 17, 1, generator=torch.Generator().manual_seed(3))
    size = sight.size[:, None, None]
    posed = mechanics.pose(start, betas, pelvis, sight)
    turns = mechanics.turns(posed, weight, size)

    small = torch.zeros(PEOPLE, 24, 3, requires_grad=True)
    turned = mechanics.pose(roma.rotvec_to_rotmat(small) @ start, betas, pelvis, sight)
    # Distances in metres at the keypoints' depth, which is held fast.
    metres = (sight.rays - turned.drawn) * posed.depth
    (-0.5 * (weight * metres.square()).sum()).backward()
    assert small.grad is not None
    # Turns are this gradient over the moment of inertia: the same direction, joint by joint.
    free = (turns.abs().amax(-1) < 0.99) & (small.grad.norm(dim=-1) > 1e-5)
    assert free.float().mean() > 0.6
    alike = torch.cosine_similarity(turns, small.grad, -1)
    assert alike[free].min() > 0.999


@pytest.mark.parametrize("name", ["left_elbow", "right_knee", "left_shoulder", "pelvis"])
def test_a_joint_alone_turns_back_what_is_off(mechanics: Mechanics, name: str) -> None:
    rotations, betas, pelvis = people(4, 0.1)
    joint = JOINT_NAMES.index(name)
    sight = seen(mechanics, rotations, betas, pelvis)
    globals_, _, _ = mechanics.body.frames(rotations, betas)
    # A turn about the line of sight, where a picture shows all of it, written in the parent's frame.
    axis = torch.tensor([0.0, 0, 0.1]).expand(PEOPLE, 3)
    if joint:
        axis = (globals_[:, PARENTS[joint]].mT @ axis[..., None])[..., 0]
    bent = rotations.clone()
    bent[:, joint] = roma.rotvec_to_rotmat(axis) @ rotations[:, joint]
    posed = mechanics.pose(bent, betas, pelvis, sight)
    turn = mechanics.turns(posed, torch.ones(PEOPLE, 17, 1), sight.size[:, None, None])[:, joint]
    back = (turn * -axis).sum(-1) / axis.square().sum(-1)
    # Less than all: the inertia counts lengths along the line of sight as well, and is damped.
    assert (back > 0.3).all()
    assert (back < 1.15).all()


def test_a_shifted_body_is_moved_back(mechanics: Mechanics) -> None:
    rotations, betas, pelvis = people(5, 0.2)
    sight = seen(mechanics, rotations, betas, pelvis)
    size = sight.size[:, None, None]
    every = torch.ones(PEOPLE, 17, 1)
    aside = torch.tensor([0.05, -0.03, 0.0])
    shift = mechanics.shift(mechanics.pose(rotations, betas, pelvis + aside, sight), every, size)
    metres = shift[:, :2] * sight.size[:, None] * pelvis[:, 2:]
    torch.testing.assert_close(metres, -aside[:2].expand(PEOPLE, 2), atol=0.005, rtol=0.05)
    further = pelvis * 1.1
    shift = mechanics.shift(mechanics.pose(rotations, betas, further, sight), every, size)
    torch.testing.assert_close(shift[:, 2], torch.full((PEOPLE,), -0.095), atol=0.02, rtol=0)


def test_what_is_not_believed_does_not_pull(mechanics: Mechanics) -> None:
    rotations, betas, pelvis = people(6)
    sight = seen(mechanics, rotations, betas, pelvis)
    rays = sight.rays.clone()
    wrist = COCO_NAMES.index("left_wrist")
    rays[:, wrist] += 0.3
    weight = torch.ones(PEOPLE, 17, 1)
    weight[:, wrist] = 0
    posed = mechanics.pose(rotations, betas, pelvis, sight._replace(rays=rays))
    assert isinstance(posed, Posed)
    size = sight.size[:, None, None]
    assert mechanics.turns(posed, weight, size).abs().max() < 1e-5
    assert mechanics.shift(posed, weight, size).abs().max() < 1e-5


def test_untrained_rounds_lay_a_body_over_its_keypoints() -> None:
    """Before anything is learned the rounds already are a fit."""
    torch.manual_seed(0)
    network = Lifter(LifterConfig(64, 1, 32, flow=False, rounds=4, correction=32)).eval()
    truth, betas, pelvis = people(7, 0.25)
    sight = seen(network.mechanics, truth, betas, pelvis)
    raw = torch.cat([people(8, 0.1)[0][..., :2].mT.flatten(1), betas, torch.zeros(PEOPLE, 3)], 1)
    raw[:, -3:-1] = sight.rays.mean(1) / sight.size[:, None]
    before = misfit(network.mechanics, network._decode(raw, sight.size), sight)
    batched = Sight(*(part[:, None] for part in sight))
    refined = network._refine(raw[:, None], torch.zeros(PEOPLE, 1, 96), batched)[:, 0]
    after = misfit(network.mechanics, network._decode(refined, sight.size), sight)
    assert (after < 0.75 * before).all()
    assert after.sum() < 0.6 * before.sum()


def test_refinement_needs_keypoints() -> None:
    with pytest.raises(ValueError, match="keypoints"):
        LifterConfig(keypoints=False, rounds=2)


def test_the_graph_s_kinematics_are_the_body_s() -> None:
    body = TorchBody(load_body())
    rotations, betas, _ = people(9, 0.6)
    betas = betas * 4  # beyond the limit, too
    for mine, theirs in zip(SkeletonGraph(body).frames(rotations, betas), body.frames(rotations, betas), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=0)
