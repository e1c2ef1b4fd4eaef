"""How large the region around a person is: shared by the live tracker and by the simulation that training draws from."""

from __future__ import annotations

from typing import Final

MARGIN: Final = 1.3
"""Side of the region over the side of the box around the keypoints."""
SHOULDER_ROOM: Final = 3.0
"""Least side of the region over the width of the shoulders. Measured with MoveNet Lightning against Thunder on real clips:
its error is flat from 2.5 to 4 where a desk hides the legs and from 5 to 6 where all is seen, and four times as large at
2."""
HEAD_ROOM: Final = 6.0
"""Least side of the region over the width of the face, where at least three of its keypoints are seen."""
TORSO_ROOM: Final = 2.4
"""Least side of the region over the longer side of the box around shoulders and hips: limbs that are not seen yet may
reach this far."""
SHRINK: Final = 0.9
"""Least side of a region over its side in the last frame: one dark frame must not zoom in on the face."""
VISIBLE: Final = 0.2
"""Confidence from which on a keypoint counts for the region; the body needs more."""
MIN_PX: Final = 32.0
"""Least side of a region, pixels."""
MAX_OF_IMAGE: Final = 1.25
"""Greatest side of a region over the image's longer side."""

SHOULDERS: Final = [5, 6]
TORSO: Final = [5, 6, 11, 12]
FACE: Final = [0, 1, 2, 3, 4]
"""COCO keypoints."""
