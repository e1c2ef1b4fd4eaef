"""Loading clips from a folder of packed motion.

The folder holds ``index.json`` and the ``.npz`` shards that it names. A shard stores its clips one after the other as
``d_aa`` int16 (24, 3, frames) and ``d_trans`` int32 (3, frames); see ``training.motion.coding``.

The index gives ``fps``, ``joints``, ``parents`` and per clip ``name``, ``subject``, ``category``, ``licence``,
``source``, ``split``, ``weight``, ``shard``, ``start`` and ``frames``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from body.joints import PARENTS
from common.arrays import Int32Array
from common.npz import read_npz
from training.motion.archive import ARCHIVE_ERRORS
from training.motion.clip import Clip, MotionError
from training.motion.coding import decode

FREE_SOURCES: Final = ("CMU", "ACCAD", "UI-PRMD", "CC0")
"""Sources, as the index writes them, whose terms allow any use: CMU's own terms, CC BY 3.0 (ACCAD), public domain (UI-PRMD)
and CC0 (hand-keyed). Shipped weights are trained on these only. DeepMimic's clips are not among them: some were made from
SFU's database, which may not be used in commercial products."""


def load_packed(folder: str | Path, splits: Sequence[str] = ("train",), free_only: bool = True) -> list[Clip]:
    """Load clips of a packed folder.

    Args:
        folder: Holds ``index.json`` and its shards.
        splits: Which splits to load, such as ``("train", "val")``.
        free_only: Leave out every source that is not in ``FREE_SOURCES``.

    Returns:
        Canonical clips in the index's order; empty where nothing matches.

    Raises:
        MotionError: The folder, its index or a shard is missing, damaged or of another layout.
    """
    folder = Path(folder)
    index = _read_index(folder / "index.json")
    wanted = [
        entry
        for entry in index["clips"]
        if entry["split"] in splits and (not free_only or entry["source"] in FREE_SOURCES)
    ]
    shards: dict[str, tuple[npt.NDArray[np.int16], Int32Array]] = {}
    clips = []
    for entry in wanted:
        shard = str(entry["shard"])
        if shard not in shards:
            shards[shard] = _read_shard(folder / shard)
        angles, lengths = shards[shard]
        start, stop = int(entry["start"]), int(entry["start"]) + int(entry["frames"])
        if not 0 <= start < stop <= angles.shape[-1]:
            raise MotionError(f"{folder / shard}: clip {entry['name']!r} lies outside of the shard; fetch it again")
        rotations, pelvis = decode(angles[:, :, start:stop], lengths[:, start:stop])
        clips.append(
            Clip(
                name=str(entry["name"]),
                subject=str(entry["subject"]),
                category=str(entry["category"]),
                licence=str(entry["licence"]),
                split=str(entry["split"]),
                fps=float(index["fps"]),
                rotations=rotations,
                pelvis=pelvis,
                weight=float(entry["weight"]),
                free=entry["source"] in FREE_SOURCES,
                source=str(entry["source"]),
            )
        )
    return clips


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if tuple(index["parents"]) != PARENTS or not isinstance(index["clips"], list) or not float(index["fps"]) > 0:
            raise MotionError(f"{path}: does not describe 24 joints in SMPL order")
        needed = {"name", "subject", "category", "licence", "source", "split", "weight", "shard", "start", "frames"}
        for entry in index["clips"]:
            if missing := needed - set(entry):
                raise MotionError(f"{path}: a clip lacks {', '.join(sorted(missing))}")
    except OSError as error:
        raise MotionError(f"{path}: cannot be read ({error}); give the folder that holds index.json") from error
    except MotionError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise MotionError(f"{path}: not an index of packed motion ({error!r})") from error
    result: dict[str, Any] = index
    return result


def _read_shard(path: Path) -> tuple[npt.NDArray[np.int16], Int32Array]:
    try:
        archive = read_npz(path, ("d_aa", "d_trans"))
        angles, lengths = archive["d_aa"], archive["d_trans"]
    except ARCHIVE_ERRORS as error:
        raise MotionError(f"{path}: missing or damaged shard ({error}); fetch it again") from error
    if angles.dtype != np.int16 or angles.shape[:2] != (24, 3) or lengths.shape != (3, angles.shape[-1]):
        raise MotionError(f"{path}: a shard of another layout: d_aa {angles.shape}, d_trans {lengths.shape}")
    return angles, lengths
