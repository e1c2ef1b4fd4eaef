"""From moving keypoints to a moving body: the regressor network, and what makes its answer fit the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from body.lbs import NumpyBody
from body.rotations import matrix_to_axis_angle
from engines.engine import Engine, EngineError
from realtime.flow import cell_means
from realtime.records import BodyEstimate, Camera, FloatArray, Flow, Keypoints
from realtime.smoothing import PositionFilter, RotationFilter

_INPUTS = {"points", "confidence", "camera", "dt", "state"}
_FLOW_INPUTS = {"flow", "box", "flow_valid"}
_OUTPUTS = {"rotations", "betas", "pelvis", "next_state"}
_SAME_INTERVAL_S = 1e-3


@dataclass(slots=True)
class _Memory:
    """What is kept of one person between frames."""

    state: FloatArray
    time_s: float
    betas: FloatArray
    weight: float = 0.0
    rotations: RotationFilter = field(default_factory=lambda: RotationFilter(24))
    position: PositionFilter = field(default_factory=PositionFilter)


class BodyRegressor:
    """Poses the body for each person's keypoints and optical flow. Keeps one recurrent state a person; used by one thread.

    Args:
        engine: a regressor exported by ``export.regressor``, with flow among its inputs or without.
        body: gets shaped and posed.
        smooth: False gives the network's answer as it is.
    """

    def __init__(self, engine: Engine, body: NumpyBody, smooth: bool = True) -> None:
        inputs = {spec.name: spec for spec in engine.inputs}
        self._answers = {spec.name for spec in engine.outputs}
        if set(inputs) not in (_INPUTS, _INPUTS | _FLOW_INPUTS) or not self._answers >= _OUTPUTS:
            raise EngineError(
                f"not a regressor of this project: it reads {sorted(inputs)}, wanted {sorted(_INPUTS)}; "
                "choose one with --regressor"
            )
        self._engine, self._body, self._smooth = engine, body, smooth
        self._state_size = inputs["state"].shape[-1]
        self._cells = inputs["flow"].shape[1] if "flow" in inputs else 0
        self._memories: dict[int, _Memory] = {}

    def __call__(self, keypoints: Keypoints, camera: Camera, time_s: float, flow: Flow | None = None) -> BodyEstimate:
        """The body of one person at ``time_s`` of the source's clock. ``flow`` is the motion around this person since the
        frame before; it counts when this person was seen in that frame too."""
        memory = self._memories.get(keypoints.person)
        if memory is None or not 0 < time_s - memory.time_s < 2.0:
            memory = _Memory(np.zeros((1, self._state_size), np.float32), time_s - 1 / 30, np.zeros(10, np.float32))
            self._memories[keypoints.person] = memory
        dt = time_s - memory.time_s
        memory.time_s = time_s
        feeds = {
            "points": keypoints.points[None],
            "confidence": keypoints.confidence[None],
            "camera": np.array([[camera.fx, camera.fy, camera.cx, camera.cy]], np.float32),
            "dt": np.array([dt], np.float32),
            "state": memory.state,
        }
        if self._cells:
            feeds |= self._motion(flow, dt, camera)
        out = self._engine.infer(feeds)
        memory.state = np.array(out["next_state"], np.float32)
        rotations = np.asarray(out["rotations"][0], np.float32)
        if self._smooth:
            rotations = memory.rotations(rotations, dt)
        # A person's shape does not change: average what is said of it, the newest counting at least 2 %.
        memory.weight = min(memory.weight + 1.0, 50.0)
        memory.betas += (np.asarray(out["betas"][0], np.float32) - memory.betas) / np.float32(memory.weight)
        self._body.set_shape(memory.betas)
        pose = matrix_to_axis_angle(rotations).astype(np.float32)
        vertices, joints = self._body.pose(pose[0], pose[1:], np.zeros(3, np.float32))
        coco = self._body.coco(vertices)
        pelvis = place_in_view(coco, keypoints, camera, np.asarray(out["pelvis"][0], np.float32))
        if self._smooth:
            pelvis = memory.position(pelvis, dt)
        return BodyEstimate(
            keypoints.sequence,
            keypoints.person,
            pose[0],
            pose[1:],
            memory.betas.copy(),
            pelvis,
            joints + pelvis,
            coco + pelvis,
            vertices + pelvis,
            keypoints,
        )

    def _motion(self, flow: Flow | None, dt: float, camera: Camera) -> dict[str, FloatArray]:
        """The flow's part of the network's inputs."""
        if flow is None or abs(flow.dt_s - dt) > _SAME_INTERVAL_S:
            return {
                "flow": np.zeros((1, self._cells, self._cells, 2), np.float32),
                "box": np.array([[camera.cx, camera.cy, camera.fx]], np.float32),
                "flow_valid": np.zeros(1, np.float32),
            }
        return {
            "flow": cell_means(flow, self._cells)[None],
            "box": np.array([flow.box], np.float32),
            "flow_valid": np.ones(1, np.float32),
        }

    def forget(self, before_s: float) -> None:
        """Drop the memory of people last seen earlier than ``before_s``."""
        self._memories = {person: memory for person, memory in self._memories.items() if memory.time_s >= before_s}


def place_in_view(
    coco: FloatArray, keypoints: Keypoints, camera: Camera, guess: FloatArray, trust: float = 0.15
) -> FloatArray:
    """Where the pelvis must be for the body's own keypoints to lie on the detected ones.

    A weighted linear least-squares fit of the translation; the network's ``guess`` holds what the picture leaves open
    (few keypoints, or all in one place).

    Args:
        coco: (17, 3) the posed body's keypoints relative to the pelvis, camera axes, m.
        guess: (3,) the network's pelvis, m.
        trust: weight of the guess against all keypoints together.

    Returns:
        (3,) float32 pelvis in the camera frame, m.
    """
    rays = (keypoints.points - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    weight = np.clip((keypoints.confidence - 0.1) / 0.4, 0, 1).astype(np.float64)
    weight[1:5] *= 0.5  # eyes and ears repeat the nose
    fitted = np.asarray(guess, np.float64)
    prior = trust * np.array([1.0, 1.0, 0.05]) * (1 + 4 * np.exp(-weight.sum()))
    for _ in range(2):
        depth = np.maximum(coco[:, 2] + fitted[2], 0.3)
        # Second round: a keypoint far off its place is a miss of the detector and must not pull the body.
        across = np.hypot((coco[:, 0] + fitted[0]) - rays[:, 0] * depth, (coco[:, 1] + fitted[1]) - rays[:, 1] * depth)
        w = weight / (1 + (across / 0.12) ** 2) * (fitted[2] / depth) ** 2
        total = max(float(w.sum()), 1e-6)
        u, v = rays[:, 0], rays[:, 1]
        right_u, right_v = u * coco[:, 2] - coco[:, 0], v * coco[:, 2] - coco[:, 1]
        a = np.array(
            [
                [w.sum(), 0.0, -(w * u).sum()],
                [0.0, w.sum(), -(w * v).sum()],
                [-(w * u).sum(), -(w * v).sum(), (w * (u * u + v * v)).sum()],
            ]
        )
        b = np.array([(w * right_u).sum(), (w * right_v).sum(), -(w * (u * right_u + v * right_v)).sum()])
        a, b = a / total, b / total
        a[np.diag_indices(3)] += prior
        b += prior * guess
        fitted = np.asarray(np.linalg.solve(a, b), np.float64)
        fitted[2] = np.clip(fitted[2], 0.4 * guess[2], 2.5 * guess[2])
    return fitted.astype(np.float32)
