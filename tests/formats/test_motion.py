from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.model import load_body
from common.arrays import AnyArray
from common.camera import Camera
from common.errors import UserError
from formats.motion import MORE_SHAPES, WORLD_SHAPES, Motion, load_motion, save_motion
from realtime.outputs.motion_writer import MotionWriter
from realtime.records import BodyEstimate, Frame, Keypoints, Result
from tests.formats.motions import two_people

CAMERA = Camera(500.0, 510.0, 319.5, 239.5)
SHA = "ab" * 32


def body(sequence: int, person: int) -> BodyEstimate:
    random = np.random.default_rng(sequence * 10 + person)

    def some(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.normal(size=shape).astype(np.float32)

    joints = some(24, 3) * np.float32(0.3) + np.array([0, 0, 3], np.float32)
    keypoints = Keypoints(sequence, person, some(17, 2), some(17))
    return BodyEstimate(
        sequence, person, some(3), some(23, 3), some(10), some(3), joints, some(17, 3), some(5, 3), keypoints
    )


def result(sequence: int, *people: int) -> Result:
    frame = Frame(sequence, 0, sequence / 30, np.zeros((2, 2, 3), np.uint8))
    return Result(frame, CAMERA, tuple(body(sequence, person) for person in people), 0)


def write(path: Path, *results: Result) -> Path:
    with MotionWriter(path, CAMERA, 29.97, "walk.mp4", SHA) as out:
        for one in results:
            out.write(one)
    return path


def test_everything_comes_back(tmp_path: Path) -> None:
    motion = load_motion(write(tmp_path / "m.npz", result(0, 4), result(1), result(5, 4, 7)))
    assert motion.frame.tolist() == [0, 1, 5, 5]
    assert motion.person.tolist() == [4, -1, 4, 7]
    np.testing.assert_allclose(motion.time_s, np.array([0, 1, 5, 5]) / 30)
    assert (motion.fps, motion.source, motion.body_sha256, motion.version) == (29.97, "walk.mp4", SHA, 2)
    np.testing.assert_array_equal(motion.camera_matrix, CAMERA.matrix)
    want = body(5, 7)
    for name in ("global_orient", "body_pose", "betas", "transl"):
        np.testing.assert_array_equal(getattr(motion, name)[3], getattr(want, name))
        assert getattr(motion, name).dtype == np.float32
    np.testing.assert_array_equal(motion.joints_m[3], want.joints)
    np.testing.assert_array_equal(motion.keypoints_px[3], want.keypoints.points)
    np.testing.assert_array_equal(motion.keypoint_confidence[3], want.keypoints.confidence)
    projected = want.joints @ CAMERA.matrix.T
    np.testing.assert_allclose(motion.joints_px[3], projected[:, :2] / projected[:, 2:], atol=1e-3)


def test_a_frame_without_people_is_a_row_of_nan(tmp_path: Path) -> None:
    motion = load_motion(write(tmp_path / "m.npz", result(3)))
    assert motion.person.tolist() == [-1]
    for name in ("joints_m", "joints_px", "keypoints_px", "keypoint_confidence", "body_pose", "betas", "transl"):
        assert np.isnan(getattr(motion, name)).all()


def test_joints_behind_the_camera_have_no_pixels(tmp_path: Path) -> None:
    one = result(0, 1)
    one.people[0].joints[3, 2] = -1.0
    motion = load_motion(write(tmp_path / "m.npz", one))
    assert np.isnan(motion.joints_px[0, 3]).all()
    assert np.isfinite(motion.joints_px[0, 4:]).all()


def test_long_recordings_grow(tmp_path: Path) -> None:
    motion = load_motion(write(tmp_path / "m.npz", *(result(index, 1) for index in range(1500))))
    np.testing.assert_array_equal(motion.frame, np.arange(1500))
    np.testing.assert_array_equal(motion.transl[1400], body(1400, 1).transl)


def test_plain_numpy_reads_it(tmp_path: Path) -> None:
    with np.load(write(tmp_path / "name_without_suffix", result(0, 1)), allow_pickle=False) as archive:
        assert archive["joints_m"].shape == (1, 24, 3)
        assert str(archive["source"]) == "walk.mp4"


def test_an_error_in_between_keeps_what_came_before(tmp_path: Path) -> None:
    def interrupted() -> None:
        with MotionWriter(tmp_path / "m.npz", CAMERA, 30, "x", SHA) as out:
            out.write(result(0, 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(load_motion(tmp_path / "m.npz").frame) == 1


def test_nothing_is_touched_without_results_or_when_saving_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(b"precious")
    write(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match=r"is full.*free space"):
        write(path, result(0, 1))
    assert path.read_bytes() == b"precious"
    assert {file.name for file in tmp_path.iterdir()} == {"m.npz", "m.npz.part"}


def test_after_close_nothing_happens(tmp_path: Path) -> None:
    out = MotionWriter(tmp_path / "m.npz", CAMERA, 30, "x", SHA)
    out.write(result(0, 1))
    out.close()
    out.write(result(1, 1))
    out.close()
    assert load_motion(tmp_path / "m.npz").frame.tolist() == [0]


def test_a_missing_folder_is_known_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        MotionWriter(tmp_path / "missing" / "m.npz", CAMERA, 30, "x", SHA)


def changed(path: Path, **changes: Any) -> Path:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": np.int64(3)}, "format version 3"),
        ({"version": np.array("x")}, "version is no number"),
        ({"joints_m": None}, "lacks joints_m"),
        ({"joints_m": np.zeros((1, 17, 3), np.float32)}, r"joints_m is float32 \(1, 17, 3\)"),
        ({"betas": np.zeros((2, 10), np.float32)}, r"betas is float32 \(2, 10\)"),
        ({"time_s": np.zeros(1, np.float32)}, "time_s is float32"),
        ({"source": np.int64(3)}, "source is no text"),
        ({"frame": np.array([{}], object)}, "damaged or no motion file"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = changed(write(tmp_path / "m.npz", result(0, 1)), **changes)
    with pytest.raises(UserError, match=message) as caught:
        load_motion(path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def example() -> Motion:
    return two_people(load_body("body_1722"))


def test_the_arrays_of_version_2_come_back(tmp_path: Path, example: Motion) -> None:
    save_motion(tmp_path / "m.npz", example.arrays())
    back = load_motion(tmp_path / "m.npz")
    assert back.has_world
    for name, values in example.arrays().items():
        np.testing.assert_array_equal(getattr(back, name), values)
        assert np.asarray(getattr(back, name)).dtype == values.dtype


def test_version_1_and_a_version_2_without_a_world_are_read(tmp_path: Path, example: Motion) -> None:
    optional = {*WORLD_SHAPES, *MORE_SHAPES}
    plain = {name: values for name, values in example.arrays().items() if name not in optional}
    save_motion(tmp_path / "old.npz", {**plain, "version": np.int64(1)})
    old = load_motion(tmp_path / "old.npz")
    assert (old.version, old.has_world, old.up, old.contact) == (1, False, None, None)
    save_motion(tmp_path / "new.npz", {**plain, "up": example.arrays()["up"]})
    new = load_motion(tmp_path / "new.npz")
    assert new.up is not None
    assert not new.has_world


def _with(values: AnyArray, index: Any, value: Any) -> AnyArray:
    changed = values.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("up", lambda up: up * 1.01, "up holds vectors that are not of length 1"),
        ("up", lambda up: up.astype(np.float64), "up is float64"),
        ("contact", lambda contact: contact + 1, "contact holds values outside of 0..1"),
        ("contact", lambda contact: contact[:, :2], "contact is float32"),
        ("floor_sigma_m", lambda sigma: -sigma, "floor_sigma_m holds negative"),
        ("up_sigma_deg", lambda sigma: sigma[:-1], "up_sigma_deg is float32"),
        ("world_transl", lambda place: _with(place, (3, 1), np.inf), "world_transl holds infinite"),
        ("world_from_camera", lambda move: move * 2, "not a rotation and a shift"),
        ("world_from_camera", lambda move: move * np.float32([-1, 1, 1, 1]), "not a rotation and a shift"),
        ("world_joints_m", lambda _: None, "part of the world frame but lacks world_joints_m"),
    ],
)
def test_impossible_arrays_of_version_2(tmp_path: Path, example: Motion, name: str, change: Any, message: str) -> None:
    arrays = {**example.arrays(), name: change(example.arrays()[name])}
    np.savez(tmp_path / "m.npz", **{key: values for key, values in arrays.items() if values is not None})
    with pytest.raises(UserError, match=message):
        load_motion(tmp_path / "m.npz")


def test_unknown_rows_of_version_2_are_allowed(tmp_path: Path, example: Motion) -> None:
    optional = {*WORLD_SHAPES, *MORE_SHAPES}
    arrays = {name: _with(v, slice(0, 9), np.nan) if name in optional else v for name, v in example.arrays().items()}
    save_motion(tmp_path / "m.npz", arrays)
    assert np.isnan(load_motion(tmp_path / "m.npz").arrays()["world_from_camera"][:9]).all()


def test_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with pytest.raises(UserError, match="cannot read"):
        load_motion(path)
    for content in (b"", b"hello there", write(tmp_path / "whole.npz", result(0, 1)).read_bytes()[:-300]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"damaged or no motion file|cannot read"):
            load_motion(path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(UserError, match="a single array"):
        load_motion(tmp_path / "single.npy")
