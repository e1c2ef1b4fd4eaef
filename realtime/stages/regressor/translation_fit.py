"""The translation of the posed body: a fit of its keypoints to the detected ones.

Robust least squares over the pelvis's translation alone. Detections are weighted by the error that belongs to their
confidence: measured on people whose true position is known, it falls twentyfold from the least to the greatest confidence.
The detector puts a joint that is outside the image at the image's edge: such a detection moves the body only if the body's
joint lies inside the image.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from common.arrays import DoubleArray, FloatArray
from common.camera import Camera
from realtime.records import Keypoints
from realtime.stages.regressor.kernels import solve_translation

CONFIDENCE = (0.075, 0.225, 0.375, 0.525, 0.7, 0.9)
ERROR = (0.278, 0.109, 0.046, 0.025, 0.018, 0.015)
"""Median error of MoveNet Lightning's visible keypoints at these confidences, as a share of the person's extent in the
image, mean over the kinds of keypoints (training/simulation/detector_noise.json)."""
_LOG_ERROR = np.log(ERROR)
_EXTENT_M = 1.2  # size of a person in the image: more if the whole body is seen, less behind a desk
_MISFIT_M = 0.03  # keypoints' distance from a body in the right place, because of its pose and shape
_PREDICTED = np.array([0.03, 0.03, 0.12])  # of the distance: standard deviation of the network's pelvis
_OUTLIER = 1.5  # standard deviations from which on a detection counts as a miss
_EDGE = 0.01  # of the image's longer side
_ROUNDS = 3


def fit_translation(
    coco: FloatArray, keypoints: Keypoints, camera: Camera, prediction: FloatArray, trust: float = 1.0
) -> FloatArray:
    """The pelvis position for which the body's keypoints fit the detected ones best.

    The network's ``prediction`` is a prior: it matters if there are few keypoints, or if all are close together.

    Args:
        coco: (17, 3) the posed body's keypoints relative to the pelvis, camera axes, m.
        keypoints: as detected.
        camera: of the image, whose middle is the principal point.
        prediction: (3,) the network's pelvis, camera frame, m.
        trust: factor on the weight of the prediction.

    Returns:
        (3,) float32 pelvis in the camera frame, m.
    """
    # As `Camera.rays`, without the third axis.
    rays = (np.ascontiguousarray(keypoints.points, np.float64) - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
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
    return np.exp(np.interp(confidence, CONFIDENCE, _LOG_ERROR))


@lru_cache(maxsize=1)
def _edges(camera: Camera) -> DoubleArray:
    """The rays (4,) of the left, upper, right and lower edge of the image, a little within it."""
    right, lower = 2 * camera.cx, 2 * camera.cy
    margin = _EDGE * max(right, lower)
    low, high = camera.rays(np.array([[margin, margin], [right - margin, lower - margin]]))[:, :2]
    return np.concatenate([low, high])
