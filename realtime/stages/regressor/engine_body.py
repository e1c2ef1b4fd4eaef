"""The body posed on the GPU that runs the networks, so that only what is drawn leaves the device.

On a CPU `body.lbs.NumpyBody` is faster than any runtime with the same graph, and is used there.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from body.joints import JOINTS
from body.lbs import PosedBody
from body.model import BodyArrays
from body.packed import BETAS
from body.rotations import axis_angle_to_matrix
from common.arrays import FloatArray
from engines.engine import Engine, EngineError
from engines.plans import PlanPolicy
from engines.registry import open_engine


class Poser(Protocol):
    """What the regressor needs of a body: `body.lbs.NumpyBody` or `EngineBody`. Used by one thread."""

    def pose_all(self, betas: FloatArray, poses: FloatArray) -> list[PosedBody]:
        """Bodies of shapes ``betas`` (N, 10) in ``poses`` (N, 24, 3) axis-angle, m, axes of the camera, each with its pelvis
        joint at the origin: new arrays, which may be kept."""


class EngineBody:
    """A `Poser` over an engine of the graph that `body.lbs_onnx.body_to_onnx` makes; see `open_engine_body`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # The first run is slower, so it is done before the first frame.
        self.pose_all(np.zeros((1, BETAS), np.float32), np.zeros((1, JOINTS, 3), np.float32))

    def pose_all(self, betas: FloatArray, poses: FloatArray) -> list[PosedBody]:
        """See `Poser.pose_all`; in batches that the engine takes."""
        found: list[PosedBody] = []
        most = min(self._engine.max_rows, len(betas))
        for first in range(0, len(betas), most):
            some = np.asarray(betas[first : first + most], np.float32)
            turns = axis_angle_to_matrix(poses[first : first + most]).astype(np.float32)
            place = np.zeros((len(some), 3), np.float32)
            out = self._engine.infer({"betas": some, "rotations": turns, "translation": place})
            found += map(PosedBody, out["vertices"], out["joints"], out["keypoints"])
        return found


def open_engine_body(arrays: BodyArrays, policy: PlanPolicy) -> tuple[Engine, EngineBody]:
    """The body ``arrays`` in TensorRT, and its engine, which the caller closes; the first time a plan is built.

    It computes in full float32, whatever ``policy`` asks of the networks: with less, vertices are off by millimetres.
    Raises `EngineError` if it cannot be opened.
    """
    try:
        from body.lbs_onnx import body_to_onnx  # slow to import, and not needed on a CPU
    except ImportError as error:
        raise EngineError(f"the body's graph cannot be made ({error}): pip install onnx") from None
    exact = policy.exact
    engine = open_engine(body_to_onnx(arrays), "tensorrt", plans=exact, label="body", urgent=True)
    try:
        return engine, EngineBody(engine)
    except BaseException:
        engine.close()
        raise
