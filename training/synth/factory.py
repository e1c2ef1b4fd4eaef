"""Making a shard of any kind. Its content is a function of (kind, split, seed, shard number)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from body.lbs_torch import TorchBody
from body.model import load_body
from training.motion.bank import NONE, Augmentation, MotionBank
from training.motion.clip import MotionError
from training.motion.opening import open_clips
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.synth.frames import generate_frames, generate_motion
from training.synth.scene import SceneSampler
from training.synth.shards import Sample, ShardRow, is_intact, read_row, shard_name, write_shard
from training.synth.windows import generate_pairs, generate_windows

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ShardJob:
    """One shard to make."""

    kind: str
    """Kind of samples, one of `SHARD_KINDS`."""
    split: str
    """Split of the motion that is drawn from."""
    seed: int
    """Seed of the whole set."""
    shard: int
    """The shard's number in it."""
    count: int
    """Number of samples."""
    motion: Path
    """Folder or pack of the motion."""
    output: Path
    """Folder of the shards."""


Drawer = Callable[[SceneSampler, NoiseSampler, np.random.Generator, int], Iterator[Sample]]

SHARD_KINDS: Final[dict[str, Drawer]] = {
    "frames": generate_frames,
    "motion": generate_motion,
    "windows": generate_windows,
    "pairs": generate_pairs,
}
"""Sample generators by the name of their kind."""


@lru_cache(maxsize=2)
def _bank(motion: Path, split: str) -> MotionBank:
    clips = open_clips(motion, split)
    if not clips:
        raise MotionError(f"{motion} has no free motion in its {split} split: pack some, or take another split")
    bank = MotionBank(clips)
    if split != "train":
        bank.weights = bank.lengths.double()  # sample in proportion to duration
    return bank


def seeds(job: ShardJob) -> list[int]:
    """Five independent seeds of a shard: motion and cameras, scenes, detector, sensor noise, and one in reserve."""
    entropy = (job.seed, SPLITS.index(job.split), zlib.crc32(job.kind.encode()), job.shard)
    return [int(value) for value in np.random.SeedSequence(entropy).generate_state(5)]


def generate_samples(job: ShardJob) -> Iterator[Sample]:
    """The samples of one shard. Motion of the training split is augmented; the other splits use it as recorded."""
    motion, scenes, detector, sensor_noise, _ = seeds(job)
    bank = _bank(job.motion, job.split)
    bank.generator.manual_seed(motion)
    arrays = load_body()
    augmentation = Augmentation() if job.split == "train" else NONE
    maker = SceneSampler(bank, arrays, TorchBody(arrays), scenes, augmentation)
    noise = NoiseSampler(load_noise(), detector)
    return SHARD_KINDS[job.kind](maker, noise, np.random.default_rng(sensor_noise), job.count)


def make_shard(job: ShardJob) -> tuple[ShardRow, bool]:
    """Make a shard unless it exists and is intact.

    Returns:
        Its row in the index, and whether it was made now.

    Raises:
        MotionError: The split holds no motion.
        ShardError: The index has a foreign row.
    """
    row = read_row(job.output, shard_name(job.kind, job.split, job.shard))
    if row is not None and (row.seed, row.samples) == (job.seed, job.count) and is_intact(job.output, row):
        return row, False
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return write_shard(job.output, job.kind, job.split, job.seed, job.shard, generate_samples(job)), True
