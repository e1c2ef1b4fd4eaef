"""Loading windows of synthetic video into memory, one numpy array per field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import AnyArray, AnyIntArray
from training.synth.shards import ShardError, find_shards, read_shard

_PER_WINDOW: Final = ("betas", "camera", "true_camera", "size")


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of T frames.

    Holds the requested fields of `training.synth.windows.generate_windows` with N as the first axis, so
    ``arrays["rgb"]`` is (N, T, 64, 64, 3) uint8.
    """

    arrays: dict[str, AnyArray]
    """Array of every field, by name."""

    def __len__(self) -> int:
        """N."""
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, field: str) -> AnyArray:
        """The array of ``field``. Raises ``KeyError`` if it was not loaded."""
        return self.arrays[field]

    def take(self, rows: AnyIntArray | slice) -> dict[str, AnyArray]:
        """Some windows as a dictionary of arrays. Fields given per window have no time axis."""
        return {name: values[rows] for name, values in self.arrays.items()}

    def frames(self, every: int = 1) -> Windows:
        """Every ``every``-th frame as a window of its own (T = 1)."""
        length = self.arrays["dt"].shape[1]
        kept = range(0, length, every)
        return Windows(
            {
                name: np.repeat(values, len(kept), 0)
                if name in _PER_WINDOW
                else values[:, kept].reshape(-1, 1, *values.shape[2:])
                for name, values in self.arrays.items()
            }
        )

    def without(self, field: str) -> Windows:
        """The same windows without ``field``."""
        return Windows({name: values for name, values in self.arrays.items() if name != field})


def load_windows(
    folder: Path, split: str, fields: set[str] | None = None, max_windows: int | None = None, kind: str = "windows"
) -> Windows:
    """Load the finished windows of ``split`` in ``folder``.

    Arrays are filled shard by shard, so memory holds the result and one sample.

    Args:
        folder: Folder of the shards.
        split: ``"train"``, ``"val"`` or ``"test"``.
        fields: Names of the fields to load; None for all.
        max_windows: Largest number of windows to load; None for all.
        kind: ``"windows"``, or ``"pairs"`` for windows of two frames.

    Raises:
        ShardError: There are no shards, one is damaged, or a field is missing.
    """
    rows = find_shards(folder, kind, split)
    total = sum(row.samples for row in rows)
    count = total if max_windows is None else min(max_windows, total)
    arrays: dict[str, AnyArray] = {}
    done = 0
    for row in rows:
        for _, sample in read_shard(folder, row, fields):
            if done == count:
                break
            for name, values in sample.items():
                if name not in arrays:
                    arrays[name] = np.empty((count, *values.shape), values.dtype)
                arrays[name][done] = values
            done += 1
    missing = sorted((fields or set()) - arrays.keys())
    if missing:
        raise ShardError(
            f"{folder} has windows without {', '.join(missing)}: make them anew with this program's version"
        )
    return Windows(arrays)
