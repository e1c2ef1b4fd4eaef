"""Hand-made poses: where limbs end up, and how they are blended into motion."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
import roma
import torch

from body.joints import JOINT_NAMES
from body.lbs_torch import TorchBody
from training.motion.key_poses import KEY_POSES, KeyPose, blend_key_poses, pose_tables, turn

INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}


def joints_of(body: TorchBody) -> dict[str, torch.Tensor]:
    """Joints (24, 3) of every pose on an otherwise straight body."""
    quaternions, _, _ = pose_tables()
    joints, _ = body.skeleton(roma.unitquat_to_rotmat(quaternions), torch.zeros(len(quaternions), 10))
    return {pose.name: joints[row] for row, pose in enumerate(KEY_POSES)}


def test_poses_are_what_their_names_say(body: TorchBody) -> None:
    place = joints_of(body)

    def at(pose: str, joint: str) -> torch.Tensor:
        return place[pose][INDEX[joint]]

    def apart(pose: str, a: str, b: str) -> float:
        return float((at(pose, a) - at(pose, b)).norm())

    for pose in ("hand on the chin", "hand on the cheek", "phone at the ear", "scratching the head", "drinking"):
        assert apart(pose, "left_hand", "head") < 0.28, pose
        assert apart(pose, "right_hand", "head") > 0.5, pose
    for pose in ("hands behind the head", "hands before the face"):
        assert max(apart(pose, f"{side}_hand", "head") for side in ("left", "right")) < 0.3, pose
    assert at("hands behind the head", "left_hand")[2] < at("hands before the face", "left_hand")[2] - 0.1
    assert apart("hands on the hips", "left_hand", "left_hip") < 0.3
    for pose in ("push-up top", "forearm plank", "all fours", "lying on the back", "lying on the side", "bridge"):
        assert abs(float(at(pose, "neck")[1])) < 0.35, pose  # the trunk is level
    assert at("squat down", "left_knee")[1] > -0.3
    assert at("squat up", "left_ankle")[1] < -0.75
    assert at("press up", "left_wrist")[1] > at("press up", "head")[1] + 0.3
    assert (
        abs(float(at("sitting, legs straight", "left_ankle")[1] - at("sitting, legs straight", "left_hip")[1])) < 0.25
    )
    # Lying on the back looks up, on all fours down.
    quaternions, _, _ = pose_tables()
    names = [pose.name for pose in KEY_POSES]
    facing = roma.unitquat_to_rotmat(quaternions[:, 0])[:, :, 2]
    assert facing[names.index("lying on the back"), 1] > 0.9
    assert facing[names.index("push-up top"), 1] < -0.9


def test_the_two_ends_of_a_movement_know_each_other() -> None:
    _, _, back = pose_tables()
    names = [pose.name for pose in KEY_POSES]
    assert len(set(names)) == len(names)
    for row, other in enumerate(back.tolist()):
        assert back[other] == row
    assert names[back[names.index("squat down")]] == "squat up"


def test_turns_are_read_in_order() -> None:
    quarter = roma.unitquat_to_rotmat(turn("y90 x90"))
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
    torch.testing.assert_close(quarter, expected, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="axis"):
        turn("w30")
    with pytest.raises(ValueError, match="tail"):
        pose_tables((KeyPose("cat", {"tail": "x10"}),))


def motion(batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(batch, 1, 24, 3, generator=generator) * 0.2
    vectors[:, :, 0] = torch.tensor([0.0, 1.0, 0.0])
    return roma.rotvec_to_unitquat(vectors.expand(batch, length, 24, 3).contiguous()), (
        torch.arange(length) / 30.0
    ).expand(batch, length)


def test_only_chosen_windows_and_named_joints_change() -> None:
    q, times = motion(200, 16)
    before = q.clone()
    untouched = blend_key_poses(q, times, torch.Generator().manual_seed(0), chance=0.0)
    torch.testing.assert_close(untouched, q, atol=1e-6, rtol=0)
    out = blend_key_poses(q, times, torch.Generator().manual_seed(0), chance=0.5)
    torch.testing.assert_close(q, before, atol=0, rtol=0)
    torch.testing.assert_close(out.norm(dim=-1), torch.ones(200, 16, 24), atol=1e-5, rtol=0)
    changed = (out - q).abs().amax((1, 2, 3)) > 1e-3
    assert 0.35 < float(changed.float().mean()) < 0.65
    spine = [INDEX[name] for name in ("left_wrist", "left_hand", "right_hand")]
    assert ((out - q)[:, :, spine].abs().amax((1, 2, 3)) < 1e-3).float().mean() > 0.9
    again = blend_key_poses(q, times, torch.Generator().manual_seed(0), chance=0.5)
    torch.testing.assert_close(out, again, atol=0, rtol=0)


def test_blended_motion_is_smooth_and_keeps_its_heading() -> None:
    q, times = motion(300, 20)
    out = roma.unitquat_to_rotmat(blend_key_poses(q, times, torch.Generator().manual_seed(2), chance=1.0))
    step = roma.rotmat_geodesic_distance(out[:, 1:], out[:, :-1]) * 30
    assert float(step.max()) < 25  # rad/s
    upright = out[:, 0, 0, 1, 1] > 0.95
    facing = torch.atan2(out[upright, 0, 0, 0, 2], out[upright, 0, 0, 2, 2])
    torch.testing.assert_close(facing, torch.ones_like(facing), atol=0.35, rtol=0)
