"""Render synthetic people.

    python -m training.synth --motion FOLDER --output FOLDER --shards 0-9

A shard is a function of the seed and its own number, so any machine can make any shard, in any order. A second run
makes only the shards that are missing or damaged.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer

from common.command_line import run_command
from training.synth.cluster import LOCAL_CLUSTER, run_ray
from training.synth.factory import SHARD_KINDS, SPLITS, ShardJob, make_shard
from training.synth.shards import ShardRow


def shard_numbers(text: str) -> range:
    """Shard numbers from ``"3"`` or ``"0-9"``, both ends included.

    Raises:
        typer.BadParameter: ``text`` is neither.
    """
    first, dash, last = text.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
        raise typer.BadParameter(f"shards are a number or a range such as 0-9, not {text!r}")
    return range(int(first), int(last or first) + 1)


def run_local(jobs: list[ShardJob], workers: int) -> Iterator[tuple[ShardRow, bool]]:
    """Make shards in this process, or in ``workers`` processes.

    Yields:
        The row of each shard, and whether it was made now.
    """
    if workers <= 1:
        yield from map(make_shard, jobs)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(make_shard, job) for job in jobs]):
            yield future.result()


def with_address(words: list[str]) -> list[str]:
    """Command-line ``words`` with the local address after a bare ``--ray``.

    Needed because typer has no options with optional values.
    """
    out: list[str] = []
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        out += [word, LOCAL_CLUSTER] if word == "--ray" and following.startswith("-") else [word]
    return out


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    output: Annotated[Path, typer.Option(help="folder of the shards and their index")],
    shards: Annotated[str, typer.Option(help="numbers of the shards: 7 or 0-9")] = "0",
    kind: Annotated[str, typer.Option(help="what to make: " + ", ".join(SHARD_KINDS))] = "windows",
    split: Annotated[str, typer.Option(help="split of the motion: train, val or test")] = "train",
    samples: Annotated[int, typer.Option(min=1, help="samples in a shard")] = 50,
    seed: Annotated[
        int, typer.Option(min=0, help="seed: another one gives other people, cameras and surroundings")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    ray: Annotated[
        str, typer.Option(metavar="[ADDRESS]", help="use a Ray cluster: of this machine, or at ADDRESS")
    ] = "",
) -> None:
    """Render synthetic people into shards: only those that are missing or damaged are made."""
    if kind not in SHARD_KINDS:
        raise typer.BadParameter(f"--kind is one of {', '.join(SHARD_KINDS)}, not {kind!r}")
    if split not in SPLITS:
        raise typer.BadParameter(f"--split is one of {', '.join(SPLITS)}, not {split!r}")
    # Workers may run elsewhere: paths must not depend on where this one was started.
    motion, output = motion.absolute(), output.absolute()
    jobs = [ShardJob(kind, split, seed, shard, samples, motion, output) for shard in shard_numbers(shards)]
    start, made = time.monotonic(), 0
    for row, new in run_ray(jobs, ray, workers if workers > 1 else None) if ray else run_local(jobs, workers):
        made += row.samples * new
        seconds = time.monotonic() - start
        done = f"{row.samples} samples, {row.size / 1e6:.1f} MB" if new else "exists"
        print(f"{row.file}: {done}  ({made / seconds:.2f} samples/s)", flush=True)


if __name__ == "__main__":
    sys.argv[1:] = with_address(sys.argv[1:])
    run_command(main, examples="Example: python -m training.synth --motion motion.npz --output shards --shards 0-9")
