"""Joint angles of known poses, and what is counted in drawn motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import roma  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from body.joints import JOINT_NAMES  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from common.errors import UserError  # noqa: E402
from training.motion.__main__ import app  # noqa: E402
from training.motion.bank import NONE  # noqa: E402
from training.motion.clip import Clip, adapt_clips  # noqa: E402
from training.motion.posture import POSTURE_ANGLES, joint_angles  # noqa: E402
from training.motion.rest import default_rest_joints, to_default_rest  # noqa: E402
from training.motion.statistics import TRANSITIONS, largest_gap, measure_motion  # noqa: E402

from .skeletons import random_clip, write_packed_folder  # noqa: E402


def posed(body: TorchBody, **turns: Sequence[float]) -> dict[str, torch.Tensor]:
    """The angles of the canonical T-pose with some joints turned, axis-angle in degrees."""
    vectors = torch.zeros(24, 3)
    for name, turn in turns.items():
        vectors[JOINT_NAMES.index(name)] = torch.deg2rad(torch.tensor(turn))
    rotations = roma.unitquat_to_rotmat(to_default_rest(roma.rotvec_to_unitquat(vectors)))
    turned, joints, _ = body.frames(rotations, torch.zeros(10))
    return joint_angles(joints, turned)


def test_angles_of_known_poses(body: TorchBody) -> None:
    rest = posed(body)
    assert set(rest) == set(POSTURE_ANGLES)
    assert float(rest["knee flexion"].max()) < 0.1
    assert float(rest["elbow flexion"].max()) < 0.1
    assert float(rest["hip flexion"].abs().max()) < 8  # the neck is not exactly above the hips
    assert float((rest["arm elevation"] - 90).abs().max()) < 5
    assert float(rest["trunk lean"].max()) < 8
    bent = posed(body, left_knee=[50, 0, 0], right_elbow=[0, 70, 0], right_hip=[-30, 0, 0])
    assert float(bent["knee flexion"][0]) == pytest.approx(50, abs=0.2)
    assert float(bent["knee flexion"][1]) < 0.2
    assert float(bent["elbow flexion"][1]) == pytest.approx(70, abs=0.2)
    assert float((bent["hip flexion"] - rest["hip flexion"])[1]) == pytest.approx(30, abs=1)
    apart = posed(body, left_hip=[0, 0, 25])
    assert float((apart["hip abduction"] - rest["hip abduction"])[0]) == pytest.approx(25, abs=1)


def test_pitches_are_positive_forward_and_do_not_see_the_heading(body: TorchBody) -> None:
    bow = posed(body, pelvis=[0, 70, 0], spine1=[20, 0, 0], head=[15, 0, 0])
    rest = posed(body)
    assert float(bow["pelvis pitch"]) == pytest.approx(0, abs=0.1)
    assert float(bow["chest pitch"] - rest["chest pitch"]) == pytest.approx(20, abs=0.1)
    assert float(bow["head pitch"] - rest["head pitch"]) == pytest.approx(15, abs=0.1)
    assert float(posed(body, pelvis=[25, 0, 0])["pelvis pitch"]) == pytest.approx(25, abs=0.1)


def moving(name: str, bend: np.ndarray, legs: Sequence[str]) -> Clip:
    """Knees bent by ``bend`` degrees (45,), thighs lifted by as much."""
    turns = np.zeros((45, 24, 3), np.float32)
    for side in legs:
        turns[:, JOINT_NAMES.index(f"{side}_hip"), 0] = -np.radians(bend)
        turns[:, JOINT_NAMES.index(f"{side}_knee"), 0] = np.radians(bend)
    for side in {"left", "right"} - set(legs):  # the leg behind in a lunge
        turns[:, JOINT_NAMES.index(f"{side}_knee"), 0] = np.radians(bend) * 0.8
    return Clip(name, name, "", "CC0-1.0", "train", 15.0, turns, np.zeros((45, 3), np.float32), 1.0)


def test_squats_lunges_and_standing_are_counted(body: TorchBody) -> None:
    down = 45 - 45 * np.cos(np.arange(45) * (2 * np.pi / 44))
    both = ("left", "right")
    clips = adapt_clips(
        [moving("stand", down * 0, both), moving("squat", down, both), moving("lunge", down, ("left",))],
        default_rest_joints(),
    )
    found = [measure_motion([clip], body, NONE, 4) for clip in clips]
    seen = [[each.transitions[name] for name in TRANSITIONS] for each in found]
    assert seen == [[0, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert found[0].standing_straight == 1
    assert all(0.05 < each.standing_straight < 0.5 for each in found[1:])
    assert np.percentile(found[1].angles["knee flexion"], 100) == pytest.approx(90, abs=1)


def test_gap_is_the_largest_difference_of_cumulative_shares() -> None:
    a = np.arange(100, dtype=np.float32)
    assert largest_gap(a, a) == 0
    assert largest_gap(a, a + 25) == pytest.approx(0.25)
    assert largest_gap(a, a + 1000) == 1


def test_command_prints_every_angle_and_names_what_is_wrong(tmp_path: Path) -> None:
    write_packed_folder(
        tmp_path / "packed",
        [(random_clip("a", "1", 60), "CMU"), (replace(random_clip("b", "2", 60), split="val2"), "CC0")],
    )
    shown = CliRunner().invoke(
        app, ["statistics", str(tmp_path / "packed"), "--windows", "8", "--split", "val2", "--histogram"]
    )
    assert shown.exit_code == 0, shown.output
    assert all(name.split()[0] in shown.output for name in POSTURE_ANGLES)
    wrong = CliRunner().invoke(app, ["statistics", str(tmp_path / "packed"), "--split", "moon"])
    assert isinstance(wrong.exception, UserError)
