"""SURREAL's files: poses, joints, labels and flow agree with the mirrored frame; what is missing is named."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from body.joints import JOINT_MIRROR, JOINT_NAMES
from body.lbs import NumpyBody
from body.model import load_body
from training.datasets.sequence import DatasetError
from training.datasets.surreal import read_flow, read_parts, read_surreal

COUNT = 9
CAMERA_PLACE = np.array([6.7456, -0.9839, -1.9293])


def clip(yaw: float = 0.7) -> dict[str, Any]:
    """An ``_info.mat``'s contents. A person in Blender's world, posed as SURREAL's authors pose SMPL (a quarter turn about x,
    then ``zrot`` about z, then the pose's own rotation) and seen through their two matrices."""
    rng = np.random.default_rng(1)
    speed = np.linspace(0, 1, COUNT)[:, None] ** 2  # not constant: forward and backward flow differ
    poses = rng.normal(0, 0.3, 72) + speed * rng.normal(0, 0.2, 72)
    poses[:, :3] = Rotation.from_euler("x", [[90.0]] * COUNT, degrees=True).as_rotvec()  # mocap has z up
    pelvis = np.array([0.2, -0.9, -1.9]) + 0.6 * speed * [0.1, 0.4, -0.6]
    body = NumpyBody(load_body())
    joints = []
    for pose, place in zip(poses, pelvis, strict=True):
        root = (
            Rotation.from_euler("x", 90, degrees=True) * Rotation.from_euler("z", yaw) * Rotation.from_rotvec(pose[:3])
        )
        joints.append(body.pose(root.as_rotvec(), pose[3:].reshape(23, 3), place)[1])
    world = np.array(joints, np.float64)
    extrinsic = np.array([[0, 0, -1.0], [0, 1, 0], [-1, 0, 0]])
    seen = (world - CAMERA_PLACE) @ extrinsic.T @ np.array([[600.0, 0, 160], [0, 600, 120], [0, 0, 1]]).T
    return {
        "joints3D": world.transpose(2, 1, 0).astype(np.float32),
        "joints2D": np.round(seen[..., :2] / seen[..., 2:]).transpose(2, 1, 0).astype(np.float32),
        "pose": poses.T.astype(np.float32),
        "shape": np.zeros((10, COUNT), np.float32),
        "camLoc": CAMERA_PLACE[:, None].astype(np.float32),
        "zrot": np.full((COUNT, 1), yaw, np.float32),
        "gender": np.ones((COUNT, 1), np.uint8),
        "sequence": "01_01_c0001",
    }


def write(root: Path, fields: dict[str, Any]) -> Path:
    info = root / "train" / "run0" / "01_01" / "01_01_c0001_info.mat"
    info.parent.mkdir(parents=True, exist_ok=True)
    savemat(info, fields, do_compression=True)
    return info


def labelled(fields: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    """A ``_segm.mat``'s contents: a disc at every joint with its own label, the last joint on top."""
    parts = {}
    for t in range(COUNT):
        image = np.zeros((240, 320), np.uint8)
        y, x = np.mgrid[:240, :320]
        for joint, (u, v) in enumerate(fields["joints2D"][:, :, t].T):
            image[np.hypot(x - u, y - v) < 4] = joint + 1
        parts[f"segm_{t + 1}"] = image
    return parts


def test_pose_and_joints_agree_and_lie_on_the_rounded_points(tmp_path: Path) -> None:
    fields = clip()
    info = write(tmp_path, fields)
    sequence = read_surreal(info)
    assert (sequence.name, sequence.split, sequence.gender, len(sequence)) == ("01_01_c0001", "train", "male", COUNT)
    assert sequence.source == info.with_name("01_01_c0001.mp4")
    assert sequence.joints is not None
    assert sequence.joints_px is not None
    body = NumpyBody(load_body())  # its joints are symmetric, so a mirrored person has the same
    for t in range(COUNT):
        pelvis = sequence.pelvis()[t]
        _, joints = body.pose(sequence.global_orient[t], sequence.body_pose[t], pelvis)
        np.testing.assert_allclose(joints, sequence.joints[t], atol=1e-5)
    rounded = fields["joints2D"].transpose(2, 1, 0)[:, list(JOINT_MIRROR)]
    assert np.abs(sequence.joints_px + 0.5 - rounded).max() <= 0.5 + 1e-3
    assert (sequence.joints[:, 15, 1] < sequence.joints[:, 0, 1]).all()  # the head is up


def test_a_clip_of_one_frame(tmp_path: Path) -> None:
    fields = clip()
    single = {**fields, **{name: fields[name][..., 0] for name in ("joints3D", "joints2D")}}  # as MATLAB stores it
    single |= {"pose": fields["pose"][:, :1], "shape": fields["shape"][:, :1]}
    single |= {"zrot": fields["zrot"][:1], "gender": fields["gender"][:1]}
    sequence = read_surreal(write(tmp_path, single))
    assert len(sequence) == 1
    np.testing.assert_array_equal(sequence.joints[0], read_surreal(write(tmp_path, fields)).joints[0])  # type: ignore[index]


def test_the_part_labels_are_of_the_person_as_seen(tmp_path: Path) -> None:
    fields = clip()
    info = write(tmp_path, fields)
    savemat(info.with_name("01_01_c0001_segm.mat"), labelled(fields))
    parts, sequence = read_parts(info), read_surreal(info)
    assert parts.shape == (COUNT, 240, 320)
    assert sequence.joints_px is not None
    found = 0
    for joint, (u, v) in enumerate(sequence.joints_px[4].round().astype(int)):
        label = int(parts[4, v, u])
        assert label > 0
        found += label == joint + 1
    assert found >= 18  # the rest lies below another disc
    assert JOINT_NAMES[JOINT_MIRROR[1]] == "right_hip"


@pytest.mark.parametrize(("step", "x", "y"), list(product((1, -1), (1, -1), (1, -1))))
def test_whatever_the_flows_signs_it_moves_people_to_the_next_frame(tmp_path: Path, step: int, x: int, y: int) -> None:
    fields = clip()
    info = write(tmp_path, fields)
    savemat(info.with_name("01_01_c0001_segm.mat"), labelled(fields))
    points = read_surreal(info).joints_px
    assert points is not None
    stored = {}
    for t in range(COUNT):
        other = points[min(max(t + step, 0), COUNT - 1)]
        field = np.zeros((240, 320, 2), np.float32)
        for joint in reversed(range(24)):
            u, v = points[t, joint].round().astype(int)
            field[v - 1 : v + 2, u - 1 : u + 2] = (other - points[t])[joint] * (x, y)
        stored[f"gtflow_{t + 1}"] = field
    savemat(info.with_name("01_01_c0001_gtflow.mat"), stored)
    flow = read_flow(info)
    assert flow.fields.shape == (COUNT - 1, 240, 320, 2)
    assert flow.of_later == (step < 0)
    for t in range(COUNT - 1):
        u, v = points[t + (step < 0), 0].round().astype(int)
        np.testing.assert_allclose(flow.fields[t, v, u], points[t + 1, 0] - points[t, 0], atol=1e-3)


def test_flow_of_another_clip_is_refused(tmp_path: Path) -> None:
    fields = clip()
    info = write(tmp_path, fields)
    savemat(info.with_name("01_01_c0001_segm.mat"), labelled(fields))
    wrong = {f"gtflow_{t + 1}": np.full((240, 320, 2), (40, -25), np.float32) for t in range(COUNT)}
    savemat(info.with_name("01_01_c0001_gtflow.mat"), wrong)
    with pytest.raises(DatasetError, match="does not fit the joints"):
        read_flow(info)
    savemat(info.with_name("01_01_c0001_gtflow.mat"), {"gtflow_1": wrong["gtflow_1"]})
    with pytest.raises(DatasetError, match="not of the same frames"):
        read_flow(info)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    fields = clip()
    info = write(tmp_path, {name: value for name, value in fields.items() if name != "zrot"})
    with pytest.raises(DatasetError, match="lacks 'zrot': ask for access"):
        read_surreal(info)
    write(tmp_path, {**fields, "joints3D": fields["joints3D"][:2]})
    with pytest.raises(DatasetError, match=r"'joints3D' is float32 \(2, 24, 9\), should be numbers \(3, 24, T\)"):
        read_surreal(info)
    with pytest.raises(DatasetError, match=r"there is no .*_segm.mat: ask"):
        read_parts(info)
    savemat(info.with_name("01_01_c0001_segm.mat"), {"other": 1})
    with pytest.raises(DatasetError, match="lacks 'segm_1'"):
        read_parts(info)
    info.write_bytes(b"MATLAB 5.0 no more")
    with pytest.raises(DatasetError, match=r"no readable \.mat file"):
        read_surreal(info)
