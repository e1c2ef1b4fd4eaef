"""The command that makes shards: on this machine, in several processes, on a cluster."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import typer

pytest.importorskip("torch")

from common.errors import UserError
from training.motion.clip import Clip
from training.motion.pack import save_motion_pack
from training.synth import __main__ as synthesize
from training.synth import cluster
from training.synth.cluster import ClusterError, run_ray
from training.synth.factory import ShardJob
from training.synth.shards import find_shards, is_intact


@pytest.fixture
def motion(clips: list[Clip], tmp_path: Path) -> Path:
    path = tmp_path / "motion.npz"
    save_motion_pack(path, [replace(clip, rest="canonical") for clip in clips])
    return path


def run(motion: Path, output: Path, shards: str, **changes: object) -> None:
    settings = {"kind": "motion", "split": "train", "samples": 3, "seed": 0, "workers": 1, "ray": ""} | changes
    synthesize.main(motion, output, shards, **settings)


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.tar"))}


def test_a_run_makes_what_is_missing_and_mends_what_is_damaged(
    motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shards"
    run(motion, output, "0-1")
    first = hashes(output)
    assert list(first) == ["motion-train-000000.tar", "motion-train-000001.tar"]
    (output / "motion-train-000001.tar").write_bytes(b"cut off")
    capsys.readouterr()
    run(motion, output, "0-2")
    said = capsys.readouterr().out
    assert "motion-train-000000.tar: exists" in said
    assert said.count(": 3 samples,") == 2
    assert hashes(output).items() >= first.items()
    rows = find_shards(output, "motion", "train")
    assert [row.shard for row in rows] == [0, 1, 2]
    assert all(is_intact(output, row) for row in rows)


@pytest.mark.parametrize(("text", "numbers"), [("7", [7]), ("0-3", [0, 1, 2, 3]), ("5-5", [5])])
def test_shard_numbers(text: str, numbers: list[int]) -> None:
    assert list(synthesize.shard_numbers(text)) == numbers


@pytest.mark.parametrize("text", ["", "a", "3-", "-3", "4-2", "1,2"])
def test_wrong_shard_numbers_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="range such as"):
        synthesize.shard_numbers(text)


def test_wrong_choices_and_motion_get_one_line(motion: Path, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="frames, motion, windows"):
        run(motion, tmp_path, "0", kind="videos")
    with pytest.raises(typer.BadParameter, match="split is one of"):
        run(motion, tmp_path, "0", split="all")
    with pytest.raises(UserError, match="nowhere"):
        run(tmp_path / "nowhere", tmp_path, "0")


def test_a_bare_ray_means_this_machine() -> None:
    assert synthesize.with_address(["--ray"]) == ["--ray", "local"]
    assert synthesize.with_address(["--ray", "--seed", "3"]) == ["--ray", "local", "--seed", "3"]
    assert synthesize.with_address(["--ray", "head:6379", "--seed", "3"]) == ["--ray", "head:6379", "--seed", "3"]
    assert synthesize.with_address(["--seed", "3"]) == ["--seed", "3"]


def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ClusterError, match="pip install"):
        next(iter(run_ray([], "local")))
    assert cluster.LOCAL_CLUSTER == "local"


@pytest.mark.timeout(300)
def test_a_local_cluster_makes_the_same_shards(motion: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]' to test shards on a cluster")
    run(motion, tmp_path / "here", "0-1")
    jobs = [ShardJob("motion", "train", 0, shard, 3, motion, tmp_path / "there") for shard in (0, 1)]
    made = list(run_ray(jobs, "local", 2))
    assert all(new for _, new in made)
    assert hashes(tmp_path / "there") == hashes(tmp_path / "here")
