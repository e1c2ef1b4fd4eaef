"""The position of the posed body in space: its own keypoints are laid on the detected ones.

A robust least-squares fit of the pelvis's translation alone. Detections are weighted by their error, which was measured on
people whose true position is known and falls twentyfold from the least to the greatest confidence. The detector reports a
joint outside of the image at the image's edge: such a detection only moves a body whose joint lies inside of the image.
"""

from __future__ import annotations

import numpy as np

from common.arrays import DoubleArray, FloatArray
from common.camera import Camera
from realtime.records import Keypoints
from realtime.stages.regressor.kernels import solve_translation

CONFIDENCE = (0.075, 0.225, 0.375, 0.525, 0.7, 0.9)
ERROR = (0.278, 0.109, 0.046, 0.025, 0.018, 0.015)
"""Median error of MoveNet Lightning's visible keypoints at these confidences, as a share of the person's extent in the
image, mean over the kinds of keypoints (training/simulation/detector_noise.json)."""
_EXTENT_M = 1.2  # of a person in the image: more where all is seen, less at a desk
_MISFIT_M = 0.03  # by which keypoints miss a body in the right place, because its pose or shape is wrong
_PREDICTED = np.array([0.03, 0.03, 0.12])  # of the distance: standard deviation of the network's pelvis
_OUTLIER = 1.5  # standard deviations from which on a detection counts as a miss
_EDGE = 0.01  # of the image's longer side
_ROUNDS = 3


def fit_translation(
    coco: FloatArray, keypoints: Keypoints, camera: Camera, prediction: FloatArray, trust: float = 1.0
) -> FloatArray:
    """The pelvis for which the body's own keypoints lie on the detected ones.

    The network's ``prediction`` is a prior: it counts where there are few keypoints, or all in one place.

    Args:
        coco: (17, 3) the posed body's keypoints relative to the pelvis, camera axes, m.
        keypoints: as detected.
        camera: of the image, whose middle is the principal point.
        prediction: (3,) the network's pelvis, camera frame, m.
        trust: factor on the weight of the prediction.

    Returns:
        (3,) float32 pelvis in the camera frame, m.
    """
    rays = np.ascontiguousarray(camera.rays(keypoints.points)[:, :2])
    deviation = np.hypot(_EXTENT_M * _error_of(keypoints.confidence), _MISFIT_M)
    weight = deviation**-2
    weight[1:5] *= 0.5  # eyes and ears repeat the nose
    start = np.asarray(prediction, np.float64)
    distance = max(float(start[2]), 0.1)
    prior = trust / (distance * _PREDICTED) ** 2
    solved = solve_translation(
        np.ascontiguousarray(coco, np.float32), rays, deviation, weight, _edges(camera), start, prior, _OUTLIER, _ROUNDS
    )
    return np.array(solved, np.float32)


def _error_of(confidence: FloatArray) -> DoubleArray:
    return np.exp(np.interp(confidence, CONFIDENCE, np.log(ERROR)))


def _edges(camera: Camera) -> DoubleArray:
    """The rays (4,) of the left, upper, right and lower edge of the image, a little within it."""
    right, lower = 2 * camera.cx, 2 * camera.cy
    margin = _EDGE * max(right, lower)
    low, high = camera.rays(np.array([[margin, margin], [right - margin, lower - margin]]))[:, :2]
    return np.concatenate([low, high])
