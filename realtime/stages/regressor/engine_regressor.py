"""Regressor, filter and body as one run on the GPU, with one copy to it and one back.

The translation fit and the pelvis filter, which work on 17 points, stay on the CPU.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from body.joints import JOINTS
from body.lbs import NumpyBody, PosedBody
from body.model import BodyArrays
from body.rotations import axis_angle_to_matrix
from common.arrays import AnyArray, FloatArray
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from engines.plans import PlanPolicy
from engines.registry import LinkedModel, open_linked

_VALUES: Final = JOINTS * 9
_FILTER: Final = _VALUES + JOINTS * 3 + 1
"""Length of the filter's state: the last rotations, their speeds, and a flag whether there were any."""
_OWN: Final = frozenset({"filter_dt", "last_rotations", "last_speed", "goes_on", "translation"})
_POSED: Final = frozenset({"speed", "vertices", "joints", "keypoints"})
_SAME: Final = 1e-3
"""Largest difference between entries of rotation matrices and betas for which two poses count as the same."""


class PosingRegressor(Engine):
    """A regressor that filters its ``rotations`` and poses the body in the same run.

    To its caller it is a regressor with a longer ``state``, which includes the filter's, so that both are reset together.
    `poser` returns the bodies of the last runs. ``engine`` runs all three graphs.
    """

    def __init__(self, engine: Engine, arrays: BodyArrays) -> None:
        self._engine, self.runtime, self.device = engine, engine.runtime, engine.device
        self.runs_to_warm_up = engine.runs_to_warm_up
        inputs = {spec.name: spec for spec in engine.inputs}
        self._memory = inputs["state"].shape[-1]
        self.inputs = tuple(self._longer(spec) for name, spec in inputs.items() if name not in _OWN)
        given = {spec.name: spec for spec in engine.outputs}
        names = {"smooth_rotations": "rotations"}
        self.outputs = tuple(
            self._longer(TensorSpec(names.get(name, name), spec.shape, spec.dtype))
            for name, spec in given.items()
            if name not in _POSED
        )
        # People whose flow is on the GPU and people without flow are two runs of a frame.
        self._answers: deque[dict[str, AnyArray]] = deque(maxlen=2)
        self.poser = _AnsweredBody(self, arrays)
        """The body, as posed by this engine."""

    def _longer(self, spec: TensorSpec) -> TensorSpec:
        if spec.name not in ("state", "next_state"):
            return spec
        return TensorSpec(spec.name, (*spec.shape[:-1], spec.shape[-1] + _FILTER), spec.dtype)

    @property
    def max_rows(self) -> int:
        """The linked engine's."""
        return self._engine.max_rows

    @property
    def replays(self) -> int:
        """See `engines.engine.Engine.replays`."""
        return self._engine.replays

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        """See `engines.engine.Engine.infer`."""
        self.check_feeds(feeds)
        state = feeds["state"]
        people, filtered = len(state), state[:, self._memory :]
        out = self._engine.infer(
            {
                **feeds,
                "state": state[:, : self._memory],
                "filter_dt": np.reshape(feeds["dt"], (-1, 1)),
                "last_rotations": filtered[:, :_VALUES].reshape(people, JOINTS, 3, 3),
                "last_speed": filtered[:, _VALUES:-1].reshape(people, JOINTS, 3),
                "goes_on": filtered[:, -1:],
                "translation": np.zeros((people, 3), np.float32),
            }
        )
        self._answers.append(out)
        rotations = out["smooth_rotations"]
        flat = (out["next_state"], rotations.reshape(people, -1), out["speed"].reshape(people, -1))
        answer = {name: array for name, array in out.items() if name not in _POSED}
        answer["rotations"] = answer.pop("smooth_rotations")
        answer["next_state"] = np.concatenate([*flat, np.ones((people, 1), np.float32)], 1)
        return answer

    @property
    def answers(self) -> list[dict[str, AnyArray]]:
        """Outputs of the last two runs, the newest first."""
        return list(reversed(self._answers))

    def close(self) -> None:
        """See `engines.engine.Engine.close`."""
        self._engine.close()


class _AnsweredBody:
    """The bodies that a `PosingRegressor` has just posed; others are posed on the CPU."""

    def __init__(self, regressor: PosingRegressor, arrays: BodyArrays) -> None:
        self._regressor, self._cpu = regressor, NumpyBody(arrays)

    def pose_all(self, betas: FloatArray, poses: FloatArray) -> list[PosedBody]:
        """See `realtime.stages.regressor.engine_body.Poser.pose_all`."""
        return [self._pose(shape, pose) for shape, pose in zip(betas, poses, strict=True)]

    def _pose(self, betas: FloatArray, pose: FloatArray) -> PosedBody:
        turns = axis_angle_to_matrix(pose)
        for out in self._regressor.answers:
            gaps = np.abs(out["smooth_rotations"] - turns).max((1, 2, 3))
            gaps += np.abs(out["betas"] - betas).max(1)
            person = int(gaps.argmin())
            if gaps[person] < _SAME:
                return PosedBody(out["vertices"][person], out["joints"][person], out["keypoints"][person])
        return self._cpu.pose_all(betas[None], pose[None])[0]


def open_posing_regressor(model: str, arrays: BodyArrays, policy: PlanPolicy) -> PosingRegressor:
    """The regressor ``model`` with the body ``arrays`` in TensorRT.

    The network has the precision of ``policy``; filter and body are full float32. Raises `EngineError` if it cannot be opened,
    also for a regressor without ``betas_sigma``: its betas are averaged on the CPU before the body is posed.
    """
    try:
        from body.lbs_onnx import body_to_onnx  # slow to import, and not needed on a CPU
        from realtime.stages.regressor.smoothing_graph import rotation_filter_to_onnx
    except ImportError as error:
        raise EngineError(f"the body's graph cannot be made ({error}): pip install onnx") from None
    exact = policy.exact
    models = [
        LinkedModel(model, policy),
        LinkedModel(rotation_filter_to_onnx(), exact, "smoothing"),
        LinkedModel(body_to_onnx(arrays), exact, "body"),
    ]
    links = {"measured": "rotations", "rotations": "smooth_rotations", "betas": "betas"}
    engine = open_linked(models, links, inside=("rotations",), urgent=True)
    try:
        if "betas_sigma" not in {spec.name for spec in engine.outputs}:
            raise EngineError(f"{model} does not hold a person's shape steady")
        return PosingRegressor(engine, arrays)
    except BaseException:
        engine.close()
        raise
