"""The bias of CMU's knees: found from walks, taken off, and nothing else moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from body.joints import JOINT_NAMES
from training.motion.__main__ import app
from training.motion.clip import Clip, joint_positions
from training.motion.knees import flexion, knee_biases, straighten, straighten_clips, straightest, walks
from training.motion.pack import load_motion_pack

from .skeletons import canonical_rest, write_amc, write_asf

HIP, KNEE, ANKLE = (JOINT_NAMES.index(f"left_{joint}") for joint in ("hip", "knee", "ankle"))


def walk(bias: float = 0.0, subject: str = "1", speed: float = 1.3, source: str = "CMU", deepest: float = 60.0) -> Clip:
    """4 s of a gait whose knees bend from 3 degrees to ``deepest``, with ``bias`` put in as a wrong joint centre does."""
    count = 120
    phase = np.arange(count) / 30 * 2 * np.pi
    turns = np.zeros((count, 24, 3), np.float32)
    for side, shift in (("left", 0.0), ("right", np.pi)):
        hip, knee, ankle = (JOINT_NAMES.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))
        bend = np.radians(3 + (deepest - 3) * np.clip(np.sin(phase + shift), 0, None) ** 2 + bias)
        turns[:, knee, 0] = bend
        turns[:, hip, 0] = -0.4 * np.sin(phase + shift) - np.radians(bias) / 2
        turns[:, ankle, 0] = -np.radians(bias) / 2
    pelvis = np.zeros((count, 3), np.float32)
    pelvis[:, 2] = np.arange(count) / 30 * speed
    return Clip("walk", subject, "", "", "train", 30.0, turns, pelvis, 120.0, source=source)


@given(st.floats(0, 14))
def test_a_walk_tells_its_own_bias(bias: float) -> None:
    biased = walk(bias)
    assert walks(biased)
    assert knee_biases([biased])[0] == pytest.approx(bias, abs=0.3)
    straight = replace(biased, rotations=straighten(biased.rotations, bias))
    assert straightest(straight) == pytest.approx(3, abs=0.3)
    wanted = flexion(walk().rotations, KNEE)
    few = wanted + bias < 60
    np.testing.assert_allclose(flexion(straight.rotations, KNEE)[few], wanted[few], atol=0.05)


def test_the_foot_keeps_its_direction_and_stays_under_the_hip() -> None:
    biased = walk(10.0)
    straight = straighten(biased.rotations, 10.0)
    before, after = (joint_positions(turns, biased.pelvis, canonical_rest()) for turns in (biased.rotations, straight))
    still = [joint for joint in range(24) if JOINT_NAMES[joint].split("_")[-1] not in ("knee", "ankle", "foot")]
    np.testing.assert_allclose(after[:, still], before[:, still], atol=1e-6)
    feet = [JOINT_NAMES.index("left_ankle"), JOINT_NAMES.index("left_foot")]
    np.testing.assert_allclose(np.diff(after[:, feet], axis=1), np.diff(before[:, feet], axis=1), atol=1e-5)
    line, longer = before[:, ANKLE] - before[:, HIP], after[:, ANKLE] - after[:, HIP]
    length = np.linalg.norm(line, axis=-1), np.linalg.norm(longer, axis=-1)
    assert (length[1] >= length[0] - 1e-6).all()
    assert (length[1] - length[0]).max() < 0.04  # m: legs are longer when straight
    cosine = (line * longer).sum(-1) / (length[0] * length[1])
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 1


def test_bent_knees_lose_less_and_none_bends_backwards() -> None:
    turns = np.zeros((3, 24, 3), np.float32)
    turns[:, KNEE, 0] = np.radians([5, 60, 140])
    assert np.degrees(straighten(turns, 10.0)[:, KNEE, 0]) == pytest.approx([1, 50, 136], abs=0.01)


def test_others_take_their_subjects_median_but_no_more_than_they_show() -> None:
    still = np.zeros((60, 3), np.float32)
    standing = replace(walk(6.0), pelvis=still[:1].repeat(120, 0), name="standing")
    nearly_straight = replace(walk(2.0), pelvis=standing.pelvis)
    stranger = replace(standing, subject="9")
    clips = [walk(4.0), walk(5.0), walk(9.0), standing, nearly_straight, stranger]
    assert not walks(standing)
    np.testing.assert_allclose(knee_biases(clips), [4, 5, 9, 5, 2, 5], atol=0.3)
    # Nobody's knees are wrong by 30 degrees: this person crouches.
    assert knee_biases([walk(30.0)]) == [0.0]


def test_only_one_sources_knees_are_touched() -> None:
    mine, theirs = walk(8.0), walk(8.0, source="ACCAD")
    straight, same = straighten_clips([mine, theirs])
    assert same is theirs
    assert straightest(straight) < straightest(mine) - 7


def test_a_stranger_who_packs_cmus_files_gets_straight_knees(tmp_path: Path) -> None:
    """Through the readers: the same gait as ASF/AMC, with 9 degrees too much."""
    write_asf(tmp_path / "7.asf")
    gait = walk(9.0)
    units = 0.0254 / 0.45
    frames = [
        {bone: tuple(turns[JOINT_NAMES.index(joint)]) for bone, joint in NAMES.items()}
        for turns in np.degrees(gait.rotations)
    ]
    text = tmp_path / "7_01.amc"
    write_amc(text, frames)
    lines = text.read_text().splitlines()
    places = iter(gait.pelvis[:, 2] / units)
    text.write_text("\n".join(f"root 0 15 {next(places)} 0 0 0" if line.startswith("root") else line for line in lines))
    done = CliRunner().invoke(
        app,
        [
            "pack",
            str(tmp_path),
            "-o",
            str(tmp_path / "m.npz"),
            "--amc-fps",
            "30",
            "--val-share",
            "0",
            "--test-share",
            "0",
        ],
    )
    assert done.exit_code == 0, done.output
    (clip,) = load_motion_pack(tmp_path / "m.npz")
    assert clip.source == "CMU"
    assert straightest(clip) == pytest.approx(3, abs=0.5)


NAMES = {
    "lfemur": "left_hip", "ltibia": "left_knee", "lfoot": "left_ankle",
    "rfemur": "right_hip", "rtibia": "right_knee", "rfoot": "right_ankle",
}  # fmt: skip
