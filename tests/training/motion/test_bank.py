"""Drawn motion: true time, true pairs of limbs, no impossible jumps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import roma  # noqa: E402

from body.joints import JOINT_MIRROR, JOINT_NAMES  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from training.motion.bank import NONE, Augmentation, MotionBank  # noqa: E402
from training.motion.clip import ANKLE_HEIGHT, Clip, adapt_clips  # noqa: E402
from training.motion.posture import joint_angles  # noqa: E402
from training.motion.rest import default_rest_joints, rest_bones, to_default_rest  # noqa: E402
from training.motion.statistics import largest_gap  # noqa: E402


def test_without_augmentation_a_window_is_a_piece_of_a_clip(clips: list[Clip]) -> None:
    bank = MotionBank(clips, seed=3)
    window = bank.sample(16, 20, NONE, torch.full((16,), 30.0))
    vectors = roma.rotmat_to_rotvec(window.rotations).numpy()
    for row in range(16):
        best = min(
            np.abs(clip.rotations[start : start + 20] - vectors[row]).max()
            for clip in clips
            for start in range(len(clip.rotations) - 19)
        )
        # Windows start between frames, too: half a frame of the fastest joint lies within this.
        assert best < 0.06


def test_the_same_seed_draws_the_same(clips: list[Clip]) -> None:
    a, b = (MotionBank(clips, seed=5).sample(4, 12, Augmentation()) for _ in range(2))
    torch.testing.assert_close(a.rotations, b.rotations, atol=0, rtol=0)
    torch.testing.assert_close(a.dt, b.dt, atol=0, rtol=0)


def test_time_steps_are_those_of_the_frame_rate_and_of_dropped_frames(clips: list[Clip]) -> None:
    window = MotionBank(clips, seed=1).sample(64, 16, Augmentation(), torch.full((64,), 25.0))
    steps = np.unique(window.dt.numpy())
    np.testing.assert_allclose(steps, [0.04, 0.08], rtol=1e-6)


def test_augmented_windows_are_rotations_that_change_smoothly(clips: list[Clip]) -> None:
    everything = Augmentation(graft_arms=0.5, free_arms=0.5, free_legs=0.5, seated=0.3, tumble=0.5)
    window = MotionBank(clips, seed=2).sample(64, 24, everything, torch.full((64,), 30.0))
    r = window.rotations
    torch.testing.assert_close(r @ r.transpose(-1, -2), torch.eye(3).expand_as(r), atol=1e-4, rtol=0)
    step = roma.rotmat_geodesic_distance(r[:, 1:], r[:, :-1])
    # 30 rad/s is more than a boxer's elbow does; a jump between clips would be more.
    assert float(step.max()) * 30 < 45
    assert float(step.mean()) > 0.005


def test_mirroring_exchanges_the_sides(clips: list[Clip]) -> None:
    plain = MotionBank(clips[:1], seed=7)
    only_mirror = replace(NONE, mirror=1.0)
    window = plain.sample(8, 10, only_mirror, torch.full((8,), 30.0))
    vectors = roma.rotmat_to_rotvec(window.rotations).numpy()[:, :, list(JOINT_MIRROR)] * [1, -1, -1]
    recorded = clips[0].rotations
    for row in range(8):
        assert min(np.abs(recorded[s : s + 10] - vectors[row]).max() for s in range(len(recorded) - 9)) < 0.06


def test_no_clips_is_an_error() -> None:
    with pytest.raises(ValueError, match="no motion"):
        MotionBank([])


def straight_people() -> list[Clip]:
    """Two clips of somebody who stands in the T-pose, and one who squats deeply."""
    pelvis = np.tile(np.float32([0, 0.9, 0]), (60, 1))
    still = np.zeros((60, 24, 3), np.float32)
    down = still.copy()
    bend = np.radians(60 - 60 * np.cos(np.arange(60) * (2 * np.pi / 59)))
    down[:, [1, 2], 0], down[:, [4, 5], 0], down[:, [7, 8], 0] = (
        (-bend / 2)[:, None],
        bend[:, None],
        (-bend / 2)[:, None],
    )
    made = [
        Clip(name, name, "", "CC0-1.0", "train", 30.0, turns, pelvis, 60.0, True)
        for name, turns in (("still", still), ("still too", still), ("squat", down))
    ]
    return adapt_clips(made, default_rest_joints())


def knees_of(window: torch.Tensor, body: TorchBody) -> torch.Tensor:
    turned, joints, _ = body.frames(window, torch.zeros(*window.shape[:2], 10))
    return joint_angles(joints, turned)["knee flexion"]


def test_who_stands_straight_stays_straight_and_knees_keep_their_distribution(body: TorchBody) -> None:
    bank = MotionBank(straight_people(), seed=1)
    changes = replace(Augmentation(), seated=0.0, key_poses=0.0, free_legs=0.0)
    raw, drawn = (
        knees_of(bank.sample(400, 12, how, torch.full((400,), 10.0)).rotations, body).flatten()
        for how in (NONE, changes)
    )
    # A third of the draws squat; all others have straight legs, and keep them to a tenth of a degree.
    assert abs(float((drawn < 0.1).float().mean() - (raw < 0.1).float().mean())) < 0.08
    assert largest_gap(drawn.round().numpy(), raw.round().numpy()) < 0.08
    assert float(drawn.max()) > float(raw.max()) + 3  # some bend further than anybody was recorded to


def test_bent_further_the_foot_stays_under_the_hip_and_flat(body: TorchBody) -> None:
    bank = MotionBank(straight_people()[2:], seed=3)
    scaled = replace(NONE, mirror=1e-9, flexion_scale=0.2)
    window = bank.sample(50, 6, scaled, torch.full((50,), 10.0))
    joints, _ = body.skeleton(window.rotations, torch.zeros(50, 6, 10))
    hip, ankle, toes = (joints[..., JOINT_NAMES.index(f"left_{name}"), :] for name in ("hip", "ankle", "foot"))
    assert float((ankle - hip)[..., 2].abs().max()) < 0.02
    rest = default_rest_joints()
    slope = np.diff(rest[[JOINT_NAMES.index("left_ankle"), JOINT_NAMES.index("left_foot")], 1])[0]
    torch.testing.assert_close((toes - ankle)[..., 1], torch.full((50, 6), float(slope)), atol=0.01, rtol=0)


def test_changed_legs_stay_on_the_floor_and_do_not_slide(body: TorchBody) -> None:
    bank = MotionBank(straight_people(), seed=4)
    window = bank.sample(64, 40, replace(NONE, mirror=1e-9, seated=1.0), torch.full((64,), 30.0))
    joints, _ = body.skeleton(window.rotations, torch.zeros(64, 40, 10))
    placed = joints + window.pelvis[:, :, None]
    ankles, feet = (
        placed[:, :, [JOINT_NAMES.index(f"{side}_{name}") for side in ("left", "right")]] for name in ("ankle", "foot")
    )
    lowest = torch.cat([ankles[..., 1] - ANKLE_HEIGHT, feet[..., 1] - 0.02], -1).amin(-1)
    torch.testing.assert_close(lowest, torch.zeros_like(lowest), atol=1e-4, rtol=0)
    assert float(window.pelvis[..., 1].min()) > 0.25
    assert float(window.pelvis[..., 1].max()) < 0.8
    speed = (feet[:, 1:] - feet[:, :-1]).norm(dim=-1).amin(-1) * 30
    assert float(speed.quantile(0.95)) < 0.05  # m/s, of the foot that stands


def test_angles_from_the_canonical_pose_mean_the_same_on_the_default_body() -> None:
    legs = [JOINT_NAMES.index(name) for name in ("left_hip", "left_knee", "left_ankle")]
    straight = to_default_rest(torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(3, 4).contiguous(), legs)
    thigh, shank = rest_bones("left_hip", "left_knee", "left_ankle")
    down = torch.tensor([0.0, -1.0, 0.0])
    torch.testing.assert_close(roma.quat_action(straight[0], thigh), down, atol=1e-5, rtol=0)
    whole = roma.quat_product(straight[0], straight[1])
    torch.testing.assert_close(roma.quat_action(whole, shank), down, atol=1e-5, rtol=0)


def test_single_frames_can_be_drawn(clips: list[Clip]) -> None:
    window = MotionBank(clips, seed=2).sample(64, 1, Augmentation(seated=0.5))
    assert window.rotations.shape == (64, 1, 24, 3, 3)
    assert bool(torch.isfinite(window.pelvis).all())
