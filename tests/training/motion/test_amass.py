"""AMASS files: the variants of their keys, the change of the vertical, damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.joints import JOINT_NAMES, PARENTS
from training.motion import rotations as rot
from training.motion.amass import read_amass
from training.motion.clip import LEG_LENGTH, MotionError, adapt_rest_pose, leg_length

from .skeletons import canonical_rest, random_clip


def _write(path: Path, width: int = 156, rate: str = "mocap_framerate", frames: int = 8, **more: Any) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "poses": rng.normal(scale=0.3, size=(frames, width)),
        "trans": rng.normal(size=(frames, 3)),
        "betas": np.zeros(16),
        "gender": np.array("female"),
        rate: np.array(120.0),
    }
    arrays |= more
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize("width", [66, 72, 156, 165])
@pytest.mark.parametrize("rate", ["mocap_framerate", "mocap_frame_rate"])
def test_sizes_and_names_of_the_frame_rate(tmp_path: Path, width: int, rate: str) -> None:
    path = _write(tmp_path / "01_02_poses.npz", width, rate)
    clip = read_amass(path)
    poses = np.load(path)["poses"]
    assert (clip.fps, clip.frames, clip.subject) == (120.0, 8, "1")
    assert np.allclose(clip.rotations[:, 1:22], poses[:, 3:66].reshape(8, 21, 3), atol=1e-6)
    assert not clip.rotations[:, 22:].any()
    assert not clip.free


def test_poses_in_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    parts: dict[str, Any] = {"root_orient": rng.normal(size=(8, 3)) * 0.1, "pose_body": rng.normal(size=(8, 63)) * 0.1}
    clip = read_amass(_write(tmp_path / "a.npz", poses=None, **parts))
    assert np.allclose(clip.rotations[:, 1:22].reshape(8, 63), parts["pose_body"], atol=1e-6)


def test_the_world_stands_up(tmp_path: Path) -> None:
    # In a world with z up, a standing person's model (y up) is turned by +90 degrees about x.
    poses = np.zeros((2, 156))
    poses[:, 0] = np.pi / 2
    trans = np.array([(0.0, 0.0, 1.2), (1.0, -2.0, 1.2)])
    path = _write(tmp_path / "a.npz", frames=2, poses=poses, trans=trans)
    clip = read_amass(path, rest_pelvis=(0.0, -0.2, 0.0))
    assert np.allclose(clip.rotations[:, 0], 0.0, atol=1e-6)
    # The resting pelvis is not turned with the body: trans moves it as it lies in the model's frame.
    assert np.allclose(clip.pelvis, [(0.0, 1.2, 0.2), (1.0, 1.2, 2.2)], atol=1e-6)


def test_rotations_of_a_known_body_become_canonical(tmp_path: Path) -> None:
    body = canonical_rest() * 1.1 + np.random.default_rng(2).normal(scale=0.02, size=(24, 3))
    truth = random_clip("a", "1", 8).rotations.copy()
    truth[:, 22:] = 0.0
    posed = adapt_rest_pose(truth, body).astype(np.float64)
    upright = rot.about("x", np.asarray(np.pi / 2))
    posed[:, 0] = rot.to_axis_angle(rot.multiply(upright, rot.from_axis_angle(posed[:, 0])))
    trans = np.zeros((8, 3))
    path = _write(tmp_path / "a.npz", poses=posed[:, :22].reshape(8, 66), trans=trans)
    clip = read_amass(path, rest_joints=body)
    want = rot.globals_from_locals(rot.from_axis_angle(truth), PARENTS)
    got = rot.globals_from_locals(rot.from_axis_angle(clip.rotations), PARENTS)
    assert np.allclose(np.abs(np.sum(want * got, axis=-1)), 1.0, atol=1e-6)
    x, y, z = body[0] * LEG_LENGTH / leg_length(body)
    assert np.allclose(clip.pelvis, (x, z, -y), atol=1e-6)
    assert JOINT_NAMES[22:] == ("left_hand", "right_hand")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"poses": None}, "body-shape file"),
        ({"trans": None}, "no trans"),
        ({"mocap_framerate": None}, "no frame rate"),
        ({"poses": np.zeros((8, 63))}, "should be"),
        ({"trans": np.zeros((7, 3))}, "should be"),
        ({"poses": np.full((8, 156), np.nan)}, "usable number"),
        ({"mocap_framerate": np.array(0.0)}, "usable number"),
        ({"poses": np.array([None, {}], dtype=object)}, "damaged"),
    ],
)
def test_other_files_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(MotionError, match=message) as caught:
        read_amass(_write(tmp_path / "odd.npz", **arrays))
    assert "odd.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"plain text"])
def test_damaged_archives_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.npz"
    path.write_bytes(content)
    with pytest.raises(MotionError, match=r"odd\.npz"):
        read_amass(path)
    _write(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(MotionError, match=r"odd\.npz"):
        read_amass(path)
