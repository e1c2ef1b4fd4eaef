"""Motion packs and the command line that makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from training.motion.__main__ import app
from training.motion.clip import MotionError
from training.motion.pack import SplitRule, find_motions, load_motion_pack, load_motions, read_motions, save_motion_pack

from .skeletons import GENERIC, random_clip, write_amc, write_asf, write_bvh, write_packed_folder


def test_a_pack_gives_back_its_clips(tmp_path: Path) -> None:
    clips = [random_clip("a", "1", 25, 1), replace(random_clip("b", "2", 9, 2, free=False), split="val")]
    save_motion_pack(tmp_path / "m.npz", clips)
    again = load_motion_pack(tmp_path / "m.npz")
    for clip, back in zip(clips, again, strict=True):
        assert replace(clip, rotations=back.rotations, pelvis=back.pelvis) == back
        assert np.allclose(clip.rotations, back.rotations, atol=1e-4)
        assert np.allclose(clip.pelvis, back.pelvis, atol=1e-4)
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["d_aa", "d_trans", "index"]


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    clip = random_clip("a", "1")
    for clips in ([], [clip, replace(clip, fps=60.0)], [replace(clip, rest="body")]):
        with pytest.raises(ValueError, match="pack"):
            save_motion_pack(tmp_path / "m.npz", clips)
    clip.pelvis[3] = np.nan
    with pytest.raises(ValueError, match="usable number"):
        save_motion_pack(tmp_path / "m.npz", [clip])


def test_one_loader_for_folders_and_packs(tmp_path: Path) -> None:
    clips = [random_clip("a", "1"), random_clip("b", "2", free=False)]
    save_motion_pack(tmp_path / "m.npz", clips)
    write_packed_folder(tmp_path / "folder", [(clips[0], "CMU"), (clips[1], "BandaiNamco")])
    for path in (tmp_path / "m.npz", tmp_path / "folder"):
        assert [clip.name for clip in load_motions(path)] == ["a"]
        assert [clip.name for clip in load_motions(path, free_only=False)] == ["a", "b"]
        with pytest.raises(MotionError, match="no clips of test"):
            load_motions(path, ("test",))


def test_damaged_packs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with pytest.raises(MotionError, match=r"m\.npz"):
        load_motions(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(MotionError, match="not a motion pack"):
        load_motions(path)
    save_motion_pack(path, [random_clip("a", "1", 200)])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(MotionError, match=r"m\.npz"):
        load_motions(path)
    np.savez(path, index=np.array('{"format": "motion-pack", "version": 9}'), d_aa=np.zeros(1), d_trans=np.zeros(1))
    with pytest.raises(MotionError, match="9"):
        load_motions(path)


def test_subjects_are_never_torn_apart() -> None:
    rule = SplitRule(val=("7",), test=("8",), val_share=0.2, test_share=0.1)
    assert (rule.split_of("7"), rule.split_of("8")) == ("val", "test")
    splits = [rule.split_of(f"person {number}") for number in range(2000)]
    assert splits == [rule.split_of(f"person {number}") for number in range(2000)]
    assert splits.count("val") / 2000 == pytest.approx(0.2, abs=0.03)
    assert splits.count("test") / 2000 == pytest.approx(0.1, abs=0.03)
    assert SplitRule(val_share=0.0, test_share=0.0).split_of("anybody") == "train"


def _take_folder(tmp_path: Path) -> Path:
    root = tmp_path / "takes"
    for folder in ("02", "03", "amass/s9"):
        (root / folder).mkdir(parents=True)
    for name in ("02/02_01.bvh", "02/02_02.BVH"):
        write_bvh(root / name, GENERIC, [{"LeftArm": (frame, 0, 0)} for frame in range(120)], frame_time=1 / 120)
    write_asf(root / "03" / "03.asf")
    write_amc(root / "03" / "03_01.amc", [{"lradius": (0, -frame, 0)} for frame in range(120)])
    poses = np.zeros((120, 156))
    np.savez(root / "amass/s9/walk_poses.npz", poses=poses, trans=np.zeros((120, 3)), mocap_framerate=np.array(120))
    np.savez(root / "amass/s9/shape.npz", betas=np.zeros(10))
    (root / "02" / "broken.bvh").write_text("HIERARCHY\nROOT a\n")
    (root / "readme.txt").write_text("nothing to read here")
    write_bvh(root / "02" / "02_short.bvh", GENERIC, [{}] * 3)
    return root


def test_packing_a_folder(tmp_path: Path) -> None:
    root, output = _take_folder(tmp_path), tmp_path / "m.npz"
    assert len(find_motions([root, root / "02" / "02_01.bvh"])) == 7
    options = ["--val-subjects", "03", "--test-subjects", "s9", "--val-share", "0", "--test-share", "0", "--free"]
    result = CliRunner().invoke(app, ["pack", str(root), "-o", str(output), *options])
    assert result.exit_code == 0, result.output
    assert "4 clips" in result.output
    assert "3 file(s) skipped" in result.output
    lines = [line for line in result.output.splitlines() if line.startswith("skipped: ")]
    assert len(lines) == 3
    assert all(any(name in line for line in lines) for name in ("broken.bvh", "shape.npz", "02_short.bvh"))
    clips = {clip.name: clip for clip in load_motion_pack(output)}
    assert {name: clip.split for name, clip in clips.items()} == {
        "02_01": "train", "02_02": "train", "03_01": "val", "walk_poses": "test",
    }  # fmt: skip
    assert all(clip.fps == 30.0 and clip.frames == 30 and clip.free for clip in clips.values())
    assert {clip.name for clip in load_motions(output)} == {"02_01", "02_02"}
    shown = CliRunner().invoke(app, ["show", str(output)])
    assert shown.exit_code == 0
    assert "val" in shown.output


def test_nothing_readable_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text("junk")
    for source in (tmp_path / "a.bvh", tmp_path / "missing", tmp_path):
        result = CliRunner().invoke(app, ["pack", str(source), "-o", str(tmp_path / "m.npz")])
        assert result.exit_code == 2
        assert "skipped" in result.output
    assert not (tmp_path / "m.npz").exists()
    assert isinstance(CliRunner().invoke(app, ["show", str(tmp_path / "m.npz")]).exception, MotionError)


def test_an_output_that_cannot_be_written_ends_with_2(tmp_path: Path) -> None:
    root = _take_folder(tmp_path)
    result = CliRunner().invoke(app, ["pack", str(root), "-o", str(tmp_path / "no" / "m.npz")])
    assert result.exit_code == 2
    assert "m.npz" in result.output


def test_folders_are_searched_for_every_kind_of_motion(tmp_path: Path) -> None:
    wanted = ["a.bvh", "b.AMC", "c.npz", "d.glb", "e.c3d", "m01_s02_e03_positions.txt", "m01_s02_e04_positions.txt.gz"]
    for name in [*wanted, "readme.txt", "d.blend", "b.asf"]:
        (tmp_path / name).touch()
    assert [path.name for path in find_motions([tmp_path])] == sorted(wanted)
    failures = list(read_motions(find_motions([tmp_path])))
    assert all(isinstance(failure, MotionError) and str(tmp_path) in str(failure) for failure in failures)
    assert len(failures) == len(wanted)
