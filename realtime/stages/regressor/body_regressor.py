"""From each person's keypoints and flow to a body: the regressor network, translation fit, smoothing and posing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

import numpy as np

from body.conversion import BodyConversion
from body.joints import JOINTS
from body.kernels import shifted, to_axis_angles
from body.stature import BodyScale, Stature
from common.arrays import AnyArray, FloatArray
from common.camera import Camera
from engines.device_array import DeviceArray, beside_each_other
from engines.engine import Engine
from engines.finite import NonFiniteError
from realtime.records import BodyEstimate, Flow, Keypoints, PosePrediction
from realtime.stages.flow.crop_flow import cell_means
from realtime.stages.regressor.contract import check_answer, check_interface
from realtime.stages.regressor.engine_body import Poser
from realtime.stages.regressor.smoothing import PositionFilter, RotationFilter
from realtime.stages.regressor.translation_fit import fit_translation

T = TypeVar("T")

_SAME_INTERVAL_S = 1e-3
_ANY: Final = Camera(500.0, 500.0, 320.0, 240.0)


@dataclass(slots=True)
class _Memory:
    """What is kept of one person between frames."""

    state: FloatArray
    """float32 (1, S), the network's recurrent state after the last frame."""
    time_s: float
    """The last frame's, seconds of the source."""
    betas: FloatArray
    """float32 (10,) mean of the shapes predicted so far, for networks that keep none of their own."""
    dt: float = 0.0
    """Time between the last two frames, seconds."""
    weight: float = 0.0
    """Number of predictions that ``betas`` is the mean of, at most 50."""
    rotations: RotationFilter = field(default_factory=lambda: RotationFilter(24))
    """Smooths the joints' rotations."""
    position: PositionFilter = field(default_factory=PositionFilter)
    """Smooths the pelvis's position."""


class Observed(NamedTuple):
    """What is known of one person in one frame: the arguments of `BodyRegressor.predict`."""

    keypoints: Keypoints
    """Keypoints of the person, image pixels."""
    camera: Camera
    """Intrinsics of the image."""
    time_s: float
    """Time of the frame by the source's clock, s."""
    flow: Flow | None = None
    """Flow in the person's region since the frame before; None: not measured."""


class BodyRegressor:
    """Poses the body for each person's keypoints and optical flow. Keeps one recurrent state a person; used by one thread.

    Args:
        engine: a regressor exported by ``export.regressor``, with flow among its inputs or without.
        body: poses the vertices, on the CPU or in an engine.
        smooth: False leaves the network's predictions unfiltered.
        conversion: from the body that the network was trained with to ``body``, where they differ.
        filters: False where ``engine`` filters the rotations itself.
        stature: scales everybody to the height that the user gives; None: heights are the network's.
        scale: of ``body``, for `growths`; None: they are ignored.
    """

    def __init__(
        self,
        engine: Engine,
        body: Poser,
        smooth: bool = True,
        conversion: BodyConversion | None = None,
        filters: bool = True,
        stature: Stature | None = None,
        scale: BodyScale | None = None,
    ) -> None:
        inputs = {spec.name: spec for spec in engine.inputs}
        check_interface(engine)
        self._answers = {spec.name for spec in engine.outputs}
        self._engine, self._body, self._smooth, self._conversion = engine, body, smooth, conversion
        self._filters, self._stature, self._scale = smooth and filters, stature, scale
        self.growths: Mapping[int, float] = {}
        """Factor by which each person is made larger than the network predicts, and farther away, so that several people stand
        on one floor; see `realtime.stages.world.world.World.growths`. Not used with ``stature``."""
        self._state_size = inputs["state"].shape[-1]
        self._cells = inputs["flow"].shape[1] if "flow" in inputs else 0
        self._memories: dict[int, _Memory] = {}
        _compile()

    @property
    def reads_flow(self) -> bool:
        """Whether predictions depend on the optical flow."""
        return self._cells > 0

    def __call__(self, keypoints: Keypoints, camera: Camera, time_s: float, flow: Flow | None = None) -> BodyEstimate:
        """The body of one person, without waiting for later frames: `predict`, smooth with earlier predictions, `pose`."""
        return self._smoothed([self.predict(keypoints, camera, time_s, flow)], camera)[0]

    def predict(self, keypoints: Keypoints, camera: Camera, time_s: float, flow: Flow | None = None) -> PosePrediction:
        """The network's prediction for one person at ``time_s`` of the source's clock, as parameters of the posed body.

        ``flow`` is the motion around this person since the frame before; it is used when this person was seen in that frame
        too. Raises `engines.finite.NonFiniteError` for an answer that is not finite; the person then starts anew.
        """
        memory, feeds = self._feeds(keypoints, camera, time_s, flow)
        try:
            out = self._infer(feeds, 1)
        except NonFiniteError:
            del self._memories[keypoints.person]  # the state may be the cause
            raise
        return self._prediction(memory, keypoints, out)

    def estimate_all(self, people: Sequence[Observed]) -> list[BodyEstimate]:
        """The bodies of several people in one frame: what `__call__` returns for each; see `predict_all`."""
        if len(people) < 2 or self._engine.max_rows < 2:
            return list(_finite(self, people))
        return self._smoothed(self.predict_all(people), people[0].camera)

    def predict_all(self, people: Sequence[Observed]) -> list[PosePrediction]:
        """The predictions for several people in one frame. People whose prediction is not finite are left out.

        All go through the network in one batch. It has a thousand operators on a few numbers each, so on a CPU a second person
        costs a fifth of the first. On a GPU, people whose flow is on the device are one batch, and the others another.
        """
        if len(people) < 2 or self._engine.max_rows < 2:
            return list(_finite(self.predict, people))
        memories, feeds = zip(*(self._feeds(*one) for one in people), strict=True)
        found: dict[int, PosePrediction] = {}
        try:
            for group in self._groups(feeds):
                out, rows = self._infer_rows([feeds[place] for place in group])
                for place, row in zip(group, rows, strict=True):
                    answer = {name: array[row : row + 1] for name, array in out.items()}
                    found[place] = self._prediction(memories[place], people[place].keypoints, answer)
        except NonFiniteError:  # one by one, to find the person whose output is not finite
            left = [place for place in range(len(people)) if place not in found]
            for place in left:
                memories[place].time_s -= memories[place].dt
            for place in left:
                with contextlib.suppress(NonFiniteError):
                    found[place] = self.predict(*people[place])
        return [found[place] for place in sorted(found)]

    def _groups(self, feeds: Sequence[Mapping[str, AnyArray]]) -> Iterator[list[int]]:
        """Indices into ``feeds`` of people who can be one batch."""
        groups: dict[int, list[int]] = {}
        for place, feed in enumerate(feeds):
            flow = feed.get("flow")
            groups.setdefault(id(flow.slot) if isinstance(flow, DeviceArray) else 0, []).append(place)
        for group in groups.values():
            for first in range(0, len(group), self._engine.max_rows):
                yield group[first : first + self._engine.max_rows]

    def _infer_rows(self, feeds: Sequence[Mapping[str, AnyArray]]) -> tuple[dict[str, AnyArray], list[int]]:
        """The network's outputs for a batch of people, and the row of each person."""
        flow, rows = beside_each_other([feed["flow"] for feed in feeds]) if self._cells else (None, range(len(feeds)))
        count = len(rows) if flow is None else len(flow)
        # A row in between may hold the flow of somebody without keypoints in this frame: its other inputs do not matter.
        whose = [rows.index(row) if row in rows else 0 for row in range(count)]
        batch = {name: np.concatenate([feeds[place][name] for place in whose]) for name in feeds[0] if name != "flow"}
        if flow is not None:
            batch["flow"] = flow
        return self._infer(batch, count), list(rows)

    def _smoothed(self, predictions: Sequence[PosePrediction], camera: Camera) -> list[BodyEstimate]:
        if self._filters:
            memories = [self._memories[prediction.keypoints.person] for prediction in predictions]
            predictions = [
                replace(prediction, rotations=memory.rotations(prediction.rotations, memory.dt))
                for prediction, memory in zip(predictions, memories, strict=True)
            ]

        def place(prediction: PosePrediction, coco: FloatArray) -> FloatArray:
            memory = self._memories[prediction.keypoints.person]
            seen = replace(prediction.keypoints, points=prediction.points)
            pelvis = fit_translation(coco, seen, camera, prediction.pelvis)
            if not self._smooth:
                return pelvis
            velocity = prediction.root_velocity
            over_ground = None if velocity is None else prediction.rotations[0] @ velocity
            return memory.position(pelvis, memory.dt, over_ground)

        return self.pose_all(predictions, place)

    def _feeds(
        self, keypoints: Keypoints, camera: Camera, time_s: float, flow: Flow | None
    ) -> tuple[_Memory, dict[str, FloatArray]]:
        """The person's memory, advanced to ``time_s``, and the network's inputs as a batch of one."""
        memory = self._memories.get(keypoints.person)
        if memory is None or not 0 < time_s - memory.time_s < 2.0:
            memory = _Memory(np.zeros((1, self._state_size), np.float32), time_s - 1 / 30, np.zeros(10, np.float32))
            self._memories[keypoints.person] = memory
        dt = memory.dt = time_s - memory.time_s
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
        return memory, feeds

    def _infer(self, feeds: Mapping[str, FloatArray], people: int) -> dict[str, AnyArray]:
        out = self._engine.infer(feeds)
        check_answer(out, people, self._state_size)
        return out

    def _prediction(self, memory: _Memory, keypoints: Keypoints, out: Mapping[str, FloatArray]) -> PosePrediction:
        """The prediction for the person of ``memory`` from the network's outputs for a batch of one."""
        memory.state = out["next_state"]
        # The network's estimate of the keypoints jitters less than the detections, and is wrong less often.
        points = out["steady_points"][0] if "steady_points" in self._answers else keypoints.points
        rotations, betas = out["rotations"][0], self._shape(memory, out["betas"][0])
        if self._conversion is not None:
            rotations, betas = self._conversion.rotations(rotations, betas), self._conversion.betas(betas)

        def given(name: str) -> FloatArray | None:
            return out[name][0] if name in self._answers else None

        pelvis, up_sigma, velocity = out["pelvis"][0], given("up_sigma"), given("root_velocity")
        larger = growth = 1.0
        if self._stature is not None:
            betas, larger = self._stature(betas)
        elif self._scale is not None and keypoints.person in self.growths:
            betas, larger = self._scale.by_factor(betas, self.growths[keypoints.person])
            growth = larger
        if larger != 1.0:  # a larger person who looks the same is farther away and faster
            pelvis = pelvis * np.float32(larger)
            velocity = None if velocity is None else velocity * np.float32(larger)
        return PosePrediction(
            keypoints,
            memory.time_s,
            rotations,
            betas,
            pelvis,
            points,
            given("joint_error"),
            given("contact"),
            given("up"),
            None if up_sigma is None else float(up_sigma),
            velocity,
            growth,
        )

    def _shape(self, memory: _Memory, betas: FloatArray) -> FloatArray:
        """Betas (10,) for this frame. A person's shape does not change: the network's own running estimate where it has one,
        else the mean of its predictions so far, in which the newest counts at least 2 %."""
        if "betas_sigma" in self._answers:
            return betas
        memory.weight = min(memory.weight + 1.0, 50.0)
        memory.betas = memory.betas + (betas - memory.betas) / np.float32(memory.weight)
        return memory.betas

    def pose_all(
        self,
        predictions: Sequence[PosePrediction],
        place: Callable[[PosePrediction, FloatArray], FloatArray] | None = None,
    ) -> list[BodyEstimate]:
        """The posed bodies of ``predictions``. ``place`` may replace a prediction's pelvis (3,), m, given the posed body's COCO
        keypoints (17, 3) relative to it, m, camera axes."""
        if not predictions:
            return []
        poses = np.empty((len(predictions), JOINTS, 3), np.float32)
        for prediction, pose in zip(predictions, poses, strict=True):
            to_axis_angles(np.ascontiguousarray(prediction.rotations, np.float32), pose)
        bodies = self._body.pose_all(np.stack([prediction.betas for prediction in predictions]), poses)
        found = []
        for prediction, pose, body in zip(predictions, poses, bodies, strict=True):
            pelvis = prediction.pelvis if place is None else place(prediction, body.keypoints)
            found.append(
                BodyEstimate(
                    prediction.keypoints.sequence,
                    prediction.keypoints.person,
                    pose[0],
                    pose[1:],
                    prediction.betas,
                    pelvis,
                    body.joints + pelvis,
                    body.keypoints + pelvis,
                    shifted(body.vertices, pelvis),
                    prediction.keypoints,
                    prediction.joint_error,
                    prediction.contact,
                    prediction.up,
                    prediction.up_sigma,
                    prediction.root_velocity,
                    prediction.growth,
                )
            )
        return found

    def _motion(self, flow: Flow | None, dt: float, camera: Camera) -> dict[str, FloatArray]:
        """The network's inputs for optical flow; zeros if ``flow`` is missing or does not span ``dt``."""
        if flow is None or abs(flow.dt_s - dt) > _SAME_INTERVAL_S:
            return {
                "flow": np.zeros((1, self._cells, self._cells, 2), np.float32),
                "box": np.array([[camera.cx, camera.cy, camera.fx]], np.float32),
                "flow_valid": np.zeros(1, np.float32),
            }
        return {
            "flow": cell_means(flow, self._cells)[None] if flow.means is None else flow.means,
            "box": np.array([flow.box], np.float32),
            "flow_valid": np.ones(1, np.float32),
        }

    def forget(self, before_s: float) -> None:
        """Drop the memory of people last seen earlier than ``before_s``."""
        self._memories = {person: memory for person, memory in self._memories.items() if memory.time_s >= before_s}


def _finite(estimate: Callable[..., T], people: Iterable[Observed]) -> Iterator[T]:
    """``estimate`` of each person, except of those for whom it raises `NonFiniteError`."""
    for one in people:
        with contextlib.suppress(NonFiniteError):
            yield estimate(*one)


def _compile() -> None:
    """Compile the functions that a frame needs, so that the first frame does not wait for them."""
    still, smooth = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1)), RotationFilter(24)
    for _ in range(2):
        smooth(still, 1 / 30)
    to_axis_angles(still, np.empty((24, 3), np.float32))
    nothing = np.zeros(17, np.float32)
    ahead = np.array([0, 0, 3], np.float32)
    fit_translation(np.zeros((17, 3), np.float32), Keypoints(0, 0, np.zeros((17, 2), np.float32), nothing), _ANY, ahead)
