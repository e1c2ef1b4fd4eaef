"""Whatever bytes a file holds, a reader either reads them or ends with an error for the user, in little memory."""

from __future__ import annotations

import contextlib
import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from body.model import DATA, load_body
from body.smpl_file import read_pickle
from body.smpl_file import read_smpl_npz as read_body_npz
from common.command_line import with_options
from common.errors import UserError
from common.npz import ERRORS, read_npz
from engines.onnx_file import open_onnx
from formats.motion import Motion, load_motion, save_motion
from formats.save import open_motion
from realtime.options import Options
from realtime.sources import open_source
from realtime.sources.address import public_name
from tests.formats.motions import example
from training.motion.asf_amc import parse_asf
from training.motion.bvh import read_bvh

few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def bomb(shape: tuple[int, ...], really: int) -> bytes:
    """An .npz whose array "frame" says it has ``shape`` and has ``really`` zero bytes, packed."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # noqa: SIM117
        with archive.open("frame.npy", "w", force_zip64=True) as file:
            file.write(header.getvalue())
            for _ in range(really // (1 << 20)):
                file.write(bytes(1 << 20))
    return packed.getvalue()


@pytest.mark.parametrize("shape", [(32 << 20,), (10**12,), (10**9, 10**9), (-5,)])
@pytest.mark.parametrize("reader", [load_motion, open_motion, load_body])
def test_bombs_take_little_memory(tmp_path: Path, shape: tuple[int, ...], reader: Callable[[Path], object]) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(bomb(shape, 256 << 20))
    assert path.stat().st_size < 2_000_000
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            reader(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6
    assert "allow_pickle" not in str(caught.value)


def test_objects_are_refused_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, frame=np.array([{}], object))
    with pytest.raises(UserError, match="holds Python objects") as caught:
        load_motion(path)
    assert "pickle" not in str(caught.value)


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.eye(3)), "c": np.str_("x"), "d": np.zeros(0)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
        read = read_npz(tmp_path / "x.npz")
        assert read.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """``whole`` with bytes changed, left out, doubled or cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(("change", "cut", "leave out", "double", "zero")))
        length = draw(st.integers(1, 40))
        if kind == "change":
            data[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "cut":
            del data[place:]
        elif kind == "leave out":
            del data[place : place + length]
        elif kind == "double":
            data[place:place] = data[place : place + length]
        else:
            data[place : place + length] = bytes(len(data[place : place + length]))
    return bytes(data)


def small_motion(frames: int) -> Motion:
    """One person in so many frames."""
    return example(load_body("body_1722"), {0: np.arange(frames)})


def saved_motion() -> bytes:
    """A small motion file."""
    target = io.BytesIO()
    np.savez(target, allow_pickle=False, **small_motion(4).arrays())
    return target.getvalue()


MOTION = saved_motion()
BVH = b"""HIERARCHY
ROOT Hips
{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT Knee
 {
  OFFSET 0 -1 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  End Site
  {
   OFFSET 0 -1 0
  }
 }
}
MOTION
Frames: 2
Frame Time: 0.033333
0 1 0 0 0 0 10 0 0
0 1 0 0 5 0 20 0 0
"""
ASF = b"""# ASF
:version 1.10
:name x
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name lhip
     direction 0.6 -0.7 0.2
     length 2.4
     axis 0 0 20  XYZ
     dof rx ry rz
     limits (-160.0 20.0) (-70.0 70.0) (-60.0 70.0)
  end
:hierarchy
  begin
    root lhip
  end
"""


@few
@given(damaged(MOTION))
def test_damaged_motion_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        load_motion(path)


@few
@given(damaged(BVH))
def test_damaged_bvh_files(tmp_path: Path, content: bytes) -> None:
    for name, read in (("m.bvh", open_motion), ("n.bvh", read_bvh)):
        path = tmp_path / name
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            read(path)


@few
@given(damaged(ASF))
def test_damaged_asf_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.asf"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        parse_asf(path)


@few
@given(damaged(pickle.dumps({"v_template": np.zeros((4, 3)), "f": np.zeros((2, 3), np.uint32)}, protocol=2)))
def test_damaged_pickles(content: bytes) -> None:
    with contextlib.suppress(UserError):
        read_pickle(content, "body.pkl")


@few
@given(st.data())
def test_damaged_bodies(data: st.DataObject) -> None:
    content = data.draw(damaged((DATA / "body_1722.npz").read_bytes()))
    with contextlib.suppress(UserError):
        read_body_npz(content, "body.npz")


@few
@given(st.binary(max_size=400))
def test_noise(tmp_path: Path, content: bytes) -> None:
    readers: tuple[tuple[str, Callable[[Path], object]], ...] = (
        ("x.npz", load_motion), ("x.npz", load_body), ("x.pkl", load_body), ("x.bvh", open_motion),
        ("x.jsonl", open_motion), ("x.amass.npz", open_motion), ("x.mp4", lambda path: open_source(str(path)).close()),
        ("x.png", lambda path: open_source(str(path)).close()), ("x.webp", lambda path: open_source(str(path)).close()),
        ("x.onnx", open_onnx),
    )  # fmt: skip
    for name, read in readers:
        path = tmp_path / name
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            read(path)


@few
@given(st.binary(max_size=300))
def test_noise_as_npz(content: bytes) -> None:
    with contextlib.suppress(ERRORS):
        read_npz(content)


@few
@given(st.text(max_size=60))
def test_any_text_as_a_source_file(text: str) -> None:
    if "://" in text or text.strip().isdecimal() or public_name(text) != text:
        return
    with contextlib.suppress(UserError):
        open_source("/nowhere/" + text).close()


@given(st.dictionaries(st.sampled_from(["fps", "frames", "retry", "rotate", "persons"]), st.floats(), max_size=3))
def test_any_number_as_an_option(numbers: dict[str, float]) -> None:
    try:
        with_options(Options, lambda options: options)
        Options(**numbers)  # type: ignore[arg-type]
    except UserError:
        pass


def test_a_motion_with_absurd_rows_is_read_without_them(tmp_path: Path) -> None:
    motion = small_motion(6)
    arrays = motion.arrays()
    rows = np.flatnonzero(arrays["person"] >= 0)
    arrays["transl"] = arrays["transl"].copy()
    arrays["transl"][rows[1]] = np.nan
    save_motion(tmp_path / "m.npz", arrays)
    read = load_motion(tmp_path / "m.npz")
    assert len(read.frame) == len(motion.frame) - 1
    assert np.isfinite(read.transl[read.person >= 0]).all()
