"""Markers: read from files, and the pose that they were put on comes back."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from scipy.spatial.transform import Rotation  # noqa: E402

from body.joints import JOINT_NAMES  # noqa: E402
from tests.training.motion.c3d_file import DEC, INTEL, MIPS, c3d_file  # noqa: E402
from training.motion.c3d import parse_c3d  # noqa: E402
from training.motion.clip import MotionError  # noqa: E402
from training.motion.marker_fit import clips_from_markers  # noqa: E402
from training.motion.marker_model import PARAMETERS, PLACES, Poses, bone_offsets, exp, frames_of, local_rotations  # noqa: E402
from training.motion.marker_solver import MarkerSkeleton, marker_places  # noqa: E402
from training.motion.markers import MARKERS, VICON_COLUMNS, MarkerTake, close_gaps, read_c3d, read_vicon_text  # noqa: E402


def squatting(count: int, skeleton: MarkerSkeleton, turn: float = 0.6) -> tuple[Poses, np.ndarray]:
    """Poses of somebody who squats, turns and lifts an arm, and the markers (count, M, 3) on him."""
    time = torch.linspace(0, 1, count)
    poses = Poses.rest(count)
    bend = 0.7 - 0.7 * torch.cos(2 * torch.pi * time)
    zero = torch.zeros(count)
    poses.place = torch.stack([0.3 * time, 0.93 - 0.2 * bend, 0.1 * time], -1)
    poses.balls[:, 0] = exp(torch.stack([0.3 * bend, zero + turn, zero], -1))
    for ball in (1, 2):
        poses.balls[:, ball] = exp(torch.stack([-bend, zero, zero + (0.1 if ball == 1 else -0.1)], -1))
    poses.balls[:, 3] = exp(torch.stack([zero, zero, -1.2 + 1.5 * time], -1))
    poses.balls[:, 4] = exp(torch.stack([zero, zero, zero + 1.2], -1))
    poses.angles[:, 0] = 0.3 * bend
    poses.angles[:, 8], poses.angles[:, 15] = 0.3 + bend * 0.5, 0.4
    poses.angles[:, 12], poses.angles[:, 19] = 1.2 * bend + 0.05, 1.2 * bend + 0.05
    return poses, marker_places(torch.zeros(count, PARAMETERS), poses, skeleton).numpy()


def somebody() -> MarkerSkeleton:
    """Taller than the mean, with longer arms, and markers placed a little otherwise."""
    lengths = torch.full((9,), 1.06)
    lengths[6:8] = 1.12
    rng = torch.Generator().manual_seed(3)
    return MarkerSkeleton(bone_offsets(lengths), PLACES * 1.06 + torch.randn(PLACES.shape, generator=rng) * 0.004)


def test_the_fit_finds_poses_and_bones_from_noisy_markers() -> None:
    skeleton = somebody()
    poses, points = squatting(31, skeleton)
    rng = np.random.default_rng(1)
    noisy = points + rng.normal(size=points.shape) * 0.003
    noisy[10:20, MARKERS.index("LFIN")] = np.nan
    noisy[25, MARKERS.index("RTOE")] += 0.4  # one marker mistaken for another
    rest = marker_places(torch.zeros(4, PARAMETERS), _t_pose(4), skeleton).numpy()
    takes = [
        MarkerTake("squat", "1", noisy.astype(np.float32), 30.0),
        MarkerTake("calib", "1", rest.astype(np.float32), 30.0, "tpose"),
    ]
    (clip,) = clips_from_markers(takes)
    assert clip.frames == 31
    turned, _ = frames_of(torch.zeros(31, PARAMETERS), poses, skeleton.offsets)
    truth = Rotation.from_matrix(local_rotations(turned).numpy().reshape(-1, 3, 3))
    found = Rotation.from_rotvec(clip.rotations.reshape(-1, 3).astype(float))
    off = np.degrees((truth.inv() * found).magnitude()).reshape(31, 24)
    for joint in ("pelvis", "left_hip", "right_knee", "left_shoulder", "spine2", "head", "left_ankle"):
        assert np.median(off[:, JOINT_NAMES.index(joint)]) < 4, joint
    # The forearm turns by what its two markers, 8 cm apart, say: 3 mm are 3 degrees.
    assert np.median(off[:, JOINT_NAMES.index("right_elbow")]) < 7
    knee = np.degrees(np.linalg.norm(clip.rotations[:, JOINT_NAMES.index("left_knee")], axis=-1))
    np.testing.assert_allclose(knee, np.degrees(poses.angles[:, 12].numpy()), atol=4)


def _t_pose(count: int) -> Poses:
    poses = Poses.rest(count)
    poses.angles[:] = 0
    poses.place[:, 1] = 0.95
    return poses


def test_frames_without_markers_split_a_take() -> None:
    _, points = squatting(40, somebody())
    points[18:22, 5:] = np.nan
    clips = clips_from_markers([MarkerTake("squat", "1", points.astype(np.float32), 30.0)])
    assert [clip.name for clip in clips] == ["squat", "squat part 2"]
    assert [clip.frames for clip in clips] == [18, 18]
    with pytest.raises(MotionError, match="too few"):
        clips_from_markers([MarkerTake("empty", "1", np.full((30, len(MARKERS), 3), np.nan, np.float32), 30.0)])


def test_a_c3d_file_is_read_as_a_laboratory_writes_it(tmp_path: Path) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    _, points = squatting(24, somebody())
    path = tmp_path / "Male1_Calib.c3d"
    file = ezc3d.c3d()
    old = {"LASI": "LFWT", "RASI": "RFWT", "LPSI": "LBWT", "RPSI": "RBWT", "LTIB": "LSHN", "RTIB": "RSHN"}
    file["parameters"]["POINT"]["RATE"]["value"] = [120.0]
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["parameters"]["POINT"]["LABELS"]["value"] = [f"Male1:{old.get(name, name)}" for name in MARKERS]
    data = np.ones((4, len(MARKERS), 24))
    # y up, facing +z, left +x: to z up, facing +y, left -x
    data[:3] = np.stack([-points[..., 0], points[..., 2], points[..., 1]]).transpose(0, 2, 1) * 1000
    data[:3, MARKERS.index("C7"), 3:6] = np.nan
    file["data"]["points"] = data
    file.write(str(path))
    take = read_c3d(path)
    assert (take.subject, take.fps, take.rest) == ("male1", 120.0, "tpose")
    seen = np.delete(np.arange(24), [3, 4, 5])
    np.testing.assert_allclose(take.points[seen], points[seen], atol=1e-4)
    np.testing.assert_allclose(take.points[3:6], points[3:6], atol=0.01)  # closed
    path.write_bytes(b"no markers")
    with pytest.raises(MotionError, match="not a C3D file"):
        read_c3d(path)


@pytest.mark.parametrize("processor", [INTEL, DEC, MIPS])
@pytest.mark.parametrize("whole_numbers", [False, True])
def test_every_kind_of_c3d_file(tmp_path: Path, processor: int, whole_numbers: bool) -> None:
    points = np.random.default_rng(4).uniform(-2000, 2000, (5, 3, 3)).round(1)
    points[2, 1] = np.nan
    path = tmp_path / "x.c3d"
    path.write_bytes(c3d_file(points, "ABC", processor=processor, whole_numbers=whole_numbers, fps=59.5, channels=6))
    read = parse_c3d(path)
    np.testing.assert_allclose(read.points, points, atol=1e-3)
    assert (read.labels, read.unit, read.fps) == (["A", "B", "C"], "mm", 59.5)


def test_another_reader_finds_the_same_points(tmp_path: Path) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    points = np.random.default_rng(5).uniform(-2000, 2000, (7, 4, 3))
    path = tmp_path / "x.c3d"
    path.write_bytes(c3d_file(points, ["one", "two", "three", "four"]))
    file = ezc3d.c3d(str(path))
    np.testing.assert_allclose(file["data"]["points"][:3].transpose(2, 1, 0), points, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(parse_c3d(path).points, points, rtol=1e-6, atol=1e-4)


def test_ui_prmds_text_files_are_read(tmp_path: Path) -> None:
    _, points = squatting(20, somebody())
    columns = points[:, [MARKERS.index(name) for name in VICON_COLUMNS]]
    table = np.stack([columns[..., 2], columns[..., 0], columns[..., 1]], -1).reshape(20, -1) * 1000
    path = tmp_path / "m07_s03_e01_positions.txt.gz"
    with gzip.open(path, "wt") as file:
        np.savetxt(file, table, delimiter=",", fmt="%.4f")
    take = read_vicon_text(path)
    assert (take.subject, take.rest, take.fps) == ("s03", "stand", 100.0)
    np.testing.assert_allclose(take.points[:, MARKERS.index("LKNE")], points[:, MARKERS.index("LKNE")], atol=1e-6)
    assert np.isnan(take.points[:, MARKERS.index("LMT5")]).all()
    np.savetxt(tmp_path / "other.txt", table[:, :9], delimiter=",")
    with pytest.raises(MotionError, match="9 numbers"):
        read_vicon_text(tmp_path / "other.txt")


def test_short_gaps_are_closed_and_long_ones_stay() -> None:
    points = np.zeros((200, len(MARKERS), 3))
    points[:, 0, 0] = np.sin(np.arange(200) / 20)
    points[40:50, 0] = np.nan
    points[100:160, 0] = np.nan
    closed = close_gaps(points, 100.0)
    np.testing.assert_allclose(closed[40:50, 0, 0], np.sin(np.arange(40, 50) / 20), atol=0.01)
    assert np.isnan(closed[100:160, 0]).all()
