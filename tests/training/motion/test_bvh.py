"""BVH files: parsing against closed forms, retargeting of the known namings, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES, PARENTS
from common.arrays import DoubleArray
from training.motion import rotations as rot
from training.motion.bvh import UNITS, parse_bvh, read_bvh
from training.motion.clip import LEG_LENGTH, Clip, MotionError, joint_positions
from training.motion.retarget import retarget, subject_of

from .skeletons import GENERIC, Vector, canonical_rest, cmu_as_bvh, write_bvh


def _bone(clip: Clip, joint: str, rest: Vector) -> DoubleArray:
    """Return the world directions (N, 3) of a joint's bone that rests along ``rest``."""
    world = rot.globals_from_locals(rot.from_axis_angle(clip.rotations), PARENTS)
    return rot.rotate(world[:, JOINT_NAMES.index(joint)], rest)


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_positions_follow_the_channel_order(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.bvh"
    hips, arm = (10.0, 20.0, 30.0), (-40.0, 25.0, 70.0)
    write_bvh(path, GENERIC, [{"Hips": hips, "LeftArm": arm}], order=order, root=(1, 2, 3))
    source = parse_bvh(path, UNITS["cm"])
    turn = Rotation.from_euler(order, hips, degrees=True)
    shoulder = np.array([0.01, 0.02, 0.03]) + turn.apply([0.17, 0.50, 0.0])
    hand = shoulder + (turn * Rotation.from_euler(order, arm, degrees=True)).apply([0.55, 0.0, 0.0])
    assert np.allclose(source.positions[0, source.names.index("LeftArm")], shoulder)
    assert np.allclose(source.positions[0, source.names.index("LeftHand")], hand)
    assert source.fps == pytest.approx(30.0)


def test_a_bent_elbow(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    frames = [{"LeftForeArm": (0, 0, -90), "RightForeArm": (0, 0, 60), "LeftLeg": (0, 45, 0)}]
    write_bvh(path, GENERIC, frames)
    clip = read_bvh(path)
    joints = joint_positions(clip.rotations, clip.pelvis, canonical_rest())[0]

    def between(start: str, end: str) -> DoubleArray:
        return np.asarray(joints[JOINT_NAMES.index(end)] - joints[JOINT_NAMES.index(start)])

    s = np.sqrt(0.5)
    assert np.allclose(between("left_shoulder", "left_wrist"), (0.3, 0.0, 0.25), atol=1e-6)
    expected = (-0.3 - 0.25 * np.cos(np.pi / 3), 0.0, 0.25 * np.sin(np.pi / 3))
    assert np.allclose(between("right_shoulder", "right_wrist"), expected, atol=1e-6)
    assert np.allclose(between("left_hip", "left_ankle"), (0.0, -0.4 - 0.415 * s, -0.415 * s), atol=1e-6)


def test_an_elbow_with_another_hinge_becomes_a_hinge_about_y(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    # The file bends this elbow upwards (about z): the upper arm must be twisted, the bones must not move.
    write_bvh(path, GENERIC, [{"LeftForeArm": (angle, 0, 0), "LeftArm": (-20, 0, 30)} for angle in (50, 70, 90)])
    clip = read_bvh(path)
    elbows = clip.rotations[:, JOINT_NAMES.index("left_elbow")]
    forearms = rot.rotate(rot.from_axis_angle(elbows), (1, 0, 0))
    bend = np.deg2rad([50, 70, 90])
    assert np.allclose(forearms, np.stack([np.cos(bend), 0 * bend, np.sin(bend)], axis=-1), atol=1e-6)
    arm = Rotation.from_euler("ZXY", (-20, 0, 30), degrees=True)
    bent = [(arm * Rotation.from_euler("Z", angle, degrees=True)).apply([1, 0, 0]) for angle in (50, 70, 90)]
    assert np.allclose(_bone(clip, "left_elbow", (1, 0, 0)), bent, atol=1e-6)


def test_pronation_is_shared_and_the_hand_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    write_bvh(path, GENERIC, [{"LeftHand": (0, 50, 0)}] * 3)
    clip = read_bvh(path)
    twist = np.rad2deg(clip.rotations[0, [JOINT_NAMES.index(f"left_{part}") for part in ("elbow", "wrist", "hand")], 0])
    assert np.allclose(twist, (30.0, 20.0, 0.0), atol=1e-3)


def test_a_zero_pose_with_hanging_arms_and_spread_legs(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    down: dict[str, Vector] = {"LeftForeArm": (0, -30, 0), "LeftHand": (0, -25, 0), "LeftLeg": (14, -37, 0)}
    joints = [(name, parent, down.get(name, step)) for name, parent, step in GENERIC]
    write_bvh(path, joints, [{}, {"LeftArm": (90, 0, 0)}])
    clip = read_bvh(path)
    assert np.allclose(_bone(clip, "left_shoulder", (1, 0, 0)), [(0, -1, 0), (1, 0, 0)], atol=1e-6)
    thigh = np.array([14.0, -37.0, 0.0]) / np.hypot(14, 37)
    assert np.allclose(_bone(clip, "left_hip", (0, -1, 0))[0], thigh, atol=1e-6)


@pytest.mark.parametrize("scale", [0.01, 1.0, 39.37])
def test_the_unit_of_length_does_not_matter(tmp_path: Path, scale: float) -> None:
    path = tmp_path / "a.bvh"
    joints = [(name, parent, (x * scale, y * scale, z * scale)) for name, parent, (x, y, z) in GENERIC]
    write_bvh(path, joints, [{}], root=(5, 100 * scale, 7))
    assert read_bvh(path).pelvis[0] == pytest.approx((0.0, 0.085 + LEG_LENGTH + 0.075, 0.0), abs=1e-5)


def _daz() -> list[tuple[str, str, Vector]]:
    names = {"Hips": "hip", "Spine": "abdomen", "Spine1": "chest", "Neck": "neck", "Head": "head"}
    parts = {"UpLeg": "Thigh", "Leg": "Shin", "Foot": "Foot", "Shoulder": "Collar", "Arm": "Shldr",
             "ForeArm": "ForeArm", "Hand": "Hand"}  # fmt: skip
    for side in ("Left", "Right"):
        names |= {side + part: side[0].lower() + daz for part, daz in parts.items()}
    names |= {"Spine2": "chest"}
    return [
        (names[name], names.get(parent, ""), step)
        for name, parent, step in GENERIC
        if name in names and name != "Spine2"
    ]


def _max(style: str) -> tuple[list[tuple[str, str, Vector]], str]:
    new, old = (
        {"UpLeg": "Hip", "Leg": "Knee", "Foot": "Ankle", "Arm": "Shoulder", "ForeArm": "Elbow", "Hand": "Wrist"},
        {"UpLeg": "UpLeg", "Leg": "LowLeg", "Foot": "Foot", "Arm": "UpArm", "ForeArm": "LowArm", "Hand": "Hand"},
    )
    names = {"Hips": "Hips", "Spine": "Chest", "Spine1": "Chest2", "Spine2": "Chest3", "Neck": "Neck", "Head": "Head"}
    for side in ("Left", "Right"):
        names |= {side + part: side + name for part, name in (new if style == "new" else old).items()}
        names |= {f"{side}ToeBase": f"{side}Toe", f"{side}Shoulder": f"{side}Collar"}
    return [(names[name], names.get(parent, ""), step) for name, parent, step in GENERIC], names["LeftArm"]


def _namespace(_: str) -> tuple[list[tuple[str, str, Vector]], str]:
    joints = [(f"rig:{name}", f"rig:{parent}" if parent else "", step) for name, parent, step in GENERIC]
    return joints, "rig:LeftArm"


@pytest.mark.parametrize(("make", "style"), [(_max, "new"), (_max, "old"), (_namespace, "")])
def test_other_namings(
    tmp_path: Path, make: Callable[[str], tuple[list[tuple[str, str, Vector]], str]], style: str
) -> None:
    joints, arm = make(style)
    path = tmp_path / "a.bvh"
    write_bvh(path, joints, [{arm: (-50, 0, 0)}] * 2)
    s, c = np.sin(np.deg2rad(50)), np.cos(np.deg2rad(50))
    assert np.allclose(_bone(read_bvh(path), "left_elbow", (1, 0, 0)), (c, -s, 0), atol=1e-6)


def test_the_daz_zero_pose_is_corrected_by_constants(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    joints = [(n, p, (24.0, -7.0, 0.0) if n == "lHand" else step) for n, p, step in _daz()]
    write_bvh(path, joints, [{}])
    clip = read_bvh(path)
    low = np.deg2rad(7.7)
    for part in ("shoulder", "elbow"):
        assert np.allclose(_bone(clip, f"left_{part}", (1, 0, 0)), (np.cos(low), -np.sin(low), 0), atol=1e-6)
        assert np.allclose(_bone(clip, f"right_{part}", (-1, 0, 0)), (-np.cos(low), -np.sin(low), 0), atol=1e-6)
    back = np.deg2rad(5.0)
    assert np.allclose(_bone(clip, "left_hip", (0, -1, 0)), (0, -np.cos(back), -np.sin(back)), atol=1e-6)


def test_the_cmu_t_pose_is_left_out_and_is_the_canonical_one(tmp_path: Path) -> None:
    path = tmp_path / "02_03.bvh"
    t_pose = {"LeftUpLeg": (-20, 0, 0), "RightUpLeg": (20, 0, 0), "Neck": (0, 0, -16), "Neck1": (0, 0, 21),
              "Head": (0, 0, 11)}  # fmt: skip
    write_bvh(path, cmu_as_bvh(), [t_pose, {"LeftArm": (-60, 0, 0)}], order="ZYX", frame_time=0.0083333)
    clip = read_bvh(path)
    assert (clip.frames, clip.subject, clip.name) == (1, "2", "02_03")
    write_bvh(path, cmu_as_bvh(), [t_pose], order="ZYX")
    world = rot.globals_from_locals(rot.from_axis_angle(read_bvh(path).rotations[0]), PARENTS)
    straight = [JOINT_NAMES.index(name) for name in ("pelvis", "left_hip", "right_knee", "left_ankle", "neck", "head")]
    assert np.allclose(rot.to_axis_angle(world[straight]), 0.0, atol=1e-5)


def test_collars_that_the_source_never_moves_follow_the_arm(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    frames = [{"LeftArm": (angle, 0, 0)} for angle in (0, 80)]
    write_bvh(path, GENERIC, frames)
    clip = read_bvh(path)
    collar = Rotation.from_rotvec(clip.rotations[:, JOINT_NAMES.index("left_collar")]).as_euler("YZX", degrees=True)
    # 0.30 of the elevation and 25 degrees, at most 30; back by 5.5 degrees and 0.11 of the elevation.
    np.testing.assert_allclose(collar, [(5.5, 7.5, 0), (5.5 + 0.11 * 80, 30, 0)], atol=1e-3)
    assert np.allclose(_bone(clip, "left_shoulder", (1, 0, 0))[1], (np.cos(np.deg2rad(80)), np.sin(np.deg2rad(80)), 0))
    # A source that moves them is believed.
    write_bvh(path, GENERIC, [{}, {"LeftShoulder": (10, 0, 0), "RightShoulder": (-10, 0, 0)}])
    collar = np.rad2deg(read_bvh(path).rotations[:, JOINT_NAMES.index("left_collar")])
    assert np.allclose(collar, [(0, 0, 0), (0, 0, 10)], atol=1e-3)


def test_frame_rate_and_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    write_bvh(path, GENERIC, [{}] * 5, frame_time=0.0083333)
    assert read_bvh(path).fps == pytest.approx(120.0, rel=1e-4)
    assert read_bvh(path, fps=60.0).fps == 60.0
    local, pelvis = retarget(parse_bvh(path))
    assert local.shape == (5, 24, 4)
    assert pelvis.shape == (5, 3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) - 40], "cut off"),
        (lambda text: text.replace("MOTION", "MOTON"), "not a BVH"),
        (lambda text: text.replace("Yrotation", "Wrotation", 1), "unknown channel"),
        (lambda text: text.replace("CHANNELS 3", "CHANNELS x", 1), "damaged"),
        (lambda text: text.replace("OFFSET", "OFFSET nan", 1), "damaged|OFFSET"),
        (lambda text: text.replace("}", "", 1), "damaged"),
        (lambda text: text.replace("100.0", "nan", 1), "usable number"),
        (lambda text: text.replace("100.0", "1o0", 1), "damaged"),
        (lambda text: text.replace("Frames: 2", "Frames: -2"), "cut off"),
        (lambda text: text.replace("LeftArm", "Tentacle"), "no known naming"),
        (lambda text: text.replace("OFFSET 0 -40.0", "OFFSET 0 0").replace("OFFSET 0.0 -40.0", "OFFSET 0 0"), "zero"),
        (lambda text: "", "not a BVH"),
        (lambda text: "HIERARCHY\nROOT a\n{\nEnd Site\n{\nOFFSET 0 0 0\n", "not a BVH"),
        (lambda text: "HIERARCHY\nROOT\nMOTION\n", "damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    path = tmp_path / "broken.bvh"
    write_bvh(path, GENERIC, [{}, {}])
    path.write_text(damage(path.read_text()))
    with pytest.raises(MotionError, match=message) as caught:
        read_bvh(path)
    assert "broken.bvh" in str(caught.value)


def test_a_missing_file_and_a_lying_zero_pose(tmp_path: Path) -> None:
    with pytest.raises(MotionError, match="cannot be read"):
        read_bvh(tmp_path / "none.bvh")
    joints = [(name, parent, (x, -z, y)) for name, parent, (x, y, z) in GENERIC]
    write_bvh(tmp_path / "zup.bvh", joints, [{}])
    with pytest.raises(MotionError, match="stand upright"):
        read_bvh(tmp_path / "zup.bvh")


def test_subjects_from_names() -> None:
    assert subject_of(Path("x/02_03.bvh")) == subject_of(Path("CMU/02/02_03_poses.npz")) == "2"
    assert subject_of(Path("KIT/317/walk_fast_poses.npz")) == "317"
    assert subject_of(Path("KIT/000/walk.npz")) == "000"
