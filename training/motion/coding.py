"""The compact numbers in which packed motion is stored.

Local axis-angle vectors are int16 in units of pi / 32767, the pelvis int32 in 0.1 mm. Both are stored as differences in
time (a clip's first frame as it is), which compress far better; int16 differences wrap around, and so do their sums.
Errors stay below 0.003 degrees per joint and 0.05 mm.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import FloatArray, Int32Array
from training.motion import rotations as rot

ANGLE_UNIT: Final = np.pi / 32767
LENGTH_UNIT: Final = 1e-4


def encode(rotations: FloatArray, pelvis: FloatArray) -> tuple[npt.NDArray[np.int16], Int32Array]:
    """Encode one clip.

    Args:
        rotations: (N, 24, 3) local axis-angle, radians.
        pelvis: (N, 3) metres.

    Returns:
        Differences int16 (24, 3, N) and int32 (3, N).

    Raises:
        ValueError: A value is not finite, or the person walks further than 200 km.
    """
    if not (np.isfinite(rotations).all() and np.isfinite(pelvis).all()) or np.abs(pelvis).max(initial=0.0) > 2e5:
        raise ValueError("a rotation or a position is not a usable number")
    # Turns of more than half a circle do not fit; the same rotation the other way round does.
    short = rot.to_axis_angle(rot.from_axis_angle(rotations))
    angles = np.clip(np.round(short / ANGLE_UNIT), -32767, 32767).astype(np.int16).transpose(1, 2, 0)
    lengths = np.round(pelvis.astype(np.float64) / LENGTH_UNIT).astype(np.int64).T
    # 16-bit subtraction wraps, as it should.
    angle_steps = np.concatenate([angles[..., :1], angles[..., 1:] - angles[..., :-1]], axis=-1)
    length_steps = np.concatenate([lengths[:, :1], np.diff(lengths, axis=-1)], axis=-1)
    return np.ascontiguousarray(angle_steps), length_steps.astype(np.int32)


def decode(angle_steps: npt.NDArray[np.int16], length_steps: Int32Array) -> tuple[FloatArray, FloatArray]:
    """Undo ``encode``: int16 (24, 3, N) and int32 (3, N) to float32 rotations (N, 24, 3) and pelvis (N, 3)."""
    angles = np.cumsum(angle_steps, axis=-1, dtype=np.int16).transpose(2, 0, 1)
    lengths = np.cumsum(length_steps, axis=-1, dtype=np.int32).T
    return (
        np.ascontiguousarray(angles.astype(np.float32) * np.float32(ANGLE_UNIT)),
        np.ascontiguousarray(lengths.astype(np.float32) * np.float32(LENGTH_UNIT)),
    )
