"""A pinhole camera: points to pixels and pixels to rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import AnyFloatArray, DoubleArray

NEAR_M = 1e-6
"""Points closer to the camera plane than this, or behind it, have no projection."""
NEAREST_M = 0.05
"""Depth, metres, from which on surfaces are drawn; the projection of nearer points is that of points at this depth."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Pinhole intrinsics in pixels, without lens distortion. Pixel (0, 0) is the centre of the top-left pixel."""

    fx: float
    """Focal length along x, pixels."""
    fy: float
    """Focal length along y, pixels."""
    cx: float
    """Principal point, pixels from the left."""
    cy: float
    """Principal point, pixels from the top."""

    @property
    def matrix(self) -> DoubleArray:
        """The (3, 3) float64 camera matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @classmethod
    def from_array(cls, intrinsics: AnyFloatArray) -> Camera:
        """The camera of (4,) fx, fy, cx, cy, pixels."""
        return cls(*intrinsics.tolist())

    @classmethod
    def from_matrix(cls, matrix: AnyFloatArray) -> Camera:
        """The camera of a (3, 3) matrix without skew."""
        return cls(float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2]))

    def project(self, points: AnyFloatArray) -> DoubleArray:
        """Project ``points`` (..., 3), metres, camera frame, to pixels (..., 2) float64.

        NaN for points that are not at least `NEAR_M` in front of the camera.
        """
        depth = np.asarray(points[..., 2:], np.float64)
        depth = np.where(depth > NEAR_M, depth, np.nan)
        pixels: DoubleArray = points[..., :2] / depth * (self.fx, self.fy) + (self.cx, self.cy)
        return pixels

    def project_clamped(self, points: AnyFloatArray) -> AnyFloatArray:
        """Finite pixels (..., 2) of all ``points`` (..., 3), metres, camera frame, in their dtype: for drawing and simulation.

        Depths below `NEAREST_M` count as that.
        """
        focal, centre = (np.array(pair, points.dtype) for pair in ((self.fx, self.fy), (self.cx, self.cy)))
        pixels: AnyFloatArray = points[..., :2] / np.maximum(points[..., 2:], NEAREST_M) * focal + centre
        return pixels

    def rays(self, pixels: AnyFloatArray) -> DoubleArray:
        """Points (..., 3) float64 at depth 1 in the camera frame whose projections are ``pixels`` (..., 2)."""
        flat = (np.asarray(pixels, np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        return np.concatenate([flat, np.ones_like(flat[..., :1])], -1)
