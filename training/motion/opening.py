"""Opening motion for training: the clips of one split, as the default body moves them."""

from __future__ import annotations

from pathlib import Path

from training.motion.clip import Clip, adapt_clips
from training.motion.collars import follow_measured_law
from training.motion.pack import load_motions
from training.motion.rest import default_rest_joints


def open_clips(motion: Path, split: str) -> list[Clip]:
    """Clips of one split whose rotations refer to the default body's rest pose. Free data only.

    Args:
        motion: Packed folder or motion pack.
        split: As the data names it: "train", "val" and "test", or another set of held-out subjects such as "val2".

    Raises:
        MotionError: The motion cannot be read, or has no free clip of the split.
    """
    return adapt_clips(follow_measured_law(load_motions(motion, (split,))), default_rest_joints())
