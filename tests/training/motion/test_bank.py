"""Drawn motion: true time, true pairs of limbs, no impossible jumps."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import roma  # noqa: E402

from body.joints import JOINT_MIRROR  # noqa: E402
from training.motion.bank import NONE, Augmentation, MotionBank  # noqa: E402
from training.motion.clip import Clip  # noqa: E402


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
    everything = Augmentation(graft_arms=0.5, free_arms=0.5, free_legs=0.5, seated=0.5, tumble=0.5)
    window = MotionBank(clips, seed=2).sample(64, 24, everything, torch.full((64,), 30.0))
    r = window.rotations
    torch.testing.assert_close(r @ r.transpose(-1, -2), torch.eye(3).expand_as(r), atol=1e-4, rtol=0)
    step = roma.rotmat_geodesic_distance(r[:, 1:], r[:, :-1])
    # 30 rad/s is more than a boxer's elbow does; a jump between clips would be more.
    assert float(step.max()) * 30 < 45
    assert float(step.mean()) > 0.005


def test_mirroring_exchanges_the_sides(clips: list[Clip]) -> None:
    plain = MotionBank(clips[:1], seed=7)
    only_mirror = Augmentation(1.0, 1.0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0)
    window = plain.sample(8, 10, only_mirror, torch.full((8,), 30.0))
    vectors = roma.rotmat_to_rotvec(window.rotations).numpy()[:, :, list(JOINT_MIRROR)] * [1, -1, -1]
    recorded = clips[0].rotations
    for row in range(8):
        assert min(np.abs(recorded[s : s + 10] - vectors[row]).max() for s in range(len(recorded) - 9)) < 0.06


def test_no_clips_is_an_error() -> None:
    with pytest.raises(ValueError, match="no motion"):
        MotionBank([])
