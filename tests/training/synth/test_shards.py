"""Shards: the same bytes from the same seed, made once, mended when damaged, read back whole."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from training.motion.clip import Clip
from training.synth import factory
from training.synth.dataset import load_windows
from training.synth.factory import ShardJob, make_shard
from training.synth.shards import ShardError, find_shards, is_intact, read_row, read_shard, write_shard


def sample(number: int) -> dict[str, object]:
    rng = np.random.default_rng(number)
    return {"a": rng.normal(size=(3, 2)).astype(np.float32), "b": np.arange(number + 1), "note.txt": b"text"}


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    row = write_shard(tmp_path, "windows", "train", 0, 3, [sample(k) for k in range(4)])
    assert is_intact(tmp_path, row)
    assert read_row(tmp_path, row.file) == row
    got = list(read_shard(tmp_path, row))
    assert [key for key, _ in got] == [f"000003-{k:04d}" for k in range(4)]
    for number, (_, values) in enumerate(got):
        for name, want in sample(number).items():
            np.testing.assert_array_equal(values[name], want)
    assert [set(values) for _, values in read_shard(tmp_path, row, {"b"})] == [{"b"}] * 4


def test_the_layout_is_webdatasets(tmp_path: Path) -> None:
    row = write_shard(tmp_path, "windows", "train", 0, 0, [sample(0), sample(1)])
    with tarfile.open(tmp_path / row.file) as tar:
        assert tar.getnames() == [f"000000-000{k}.{field}" for k in (0, 1) for field in ("a.npy", "b.npy", "note.txt")]


def test_bytes_depend_on_the_samples_alone(tmp_path: Path) -> None:
    one, two = (write_shard(tmp_path / name, "windows", "val", 0, 1, [sample(5)]) for name in ("x", "y"))
    other = write_shard(tmp_path / "z", "windows", "val", 0, 1, [sample(6)])
    assert one.sha256 == two.sha256 != other.sha256


def test_a_damaged_or_missing_shard_is_found(tmp_path: Path) -> None:
    row = write_shard(tmp_path, "windows", "train", 0, 0, [sample(0)])
    file = tmp_path / row.file
    content = bytearray(file.read_bytes())
    content[700] ^= 1
    file.write_bytes(content)
    assert not is_intact(tmp_path, row)
    with pytest.raises(ShardError, match="again"):
        list(read_shard(tmp_path, row))
    file.unlink()
    assert not is_intact(tmp_path, row)
    with pytest.raises(ShardError, match=r"no finished .* test"):
        find_shards(tmp_path, "windows", "test")


def test_an_interrupted_shard_has_no_row(tmp_path: Path) -> None:
    def broken() -> object:
        yield sample(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, "windows", "train", 0, 0, broken())
    assert read_row(tmp_path, "windows-train-000000.tar") is None
    assert not list(tmp_path.glob("*.tar*"))


@pytest.fixture
def free_motion(monkeypatch: pytest.MonkeyPatch, clips: list[Clip]) -> None:
    factory._bank.cache_clear()
    monkeypatch.setattr(factory, "open_clips", lambda motion, split: clips if split != "test" else [])
    yield
    factory._bank.cache_clear()


@pytest.mark.usefixtures("free_motion")
def test_windows_follow_from_seed_and_shard_alone_and_are_made_once(tmp_path: Path) -> None:
    def job(folder: str, shard: int, seed: int = 4) -> ShardJob:
        return ShardJob("windows", "train", seed, shard, 2, tmp_path, tmp_path / folder)

    first, made = make_shard(job("a", 1))
    assert made
    assert make_shard(job("a", 1)) == (first, False)
    second, _ = make_shard(job("b", 2))
    again, _ = make_shard(job("b", 1))  # after another one, as on another worker
    assert again.sha256 == first.sha256 != second.sha256
    file = tmp_path / "a" / first.file
    file.write_bytes(file.read_bytes()[:-1000])
    assert make_shard(job("a", 1)) == (first, True)
    assert make_shard(job("a", 1, seed=5))[0].sha256 != first.sha256

    windows = load_windows(tmp_path / "b", "train")
    assert len(windows) == 4
    shapes = {name: values.shape[1:] for name, values in windows.arrays.items()}
    assert shapes["rgb"] == (16, 64, 64, 3)
    assert shapes["flow"] == shapes["exact"] == (16, 32, 32, 2)
    assert shapes["points"] == (16, 17, 2)
    assert shapes["rotations"] == (16, 24, 3, 3)
    # The targets stand where the truth was seen: projected with the camera as told they fall on visible detections.
    place = windows["coco"] + windows["pelvis"][:, :, None]
    camera = windows["camera"][:, None, None]
    exact = place[..., :2] / place[..., 2:] * camera[..., :2] + camera[..., 2:]
    off = np.linalg.norm(windows["points"] - exact, axis=-1) / windows["extent"][..., None]
    seen = (windows["state"] == 0) & (windows["confidence"] > 0.5)
    assert np.median(off[seen]) < 0.05
    assert len(load_windows(tmp_path / "b", "train", {"betas"}, max_windows=3)["betas"]) == 3
    with pytest.raises(ShardError, match="depth"):
        load_windows(tmp_path / "b", "train", {"depth", "betas"})

    # Two frames of each person are windows, too.
    make_shard(replace(job("b", 0), kind="pairs"))
    pairs = load_windows(tmp_path / "b", "train", kind="pairs")
    assert pairs["rgb"].shape == (2, 2, 64, 64, 3)
    frames = windows.frames(8)
    assert frames["rgb"].shape == (8, 1, 64, 64, 3)
    np.testing.assert_array_equal(frames["joints"][:, 0], windows["joints"][:, ::8].reshape(-1, 24, 3))
    np.testing.assert_array_equal(frames["betas"], windows["betas"].repeat(2, 0))
    assert "rgb" not in frames.without("rgb").arrays


@pytest.mark.usefixtures("free_motion")
def test_a_split_without_motion_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="test split"):
        make_shard(ShardJob("windows", "test", 0, 0, 2, tmp_path, tmp_path))
