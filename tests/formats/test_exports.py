"""Every exported file, read by programs that know nothing of this project, has the motion's joints where they were.

Their readers are asked for positions wherever they compute them (forward kinematics of their own) and compared with the body
posed by `body.lbs`: to 0.1 mm, and directions of bones to 0.1 degrees.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES, PARENTS
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from common.arrays import AnyFloatArray, DoubleArray, FloatArray
from common.errors import UserError
from formats.axes import TO_OPENSIM
from formats.motion import Motion
from formats.save import open_motion, save_as
from formats.tracks import MotionTrack, at_constant_rate, tracks_of
from tests.formats.motions import example, two_people

MM = 1e-4
"""A tenth of a millimetre, in metres."""


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body("body_1722")


@pytest.fixture(scope="module")
def motion(body: BodyArrays) -> Motion:
    return two_people(body)


def wanted(motion: Motion, body: BodyArrays, person: int = 0) -> tuple[MotionTrack, FloatArray]:
    """What a file of one person is to hold, and its joints (N, 24, 3), metres, y up."""
    (track,) = tracks_of(motion, person=person).people
    track, _ = at_constant_rate(track, motion.fps)
    return track, track.joints(body)


def check_joints(found: AnyFloatArray, want: AnyFloatArray) -> None:
    """(N, 24, 3) metres each: 0.1 mm and, bone by bone, 0.1 degrees."""
    np.testing.assert_allclose(found, want, rtol=0, atol=MM)
    parents = np.array(PARENTS[1:])
    bones = [places[:, 1:] - places[:, parents] for places in (found.astype(np.float64), want.astype(np.float64))]
    ways = [bone / np.linalg.norm(bone, axis=-1, keepdims=True) for bone in bones]
    off = np.degrees(np.arcsin(np.clip(np.linalg.norm(np.cross(*ways), axis=-1), 0, 1)))
    assert off.max() < 0.1


def test_the_known_motion_is_what_the_tracks_say(motion: Motion, body: BodyArrays) -> None:
    track, joints = wanted(motion, body)
    rows = motion.person == 0
    assert motion.world_joints_m is not None
    np.testing.assert_allclose(joints, motion.world_joints_m[rows], atol=3e-3)  # the shape is the middle of all rows'
    np.testing.assert_allclose(track.time_s, motion.time_s[rows])


@pytest.mark.parametrize("person", [0, 3])
def test_a_bvh_reader_finds_the_joints(motion: Motion, body: BodyArrays, tmp_path: Path, person: int) -> None:
    pybvh = pytest.importorskip("pybvh", reason="pybvh, a reader of .bvh files, is not installed")
    saved = save_as(motion, tmp_path / "walk.bvh", person=person)
    _, want = wanted(motion, body, person)
    clip = pybvh.read_bvh_file(str(saved.paths[0]))
    names = [node.name for node in clip.nodes]
    found = clip.node_positions()
    assert 1 / clip.frame_time == pytest.approx(30, abs=1e-4)
    check_joints(found[:, [names.index(name) for name in JOINT_NAMES]], want)


@pytest.mark.parametrize("person", [0, 3])
def test_smplx_finds_the_joints_of_an_amass_file(motion: Motion, body: BodyArrays, tmp_path: Path, person: int) -> None:
    torch = pytest.importorskip("torch")
    smplx = pytest.importorskip("smplx", reason="smplx, the body model's own code, is not installed")
    from tools.round_trips.comparisons import smplx_model

    path = save_as(motion, tmp_path / "walk.amass.npz", person=person).paths[0]
    with np.load(path, allow_pickle=False) as archive:
        poses, trans, betas = (torch.tensor(archive[name], dtype=torch.float32) for name in ("poses", "trans", "betas"))
        assert poses.shape[1] == 156
        assert betas.shape == (16,)
        assert archive["dmpls"].shape == (len(poses), 8)
        assert float(archive["mocap_framerate"]) == pytest.approx(30)
        assert str(archive["gender"]) in ("male", "female", "neutral")
    model = smplx_model(smplx, body)
    hands = torch.zeros(len(poses), 6)
    posed = model(
        betas=betas[None, :10].expand(len(poses), -1),
        global_orient=poses[:, :3],
        body_pose=torch.cat([poses[:, 3:66], hands], 1),
        transl=trans,
    )
    found = posed.joints[:, :24].detach().numpy()
    _, want = wanted(motion, body, person)
    z_up = np.stack([want[..., 0], -want[..., 2], want[..., 1]], -1)
    check_joints(found, z_up)


def read_trc(path: Path) -> tuple[dict[str, str], DoubleArray, list[str], DoubleArray]:
    """Header, times (N,), marker names, places (N, M, 3) of a .trc file, by OpenSim's description of the format."""
    lines = path.read_text().split("\n")
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    names = [name for name in lines[3].split("\t")[2:] if name]
    assert lines[3].split("\t")[:2] == ["Frame#", "Time"]
    assert lines[4].split("\t")[2:5] == ["X1", "Y1", "Z1"]
    assert not lines[5]
    rows = [line.split("\t") for line in lines[6:] if line]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    places = np.array([[float(value) for value in row[2:]] for row in rows])
    return header, np.array([float(row[1]) for row in rows]), names, places.reshape(len(rows), len(names), 3)


def test_a_trc_file_has_the_markers_in_millimetres(motion: Motion, body: BodyArrays, tmp_path: Path) -> None:
    path = save_as(motion, tmp_path / "walk.trc", person=3).paths[0]
    header, times, names, places = read_trc(path)
    track, want = wanted(motion, body, 3)
    assert header["Units"] == "mm"
    assert float(header["DataRate"]) == pytest.approx(30)
    assert int(header["NumFrames"]) == len(times) == len(track.time_s)
    assert int(header["NumMarkers"]) == len(names) == 50
    np.testing.assert_allclose(times, track.time_s, atol=1e-6)
    assert np.isnan(places[~track.seen]).all()
    assert 0.4 < (~track.seen).sum() / 30 < 0.7  # the gap of 0.6 s is NaN, nothing else
    found = places[track.seen] / 1000 @ TO_OPENSIM  # back: the inverse of a rotation is its transpose
    check_joints(found[:, :24], want[track.seen])
    poser = NumpyBody(body)
    poser.set_shape(track.betas)
    row = int(np.flatnonzero(track.seen)[-1])
    vertices, _ = poser.pose(track.rotations[row, 0], track.rotations[row, 1:], track.pelvis[row])
    heel = names.index("RHeel")
    np.testing.assert_allclose(found[-1, heel], vertices[body.landmarks["RHeel"]], atol=MM)


def posed_by(angles: dict[str, float]) -> DoubleArray:
    """(24, 3) SMPL's rotations of a person whose OpenSim angles are given (the others 0), from the definitions: rotations
    about OpenSim's axes (x forward, y up, z right) of a body that hangs its arms, told in SMPL's (x left, y up, z forward)."""
    axes = {"x": np.array([0.0, 0, 1]), "y": np.array([0.0, 1, 0]), "z": np.array([-1.0, 0, 0])}

    def about(axis: str, degrees: float) -> Rotation:
        return Rotation.from_rotvec(np.radians(degrees) * axes[axis])

    def joint(order: str, *degrees: float) -> Rotation:
        out = Rotation.identity()
        for axis, value in zip(order, degrees, strict=True):
            out = out * about(axis, value)
        return out

    def get(name: str) -> float:
        return angles.get(name, 0.0)

    pose = {name: Rotation.identity() for name in JOINT_NAMES}
    pose["pelvis"] = joint("zxy", get("pelvis_tilt"), get("pelvis_list"), get("pelvis_rotation"))
    pose["spine2"] = joint("zxy", get("lumbar_extension"), get("lumbar_bending"), get("lumbar_rotation"))
    pose["head"] = joint("zxy", get("neck_extension"), get("neck_bending"), get("neck_rotation"))
    for side, s, m in (("right", "r", 1), ("left", "l", -1)):
        hang = Rotation.from_rotvec([0, 0, np.pi / 2 * m])  # the right arm points to -x, the left one to +x
        hip = get(f"hip_flexion_{s}"), m * get(f"hip_adduction_{s}"), m * get(f"hip_rotation_{s}")
        pose[f"{side}_hip"] = joint("zxy", *hip)
        pose[f"{side}_knee"] = about("z", -get(f"knee_angle_{s}"))
        pose[f"{side}_ankle"] = joint("zx", get(f"ankle_angle_{s}"), m * get(f"subtalar_angle_{s}"))
        arm = joint("zxy", get(f"arm_flex_{s}"), m * get(f"arm_add_{s}"), m * get(f"arm_rot_{s}"))
        pose[f"{side}_shoulder"] = arm * hang
        elbow = joint("zy", get(f"elbow_flex_{s}"), m * get(f"pro_sup_{s}"))
        pose[f"{side}_elbow"] = hang.inv() * elbow * hang
        wrist = joint("xz", m * get(f"wrist_flex_{s}"), get(f"wrist_dev_{s}"))
        pose[f"{side}_wrist"] = hang.inv() * wrist * hang
    return np.array([pose[name].as_rotvec() for name in JOINT_NAMES])


ANGLES = {
    "pelvis_tilt": -12, "pelvis_list": 4, "pelvis_rotation": 35, "lumbar_extension": -20, "lumbar_bending": 8,
    "lumbar_rotation": -15, "neck_extension": 10, "neck_rotation": 40, "hip_flexion_r": 62, "hip_adduction_r": -12,
    "hip_rotation_r": 7, "knee_angle_r": 88, "ankle_angle_r": 14, "subtalar_angle_r": -6, "hip_flexion_l": -18,
    "hip_adduction_l": 5, "hip_rotation_l": -9, "knee_angle_l": 12, "ankle_angle_l": -22, "arm_flex_r": 70, "arm_add_r": -25,
    "arm_rot_r": 30, "elbow_flex_r": 95, "pro_sup_r": 50, "wrist_flex_r": 20, "wrist_dev_r": -10, "arm_flex_l": -30,
    "arm_add_l": -60, "arm_rot_l": 12, "elbow_flex_l": 45, "pro_sup_l": -35, "wrist_flex_l": -15, "wrist_dev_l": 6,
}  # fmt: skip


def test_names_that_are_no_utf8(motion: Motion, tmp_path: Path) -> None:
    for ending in (".trc", ".bvh", ".csv", ".glb", ".jsonl", ".amass.npz"):
        (path,) = save_as(motion, tmp_path / f"\udce4{ending}", person=3).paths
        assert path.stat().st_size
    assert "\t?.trc" in (tmp_path / "\udce4.trc").read_text(encoding="utf-8").splitlines()[0]
    assert open_motion(tmp_path / "\udce4.amass.npz").source == "?.amass.npz"


def test_joint_angles_are_those_of_the_pose(body: BodyArrays, tmp_path: Path) -> None:
    motion = example(body, {1: np.arange(3)})
    pose = posed_by(ANGLES)
    motion = replace(
        motion,
        world_global_orient=np.tile(pose[0], (3, 1)).astype(np.float32),
        body_pose=np.tile(pose[1:], (3, 1, 1)).astype(np.float32),
    )
    path = save_as(motion, tmp_path / "angles.csv").paths[0]
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [float(row["time_s"]) for row in rows] == pytest.approx(motion.time_s.tolist(), abs=1e-6)
    assert {row["person"] for row in rows} == {"1"}
    assert motion.world_transl is not None
    place = motion.world_transl[0]
    found = [float(rows[0][name]) for name in ("pelvis_tx", "pelvis_ty", "pelvis_tz")]
    np.testing.assert_allclose(found, [place[2], place[1], -place[0]], atol=1e-5)
    for name, value in rows[1].items():
        if name not in ("person", "time_s") and not name.startswith("pelvis_t"):
            assert float(value) == pytest.approx(ANGLES.get(name, 0.0), abs=0.01), name
    assert float(rows[1]["pelvis_tilt"]) == pytest.approx(-12, abs=0.01)


def test_bent_limbs_have_the_signs_of_opensim(body: BodyArrays) -> None:
    """Where the joints go when one angle is positive, whatever the formulas say."""
    poser = NumpyBody(body)

    def joints(**angles: float) -> dict[str, FloatArray]:
        pose = posed_by(angles)
        return dict(zip(JOINT_NAMES, poser.joints_only(pose[0], pose[1:], np.zeros(3)), strict=True))

    rest = joints()
    assert rest["left_wrist"][1] < rest["left_elbow"][1] < rest["left_shoulder"][1]  # arms hang
    assert joints(hip_flexion_r=40)["right_knee"][2] > rest["right_knee"][2] + 0.1  # to the front
    assert joints(hip_adduction_r=-30)["right_knee"][0] < rest["right_knee"][0] - 0.1  # to the right, -x
    assert joints(hip_adduction_l=-30)["left_knee"][0] > rest["left_knee"][0] + 0.1
    assert joints(knee_angle_l=60)["left_ankle"][2] < rest["left_ankle"][2] - 0.1  # to the back
    assert joints(ankle_angle_r=20)["right_foot"][1] > rest["right_foot"][1] + 0.02  # toes up
    assert joints(arm_add_r=-80)["right_wrist"][1] > rest["right_wrist"][1] + 0.3  # raised sideways
    assert joints(arm_add_r=-80)["right_wrist"][0] < rest["right_wrist"][0] - 0.3
    assert joints(elbow_flex_l=90)["left_wrist"][2] > rest["left_wrist"][2] + 0.2  # forearm to the front
    assert joints(lumbar_extension=-30)["head"][2] > rest["head"][2] + 0.1  # bent forward
    inwards = joints(wrist_flex_r=40)["right_hand"] - rest["right_hand"]
    assert inwards[0] > 0.03  # the palm's side


def test_one_file_for_each_person_or_piece(motion: Motion, tmp_path: Path) -> None:
    saved = save_as(motion, tmp_path / "walk.bvh")
    assert [path.name for path in saved.paths] == ["walk.person-0.bvh", "walk.person-3.bvh"]
    assert "from 0.500 s" in saved.lines[1]
    saved = save_as(motion, tmp_path / "walk.amass.npz", gaps="split")
    names = ["walk.person-0.amass.npz", "walk.person-3.part-1.amass.npz", "walk.person-3.part-2.amass.npz"]
    assert [path.name for path in saved.paths] == names
    with np.load(saved.paths[2], allow_pickle=False) as archive:
        assert len(archive["poses"]) == 12
    assert [path.name for path in save_as(motion, tmp_path / "one.trc", person=3).paths] == ["one.trc"]


def test_uneven_times_are_brought_to_a_constant_rate(body: BodyArrays, tmp_path: Path) -> None:
    """A camera with a variable rate: the motion at the file's times is the one that was going on then."""
    uneven = example(body, {0: np.arange(90)}, jitter_s=0.010)
    (track,) = tracks_of(uneven).people
    even, rate = at_constant_rate(track, 30.0)
    assert rate == 30.0
    np.testing.assert_allclose(np.diff(even.time_s), 1 / 30)
    from tests.formats.motions import smooth

    truth = Rotation.from_rotvec(smooth(10, even.time_s - 2.0).reshape(-1, 3))
    off = (truth.inv() * Rotation.from_rotvec(even.rotations.reshape(-1, 3))).magnitude()
    assert np.degrees(off).max() < 0.5  # of motions that turn by up to 5 degrees a frame
    assert np.degrees(np.median(off)) < 0.05
    assert even.seen.all()


def test_milliseconds_and_odd_rates_keep_every_row(body: BodyArrays) -> None:
    motion = example(body, {0: np.arange(100)}, fps=30000 / 1001)
    motion = replace(motion, time_s=np.round(motion.time_s, 3))
    (track,) = tracks_of(motion).people
    even, rate = at_constant_rate(track, motion.fps)
    assert rate == pytest.approx(30000 / 1001, rel=1e-5)
    np.testing.assert_allclose(even.rotations, track.rotations, atol=1e-9)


def test_rows_that_are_not_finite_are_left_out_and_told(motion: Motion, body: BodyArrays, tmp_path: Path) -> None:
    pose = motion.body_pose.copy()
    bad = np.flatnonzero(motion.person == 0)[[5, 6]]
    pose[bad[0], 3, 1], pose[bad[1]] = np.nan, np.inf
    broken = replace(motion, body_pose=pose)
    for ending in (".bvh", ".trc", ".csv", ".glb", ".amass.npz", ".jsonl"):
        saved = save_as(broken, tmp_path / f"walk{ending}")
        if ending != ".jsonl":
            assert "person 0: 2 rows with values that are not finite left out" in saved.lines
        for path in saved.paths:
            assert ending in (".amass.npz", ".trc") or b"nan" not in path.read_bytes().lower()
    track, _ = wanted(broken, body)
    assert len(track.time_s) == 60  # filled in from its neighbours
    assert np.isfinite(track.rotations).all()
    nobody = replace(motion, transl=np.full_like(motion.transl, np.nan))
    with pytest.raises(UserError, match="finite"):
        save_as(nobody, tmp_path / "none.bvh", frame="camera")
    assert not (tmp_path / "none.bvh").exists()


def test_the_cameras_frame_stands_on_the_cameras_axes(motion: Motion, body: BodyArrays) -> None:
    """Half a turn about x takes y down, z forward to y up, z back."""
    (track,) = tracks_of(motion, "camera", 0).people
    rows = motion.person == 0
    np.testing.assert_allclose(track.joints(body), motion.joints_m[rows] * [1, -1, -1], atol=3e-3)
    old = replace(motion, world_transl=None)
    assert tracks_of(old).frame == "camera"
    with pytest.raises(UserError, match="no world frame"):
        tracks_of(old, "world")


def test_json_lines_leave_the_worlds_frame_out_where_the_cameras_is_asked_for(motion: Motion, tmp_path: Path) -> None:
    for name, frame in (("both", None), ("world", "world"), ("camera", "camera")):
        save_as(motion, tmp_path / f"{name}.jsonl", frame=frame)
        assert open_motion(tmp_path / f"{name}.jsonl").has_world == (name != "camera")
    save_as(motion, tmp_path / "all.npz", frame="camera")
    assert open_motion(tmp_path / "all.npz").has_world, "the archive always has all"
    with pytest.raises(UserError, match="no world frame"):
        save_as(open_motion(tmp_path / "camera.jsonl"), tmp_path / "none.jsonl", frame="world")


def test_wrong_names_are_told(motion: Motion, tmp_path: Path) -> None:
    for name in ("walk.fbx", ".bvh", "walk"):
        with pytest.raises(UserError, match="ending chooses"):
            save_as(motion, tmp_path / name)
    with pytest.raises(UserError, match="these are: 0, 3"):
        save_as(motion, tmp_path / "walk.bvh", person=2)
    with pytest.raises(UserError, match="no folder"):
        save_as(motion, tmp_path / "none" / "walk.bvh")
    with pytest.raises(UserError, match="ending chooses"):
        open_motion(tmp_path / "walk.glb")
