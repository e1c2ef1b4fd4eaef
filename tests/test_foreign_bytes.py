"""Whatever bytes a file holds, a reader either reads them or ends with an error for the user, in little memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from body.model import load_body
from common.command_line import with_options
from common.errors import UserError
from common.npz import NPZ_ERRORS, SMALL_BYTES, read_npz
from engines.onnx_file import open_onnx
from formats.bvh import to_bvh
from formats.json_lines import to_jsonl
from formats.motion import Motion, load_motion, save_motion
from formats.save import open_motion, save_as
from formats.tracks import tracks_of
from realtime.options import Options
from realtime.sources import open_source
from realtime.sources.address import public_name
from tests.foreign import damaged, few, little_memory, refuses, reworded, zip_of_zeros
from tests.formats.motions import example


@pytest.mark.parametrize("shape", [(32 << 20,), (10**12,), (10**9, 10**9), (-5,)])
@pytest.mark.parametrize("reader", [load_motion, open_motion, load_body])
def test_bombs_take_little_memory(tmp_path: Path, shape: tuple[int, ...], reader: Callable[[Path], object]) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(zip_of_zeros(shape, 256 << 20))
    assert path.stat().st_size < 2_000_000
    refuses(reader, path)


def test_bombs_just_below_the_limit_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(zip_of_zeros(((SMALL_BYTES >> 20) << 17,), (SMALL_BYTES >> 20) << 20))
    for reader in (load_motion, open_motion, load_body):
        refuses(reader, path)


@pytest.mark.parametrize("reader", [load_motion, open_motion, load_body])
def test_the_head_of_a_single_array_takes_no_memory(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    refuses(reader, tmp_path / "x.npz")


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


def small_motion(frames: int) -> Motion:
    """One person in so many frames."""
    return example(load_body("body_1722"), {0: np.arange(frames)})


def saved_motion() -> bytes:
    """A small motion file."""
    target = io.BytesIO()
    np.savez(target, allow_pickle=False, **small_motion(4).arrays())
    return target.getvalue()


MOTION = saved_motion()
TEXTS = {
    ".jsonl": to_jsonl(small_motion(2)).decode().replace(",", ", ").replace(":", ": "),
    ".bvh": to_bvh(tracks_of(small_motion(3)).people[0], load_body("body_1722"), 30.0).decode(),
}


@few
@given(damaged(MOTION))
def test_damaged_motion_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        load_motion(path)


@few
@given(st.data())
def test_damaged_text_files_can_be_converted_or_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Also those that can be read: what is in them may be too much for another format."""
    ending = data.draw(st.sampled_from((".bvh", ".jsonl")))
    path = tmp_path / f"m{ending}"
    path.write_text(data.draw(reworded(TEXTS[ending])), encoding="utf-8")
    other = data.draw(st.sampled_from((".bvh", ".trc", ".csv", ".glb", ".jsonl", ".amass.npz", ".npz")))
    with little_memory(), contextlib.suppress(UserError):
        save_as(open_motion(path), tmp_path / f"out{other}")


def test_a_pose_is_not_held_for_years(tmp_path: Path) -> None:
    motion = small_motion(4)
    arrays = motion.arrays()
    arrays["time_s"] = np.array([0, 0.03, 1e8, 1e8 + 0.03])
    save_motion(tmp_path / "m.npz", arrays)
    read = load_motion(tmp_path / "m.npz")
    for ending in (".bvh", ".trc", ".amass.npz"):
        refuses(
            lambda path, ending=ending: save_as(read, path.with_name(f"out{ending}")), tmp_path / "m.npz", "away for"
        )
        assert len(save_as(read, tmp_path / f"out{ending}", gaps="split").paths) == 2


def test_a_bvh_file_of_few_channels_and_many_frames(tmp_path: Path) -> None:
    lines = TEXTS[".bvh"].splitlines()
    head = [line if "CHANNELS" not in line else "CHANNELS 1 Xrotation" for line in lines[: lines.index("MOTION")]]
    (tmp_path / "m.bvh").write_text("\n".join([*head, "MOTION", "Frames: 5000", "Frame Time: 0.01", "0 " * 5000 * 24]))
    assert (tmp_path / "m.bvh").stat().st_size < 1_500_000
    with little_memory():
        assert len(open_motion(tmp_path / "m.bvh").frame) == 5000


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
    with contextlib.suppress(NPZ_ERRORS):
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


@pytest.mark.parametrize("ending", [".bvh", ".glb", ".csv", ".jsonl"])
def test_a_motion_without_any_row_is_refused_or_written_empty(tmp_path: Path, ending: str) -> None:
    motion = small_motion(6)
    empty = motion.rows(np.zeros(len(motion.frame), np.bool_))
    save_motion(tmp_path / "m.npz", empty.arrays())
    read = load_motion(tmp_path / "m.npz")
    assert not read.people
    if ending == ".jsonl":
        assert to_jsonl(read)
        return
    with pytest.raises(UserError, match="nobody is in the motion"):
        save_as(read, tmp_path / f"out{ending}", load_body())


@pytest.mark.parametrize("fps", [0.0, -30.0, np.nan, np.inf, 1e300])
def test_a_rate_that_cannot_be_is_one_that_is_not_known(tmp_path: Path, fps: float) -> None:
    arrays = small_motion(6).arrays()
    save_motion(tmp_path / "m.npz", {**arrays, "fps": np.asarray(fps)})
    assert np.isnan(load_motion(tmp_path / "m.npz").fps)


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
