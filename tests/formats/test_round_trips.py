"""What is written and can be read again comes back, for any poses."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from body.model import BodyArrays, load_body
from common.arrays import AnyFloatArray, DoubleArray, FloatArray
from common.errors import UserError
from formats.amass import from_amass, to_amass
from formats.bvh import from_bvh, to_bvh
from formats.euler import euler_degrees
from formats.json_lines import from_jsonl, to_json_values, to_jsonl
from formats.motion import Motion
from formats.save import open_motion, save_as
from formats.tracks import MotionTrack, at_constant_rate, tracks_of
from tests.formats.motions import two_people

BODY = load_body("body_1722")
ANGLES = st.floats(-4, 4, width=32)


@st.composite
def tracks(draw: st.DrawFn) -> MotionTrack:
    """Any poses of one person in 1 to 6 frames at 30/s, of any shape that the body can take."""
    count = draw(st.integers(1, 6))
    return MotionTrack(
        person=0,
        time_s=np.arange(count) / 30,
        rotations=draw(arrays(np.float64, (count, 24, 3), elements=ANGLES)),
        pelvis=draw(arrays(np.float64, (count, 3), elements=st.floats(-20, 20, width=32))),
        betas=draw(arrays(np.float32, (10,), elements=st.floats(-2, 2, width=32))),
        seen=np.ones(count, np.bool_),
    )


def check_turns(found: AnyFloatArray, want: AnyFloatArray, degrees: float) -> None:
    first, second = (Rotation.from_rotvec(values.reshape(-1, 3)) for values in (found, want))
    assert np.degrees((first.inv() * second).magnitude()).max() <= degrees


@settings(max_examples=25)
@given(track=tracks())
def test_bvh(track: MotionTrack, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bvh") / "a.bvh"
    path.write_bytes(to_bvh(track, BODY, 30.0))
    back, rate = from_bvh(path, BODY)
    assert rate == pytest.approx(30)
    check_turns(back.rotations, track.rotations, 1e-4)
    np.testing.assert_allclose(back.pelvis, track.pelvis, atol=1e-6)
    np.testing.assert_allclose(back.joints(BODY), track.joints(BODY), atol=1e-4)
    np.testing.assert_allclose(back.betas, track.betas, atol=0.02)  # from bones told to a micrometre


@settings(max_examples=25)
@given(track=tracks())
def test_amass(track: MotionTrack, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("amass") / "a.amass.npz"
    path.write_bytes(to_amass(track, BODY, 30.0))
    back, rate = from_amass(path, BODY)
    assert rate == pytest.approx(30)
    check_turns(back.rotations[:, :22], track.rotations[:, :22], 1e-4)
    assert not back.rotations[:, 22:].any()
    np.testing.assert_allclose(back.joints(BODY), track.joints(BODY), atol=1e-4)
    np.testing.assert_array_equal(back.betas, track.betas)


@settings(max_examples=25)
@given(turns=arrays(np.float64, (5, 2, 3), elements=st.floats(-10, 10)), axes=st.sampled_from(["ZXY", "XZY", "YXZ"]))
def test_euler_angles_are_the_rotations(turns: DoubleArray, axes: str) -> None:
    angles = euler_degrees(turns, axes)
    back = Rotation.from_euler(axes, angles.reshape(-1, 3), degrees=True).as_rotvec()
    check_turns(back, turns, 1e-4)
    assert (np.abs(angles[..., 1]) <= 90 + 1e-9).all()


@settings(max_examples=50)
@given(arrays(np.float32, (3, 4), elements=st.floats(width=32)))
def test_numbers_come_back_through_json(values: FloatArray) -> None:
    text = json.dumps(to_json_values(values), allow_nan=False)
    back = np.array(json.loads(text), np.float32)
    np.testing.assert_array_equal(back, np.where(np.isfinite(values), values, np.nan))
    for value, one in zip(values.flat, back.flat, strict=True):  # as the floor's height that is not known yet
        np.testing.assert_equal(np.float32(to_json_values(value)), one)


@settings(max_examples=25)
@given(track=tracks(), start=st.floats(0, 1e4), gaps=st.lists(st.floats(0.001, 3), min_size=5, max_size=5))
def test_any_times_give_a_constant_rate(track: MotionTrack, start: float, gaps: list[float]) -> None:
    times = start + np.cumsum(gaps)[: len(track.time_s)]
    track = replace(track.rows(slice(0, len(times))), time_s=times)
    even, rate = at_constant_rate(track, 30.0)
    assert len(even.time_s) == 1 or np.allclose(np.diff(even.time_s), 1 / rate, atol=2.1e-3)
    assert even.time_s[0] == pytest.approx(times[0], abs=1e-3)
    assert times[-1] - even.time_s[-1] < 1.01 / rate
    assert np.isfinite(even.rotations).all()


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return BODY


@pytest.fixture(scope="module")
def motion(body: BodyArrays) -> Motion:
    return two_people(body)


@pytest.mark.parametrize("world", [True, False])
@pytest.mark.parametrize("ending", [".npz", ".jsonl"])
def test_whole_motions_come_back_to_the_last_bit(body: BodyArrays, tmp_path: Path, ending: str, world: bool) -> None:
    motion = two_people(body, world=world)
    back = open_motion(save_as(motion, tmp_path / f"m{ending}").paths[0])
    for field in fields(Motion):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(motion, field.name), err_msg=field.name)


def test_a_recorded_stream_is_a_file(motion: Motion, tmp_path: Path) -> None:
    """Headers that repeat, names of a later version and empty lines do no harm."""
    lines = to_jsonl(motion).decode().splitlines()
    frame = json.loads(lines[3]) | {"mood": "fine"}
    (tmp_path / "s.jsonl").write_text("\n".join([*lines[:3], json.dumps(frame), lines[0], "", *lines[4:]]))
    np.testing.assert_array_equal(from_jsonl(tmp_path / "s.jsonl").transl, motion.transl)


@pytest.mark.parametrize("ending", [".bvh", ".amass.npz"])
def test_a_converted_file_is_a_motion_again(motion: Motion, body: BodyArrays, tmp_path: Path, ending: str) -> None:
    path = save_as(motion, tmp_path / f"m{ending}", person=0).paths[0]
    body_file = Path(body.name)
    back = open_motion(path, body_file)
    (want,) = tracks_of(motion, person=0).people
    (found,) = tracks_of(back).people
    np.testing.assert_allclose(found.joints(body), want.joints(body), atol=1e-4)
    save_as(back, tmp_path / "again.npz")
    for again in (".glb", ".trc", ".csv", ".jsonl", ".bvh", ".amass.npz"):  # without a camera, and without pixels
        assert save_as(open_motion(tmp_path / "again.npz"), tmp_path / f"again{again}").paths[0].stat().st_size > 1000


def test_amass_files_of_other_layouts_are_read(motion: Motion, body: BodyArrays, tmp_path: Path) -> None:
    path = save_as(motion, tmp_path / "m.amass.npz", person=0).paths[0]
    with np.load(path, allow_pickle=False) as archive:
        content = {name: archive[name] for name in archive.files}
    want, _ = from_amass(path, body)
    poses = content.pop("poses")
    split = {**content, "root_orient": poses[:, :3], "pose_body": poses[:, 3:66]}
    split["mocap_frame_rate"] = split.pop("mocap_framerate")
    np.savez(tmp_path / "x.npz", surface_model_type="smplx", **split)
    found, rate = from_amass(tmp_path / "x.npz", body)
    np.testing.assert_array_equal(found.rotations, want.rotations)
    assert rate == pytest.approx(30)
    np.savez(tmp_path / "walk_poses.npz", poses=poses, **content)  # as the archive names its files
    assert open_motion(tmp_path / "walk_poses.npz").source == "walk_poses.npz"


DAMAGED = {
    ".bvh": [
        b"", b"HIERARCHY\nROOT pelvis\n{", b"\x00\xff\xfe", b"HIERARCHY ROOT Hips { OFFSET 0 0 0 CHANNELS 1 Xrotation }",
        b"HIERARCHY ROOT pelvis { OFFSET 0 0 0 CHANNELS 1 Xrotation } MOTION Frames: 2 Frame Time: 0.1 1 nan",
        b"HIERARCHY ROOT pelvis { OFFSET 0 0 0 CHANNELS 1 Xrotation } MOTION Frames: 2 Frame Time: 0.1 1",
    ],
    ".jsonl": [b"", b"{", b"[1]", b'{"type":"frame"}', b'{"type":"frame","version":1,"people":[]}', b"\xff\xfe"],
    ".amass.npz": [b"", b"PK\x03\x04", b"hello"],
}  # fmt: skip


@pytest.mark.parametrize(("ending", "content"), [(end, content) for end, all_ in DAMAGED.items() for content in all_])
def test_damaged_files_get_one_line(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"m{ending}"
    with pytest.raises(UserError, match="cannot read"):
        open_motion(path)
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        open_motion(path)
    assert "\n" not in str(caught.value)


def test_a_newer_schema_is_refused(motion: Motion, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(to_jsonl(motion).replace(b'"version":1', b'"version":2'))
    with pytest.raises(UserError, match="schema version 2"):
        from_jsonl(tmp_path / "m.jsonl")
