"""The records of what a regressor computes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Lifted(NamedTuple):
    """A `Lifter`'s prediction; float32, camera frame."""

    rotations: Tensor
    """(..., 24, 3, 3) rotations, the first one global (rest to camera frame), the others relative to their parents."""
    betas: Tensor
    """(..., 10) shape."""
    pelvis: Tensor
    """(..., 3) position of the pelvis, metres."""
    rays: Tensor
    """(..., 17, 2) filtered keypoints, x/z and y/z."""
    joint_error: Tensor
    """(..., 24) logarithm of each joint's expected error in metres."""
    contact: Tensor
    """(..., 4) logits of whether each of `body.soles.CONTACTS` stands on something."""
    betas_deviation: Tensor
    """(..., 10) standard deviation of ``betas``."""
    up: Tensor
    """(..., 3) unit vector away from the ground."""
    up_error: Tensor
    """(...,) logarithm of the expected error of ``up`` in radians."""
    root_velocity: Tensor
    """(..., 3) velocity of the pelvis over the ground, m/s, in the root's own axes."""
    state: Tensor
    """(B, M) recurrent state for the next frame."""

    def people(self, rows: Tensor) -> Lifted:
        """The people selected by ``rows``, booleans or indices."""
        return Lifted(*(part[rows] for part in self))


class Encoded(NamedTuple):
    """What is known of B people in each of T frames before their bodies are predicted."""

    known: Tensor
    """(B, T, C) output of the memory and of the per-frame network."""
    inner: Tensor
    """(B, T, width) output of the per-frame network alone."""
    dt: Tensor
    """(B, T) seconds since the frame before."""
    betas: Tensor
    """(B, T, 10) estimated shape."""
    deviation: Tensor
    """(B, T, 10) standard deviation of ``betas``."""
    turn: Tensor
    """(B, T, 3, 3) rotation from the virtual to the real camera frame."""
    rays: Tensor
    """(B, T, 17, 2) filtered keypoints in the real camera, x/z and y/z."""
    local_rays: Tensor
    """(B, T, 17, 2) filtered keypoints in the virtual camera, x/z and y/z."""
    weight: Tensor
    """(B, T, 17) weights of the keypoints, 0..1."""
    size: Tensor
    """(B, T) angular size of the person."""

    def frames(self, start: int, stop: int) -> Encoded:
        """The same people from frame ``start`` to the one before ``stop``."""
        return Encoded(*(part[:, start:stop] for part in self))
