"""Changing the frame rate of a clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.motion import rotations as rot
from training.motion.clip import Clip


def resample(clip: Clip, fps: float = 30.0) -> Clip:
    """Bring a clip to another frame rate: rotations by slerp, the pelvis along straight lines.

    The first frame stays; the last one is the last that fits into the take. The weight keeps its value per second.

    Raises:
        ValueError: ``fps`` is not above zero.
    """
    if not fps > 0.0:
        raise ValueError(f"fps is {fps}; it should be above zero")
    if clip.fps == fps:
        return clip
    # A take's frame time is often rounded ("0.0083333"); the tolerance keeps the last frame in spite of it.
    count = int((clip.frames - 1) / clip.fps * fps + 1e-3) + 1
    place = np.minimum(np.arange(count) * (clip.fps / fps), clip.frames - 1)
    below = np.clip(place.astype(np.int64), 0, max(clip.frames - 2, 0))
    above = np.minimum(below + 1, clip.frames - 1)
    fraction = place - below
    turns = rot.from_axis_angle(clip.rotations)
    between = rot.slerp(turns[below], turns[above], fraction[:, None])
    pelvis = clip.pelvis[below] + (clip.pelvis[above] - clip.pelvis[below]) * fraction[:, None]
    return replace(
        clip,
        fps=fps,
        rotations=rot.to_axis_angle(between).astype(np.float32),
        pelvis=pelvis.astype(np.float32),
        weight=clip.weight * count / clip.frames,
    )
