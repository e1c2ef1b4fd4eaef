"""The filter of rotations as a graph gives what the filter on the CPU gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from body.joints import JOINTS
from body.rotations import axis_angle_to_matrix
from common.arrays import FloatArray
from engines.engine import Arrays
from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import check
from export.conversion.operators import check_operators
from realtime.stages.regressor.smoothing import RotationFilter
from realtime.stages.regressor.smoothing_graph import rotation_filter_to_onnx

NEAR = 2e-5
PEOPLE = 2


def motion(frames: int, size: float) -> FloatArray:
    """(frames, people, 24, 3, 3) rotations of limbs that swing, rest and jump."""
    rng = np.random.default_rng(4)
    time = np.arange(frames)[:, None, None, None] / 30
    pose = size * np.sin(time * rng.uniform(0.5, 9, (1, PEOPLE, JOINTS, 1)) + rng.uniform(0, 6, (1, PEOPLE, JOINTS, 3)))
    pose[frames // 2 :, :, 3] += 1.5  # a jump, as a wrong detection makes it
    pose[:, :, 5] = pose[:1, :, 5]  # at rest
    return axis_angle_to_matrix(pose + rng.normal(0, 0.02, pose.shape)).astype(np.float32)


@pytest.mark.parametrize("size", [0.0, 0.6, 1.4])
def test_it_filters_as_the_cpu_does(size: float) -> None:
    filters = [RotationFilter(JOINTS) for _ in range(PEOPLE)]
    last: Arrays = {
        "last_rotations": np.zeros((PEOPLE, JOINTS, 3, 3), np.float32),
        "last_speed": np.zeros((PEOPLE, JOINTS, 3), np.float32),
        "goes_on": np.zeros((PEOPLE, 1), np.float32),
    }
    steps = np.random.default_rng(1).choice([1 / 60, 1 / 30, 0.1, 0.5], 60).astype(np.float32)
    with OnnxRuntimeEngine(rotation_filter_to_onnx(), label="smoothing") as engine:
        for dt, rotations in zip(steps, motion(60, size), strict=True):
            filter_dt = np.full((PEOPLE, 1), dt, np.float32)
            out = engine.infer({"measured": rotations, "filter_dt": filter_dt, **last})
            for person, found in enumerate(out["smooth_rotations"]):
                np.testing.assert_allclose(found, filters[person](rotations[person], float(dt)), atol=NEAR)
            goes_on = np.ones((PEOPLE, 1), np.float32)
            last = {"last_rotations": out["smooth_rotations"], "last_speed": out["speed"], "goes_on": goes_on}


def test_somebody_new_is_not_smoothed_and_nothing_is_left_of_before() -> None:
    rotations = motion(1, 1.0)[0]
    with OnnxRuntimeEngine(rotation_filter_to_onnx(), label="smoothing") as engine:
        out = engine.infer(
            {
                "measured": rotations,
                "filter_dt": np.full((PEOPLE, 1), 1 / 30, np.float32),
                "last_rotations": np.zeros_like(rotations),
                "last_speed": np.ones((PEOPLE, JOINTS, 3), np.float32),
                "goes_on": np.array([[0], [0]], np.float32),
            }
        )
    np.testing.assert_array_equal(out["smooth_rotations"], rotations)
    assert not out["speed"].any()


def test_every_parser_takes_it() -> None:
    model = onnx.load_from_string(rotation_filter_to_onnx())
    check(model)
    check_operators(model)
    assert model.opset_import[0].version == 17
