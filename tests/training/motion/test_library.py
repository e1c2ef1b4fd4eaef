"""The packed folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.motion.clip import MotionError
from training.motion.library import load_packed

from .skeletons import random_clip, write_packed_folder


def _folder(tmp_path: Path) -> Path:
    wild = random_clip("wild", "2", 30, seed=2)
    # Jumps from +pi to -pi overflow 16-bit differences.
    wild.rotations[10:, 5] = (3.1, 0.0, 0.0)
    wild.rotations[15:, 5] = (-3.1, 0.0, 0.0)
    clips = [
        (random_clip("a", "1"), "CMU"),
        (wild, "ACCAD"),
        (replace(random_clip("b", "3", seed=3), split="val"), "CMU"),
        (random_clip("squat", "5", seed=5), "UI-PRMD"),
        (random_clip("sit", "6", seed=6), "CC0"),
        (replace(random_clip("new", "7", seed=7), split="val2"), "UI-PRMD"),
        (random_clip("mimic", "8", seed=8), "DeepMimic"),
        (random_clip("partly", "9", seed=9), "DeepMimic (partly SFU: non-commercial)"),
        (random_clip("nc", "4", seed=4), "BandaiNamco"),
    ]
    write_packed_folder(tmp_path / "packed", clips)
    return tmp_path / "packed"


def test_clips_come_back_and_wrapped_differences_too(tmp_path: Path) -> None:
    clips = load_packed(_folder(tmp_path))
    assert [clip.name for clip in clips] == ["a", "wild", "squat", "sit"]
    assert all(clip.free and clip.rest == "canonical" and clip.fps == 30.0 for clip in clips)
    assert clips[0].rotations.dtype == clips[0].pelvis.dtype == np.float32
    assert np.allclose(clips[0].rotations, random_clip("a", "1").rotations, atol=1e-4)
    assert np.allclose(clips[0].pelvis, random_clip("a", "1").pelvis, atol=1e-4)
    assert np.allclose(clips[1].rotations[[12, 17], 5, 0], [3.1, -3.1], atol=1e-4)


def test_splits_and_terms_of_use(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert [clip.name for clip in load_packed(folder, ("val",))] == ["b"]
    assert [clip.name for clip in load_packed(folder, ("val", "val2"))] == ["b", "new"]
    not_free = {clip.name for clip in load_packed(folder, free_only=False) if not clip.free}
    assert not_free == {"mimic", "partly", "nc"}
    assert [(clip.name, clip.free) for clip in load_packed(folder, free_only=False)][-1] == ("nc", False)
    assert load_packed(folder, ("test",)) == []


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(MotionError, match=r"index\.json"):
        load_packed(tmp_path)
    folder = _folder(tmp_path)
    index = json.loads((folder / "index.json").read_text())
    index["clips"][0]["start"] = 1_000_000
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(MotionError, match="outside of the shard"):
        load_packed(folder)
    del index["clips"][0]["start"]
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(MotionError, match="lacks start"):
        load_packed(folder)
    folder = _folder(tmp_path)
    (folder / "a.npz").write_bytes((folder / "a.npz").read_bytes()[:500])
    with pytest.raises(MotionError, match=r"a\.npz"):
        load_packed(folder)
    (folder / "index.json").write_text("{")
    with pytest.raises(MotionError, match="not an index"):
        load_packed(folder)
