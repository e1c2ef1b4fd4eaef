"""The body posed on the GPU that runs the networks, so that only what is drawn leaves the device.

On a CPU `body.lbs.NumpyBody` is faster than any runtime with the same graph, and is used there.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from body.model import BodyArrays
from body.packed import BETAS
from body.rotations import axis_angle_to_matrix
from common.arrays import FloatArray
from engines.engine import Engine, EngineError
from engines.plans import PlanPolicy
from engines.registry import open_engine


class Poser(Protocol):
    """What the regressor needs of a body: `body.lbs.NumpyBody` or `EngineBody`. Used by one thread."""

    def set_shape(self, betas: ArrayLike) -> None:
        """Use ``betas`` (10,) for all later calls."""

    def pose(self, global_orient: ArrayLike, body_pose: ArrayLike, transl: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Vertices (V, 3) and joints (24, 3), m in the camera frame, of a pose (3,) and (23, 3) axis-angle with the pelvis
        joint at ``transl`` (3,) m: new arrays, which may be kept."""

    def coco(self, vertices: FloatArray) -> FloatArray:
        """COCO-17 keypoints (17, 3) of the ``vertices`` that `pose` has just given, in their frame."""


class EngineBody:
    """A `Poser` over an engine of the graph that `body.lbs_onnx.body_to_onnx` makes; see `open_engine_body`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._betas = np.zeros((1, BETAS), np.float32)
        self._vertices = self._keypoints = np.zeros((0, 3), np.float32)
        # The first run is slower, so it is done before the first frame.
        self.pose(np.zeros(3), np.zeros((23, 3)), np.zeros(3))

    def set_shape(self, betas: ArrayLike) -> None:
        """See `Poser.set_shape`."""
        self._betas[0] = betas

    def pose(self, global_orient: ArrayLike, body_pose: ArrayLike, transl: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """See `Poser.pose`."""
        turns = np.concatenate([np.reshape(global_orient, (1, 3)), np.reshape(body_pose, (23, 3))])
        out = self._engine.infer(
            {
                "betas": self._betas,
                "rotations": axis_angle_to_matrix(turns).astype(np.float32)[None],
                "translation": np.asarray(transl, np.float32)[None],
            }
        )
        self._vertices, self._keypoints = out["vertices"][0], out["keypoints"][0]
        return self._vertices, out["joints"][0]

    def coco(self, vertices: FloatArray) -> FloatArray:
        """See `Poser.coco`."""
        if vertices is not self._vertices:
            raise ValueError("the engine knows only the keypoints of the last pose")
        return self._keypoints


def exact_policy(policy: PlanPolicy) -> PlanPolicy:
    """``policy`` for a graph whose products must not be rounded."""
    return PlanPolicy("fp32", policy.folder, policy.trust, policy.progress, tf32=False)


def open_engine_body(arrays: BodyArrays, policy: PlanPolicy) -> tuple[Engine, EngineBody]:
    """The body ``arrays`` in TensorRT, and its engine, which the caller closes; the first time a plan is built.

    It computes in full float32, whatever ``policy`` asks of the networks: with less, skin is off by millimetres.
    Raises `EngineError` where that cannot be.
    """
    try:
        from body.lbs_onnx import body_to_onnx  # onnx takes long to import, and a CPU needs it for nothing
    except ImportError as error:
        raise EngineError(f"the body's graph cannot be made ({error}): pip install onnx") from None
    exact = exact_policy(policy)
    engine = open_engine(body_to_onnx(arrays), "tensorrt", plans=exact, label="body", urgent=True)
    try:
        return engine, EngineBody(engine)
    except BaseException:
        engine.close()
        raise
