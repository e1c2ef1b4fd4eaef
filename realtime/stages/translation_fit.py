"""The position of the posed body in space: its own keypoints are laid on the detected ones.

A robust least-squares fit of the pelvis's translation alone. Detections are weighted by their error, which was measured on
people whose true position is known and falls twentyfold from the least to the greatest confidence. The detector reports a
joint outside of the image at the image's edge: such a detection only moves a body whose joint lies inside of the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.arrays import FloatArray
from common.camera import Camera
from realtime.records import Keypoints

CONFIDENCE = (0.075, 0.225, 0.375, 0.525, 0.7, 0.9)
ERROR = (0.278, 0.109, 0.046, 0.025, 0.018, 0.015)
"""Median error of MoveNet Lightning's visible keypoints at these confidences, as a share of the person's extent in the
image, mean over the kinds of keypoints (training/simulation/detector_noise.json)."""
_EXTENT_M = 1.2  # of a person in the image: more where all is seen, less at a desk
_MISFIT_M = 0.03  # by which keypoints miss a body in the right place, because its pose or shape is wrong
_PREDICTED_ACROSS, _PREDICTED_ALONG = 0.03, 0.12  # of the distance: standard deviation of the network's pelvis
_OUTLIER = 1.5  # standard deviations from which on a detection counts as a miss
_EDGE = 0.01  # of the image's longer side
_ROUNDS = 3


def fit_translation(
    coco: FloatArray, keypoints: Keypoints, camera: Camera, prediction: FloatArray, trust: float = 1.0
) -> FloatArray:
    """The pelvis for which the body's own keypoints lie on the detected ones.

    The network's ``prediction`` decides what the image leaves open: where there are few keypoints, or all in one place.

    Args:
        coco: (17, 3) the posed body's keypoints relative to the pelvis, camera axes, m.
        keypoints: as detected.
        camera: of the image, whose middle is the principal point.
        prediction: (3,) the network's pelvis, camera frame, m.
        trust: factor on the weight of the prediction.

    Returns:
        (3,) float32 pelvis in the camera frame, m.
    """
    u, v = camera.rays(keypoints.points)[:, :2].T
    x, y, z = coco.astype(np.float64).T
    deviation = np.hypot(_EXTENT_M * _error_of(keypoints.confidence), _MISFIT_M)
    weight = deviation**-2
    weight[1:5] *= 0.5  # eyes and ears repeat the nose
    start = np.asarray(prediction, np.float64)
    distance = max(float(start[2]), 0.1)
    prior = trust / (distance * np.array([_PREDICTED_ACROSS, _PREDICTED_ACROSS, _PREDICTED_ALONG])) ** 2
    low, high = _at_edges(keypoints.points, camera)
    fitted = start
    for _ in range(_ROUNDS):
        depth = np.maximum(z + fitted[2], 0.3)
        off_u, off_v = x + fitted[0] - u * depth, y + fitted[1] - v * depth  # metres
        sane = weight / (1 + (off_u**2 + off_v**2) / (_OUTLIER * deviation) ** 2)
        wu = np.where((low[:, 0] & (off_u < 0)) | (high[:, 0] & (off_u > 0)), 0.0, sane)
        wv = np.where((low[:, 1] & (off_v < 0)) | (high[:, 1] & (off_v > 0)), 0.0, sane)
        want_u, want_v = u * z - x, v * z - y
        normal = np.array(
            [
                [wu.sum(), 0.0, -(wu @ u)],
                [0.0, wv.sum(), -(wv @ v)],
                [-(wu @ u), -(wv @ v), wu @ u**2 + wv @ v**2],
            ]
        )
        side = np.array([wu @ want_u, wv @ want_v, -(wu @ (u * want_u)) - wv @ (v * want_v)])
        fitted = np.asarray(np.linalg.solve(normal + np.diag(prior), side + prior * start), np.float64)
        fitted[2] = np.clip(fitted[2], 0.4 * distance, 2.5 * distance)
    return fitted.astype(np.float32)


def _error_of(confidence: FloatArray) -> NDArray[np.float64]:
    return np.exp(np.interp(confidence, CONFIDENCE, np.log(ERROR)))


def _at_edges(points: FloatArray, camera: Camera) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which coordinates of ``points`` (17, 2) lie at or beyond the left or upper edge, and the right or lower one."""
    last = np.array([2 * camera.cx, 2 * camera.cy])
    margin = _EDGE * float(last.max())
    return points < margin, points > last - margin
