"""Opening motion for training: the clips of one split, as the default body moves them."""

from __future__ import annotations

from pathlib import Path

from body.model import load_body
from training.motion.clip import Clip, adapt_clip
from training.motion.pack import load_motions


def open_clips(motion: Path, split: str) -> list[Clip]:
    """Clips of one split whose rotations refer to the default body's rest pose. Free data only.

    Args:
        motion: Packed folder or motion pack.
        split: As the data names it: "train", "val" and "test", or another set of held-out subjects such as "val2".

    Raises:
        MotionError: The motion cannot be read, or has no free clip of the split.
    """
    arrays = load_body()
    rest = arrays.joint_regressor @ arrays.v_template
    return [adapt_clip(clip, rest) for clip in load_motions(motion, (split,))]
