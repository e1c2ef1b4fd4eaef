"""The intrinsics of a source's images, from what is known of the camera."""

from __future__ import annotations

import numpy as np

from common.camera import Camera
from common.errors import UserError
from realtime.options import DEFAULT_FOCAL

MIN_FOCAL, MAX_FOCAL = 0.1, 100.0
"""Limits of the focal length over the longer side of the image: fields of view of 157 and of half a degree."""


def camera_for(size: tuple[int, int], fov: float | None, focal: float | None) -> Camera:
    """The camera of images of one size.

    Args:
        size: width and height, px.
        fov: horizontal field of view, degrees.
        focal: focal length, px. Where neither is given it is `DEFAULT_FOCAL` times the longer side.

    Raises:
        UserError: For both at once, and for values that no camera has: NaN, infinity, a length in another unit.
    """
    width, height = size
    longer = max(width, height)
    if focal is not None and fov is not None:
        raise UserError("--fov and --focal mean the same thing: give one of them")
    if fov is not None:
        if not 5 <= fov <= 170:
            raise UserError(f"--fov {fov:g} is not a field of view: give degrees between 5 and 170")
        focal = width / 2 / float(np.tan(np.deg2rad(fov) / 2))
    if focal is None:
        focal = DEFAULT_FOCAL * longer
    if not MIN_FOCAL * longer < focal <= MAX_FOCAL * longer:
        raise UserError(
            f"--focal {focal:g} is no focal length for images of {width}x{height}: give pixels, between "
            f"{MIN_FOCAL * longer:.0f} and {MAX_FOCAL * longer:.0f} (a usual lens: about {DEFAULT_FOCAL * longer:.0f})"
        )
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2)
