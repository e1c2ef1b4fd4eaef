"""The motion in the world's frame against an exact truth.

``python -m training.evaluation world`` lets the program's own stages (regressor, smoothing, translation fit, world) follow
simulated people before level, tilted, rolled, hand-held and panning cameras. Keypoints and flow are simulated with the measured
noise, and the camera's rotation is given to the world's stage as it is: the error of its measurement is bounded by
`tests/realtime/stages/world/test_camera_motion.py`, on images of a turning camera.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer

from body.lbs import NumpyBody
from body.lbs_torch import TorchBody
from body.model import load_body
from body.skeleton import Skeleton
from body.soles import Soles
from common.arrays import AnyArray, DoubleArray
from common.camera import Camera
from realtime.networks import Networks
from realtime.options import Options
from realtime.outputs.motion_rows import RESULT_ROW, columns, fill_rows
from realtime.records import BodyEstimate, Box, Flow, Frame, Keypoints, Result
from realtime.stages.regressor.body_regressor import BodyRegressor, Observed
from realtime.stages.regressor.look_ahead import LookAhead
from realtime.stages.world.camera_motion import CameraMotion
from realtime.stages.world.world import World
from training.evaluation.metrics import pa_distances
from training.evaluation.world_scenes import SCENE_FPS, SCENE_HEIGHT, SCENE_KINDS, SCENE_WIDTH, WorldScene, draw_scene
from training.evaluation.world_scores import (
    foot_sliding,
    height_error,
    jitter,
    root_translation_error,
    segment_errors,
)
from training.motion.bank import NONE, MotionBank
from training.motion.opening import open_clips
from training.simulation.batches import BatchMaker, FlowSource
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import CELLS, FlowGrid
from training.simulation.flow_noise import FlowDegrader, load_flow_noise

KNOWN_S: Final = 3.0
"""How long people have been seen when the vertical and the floor are first scored."""
_ROWS: Final = ("camera's frame", "world", "world, feet locked")
_RECORDED: Final = "recorded"
"""Row of what ``--save`` writes, of cameras that stand still: with all frames known."""
_TRUTH: Final = "truth"
"""Row of the true motion, by the same definitions: feet that move slowly count as standing, so it slides, too."""
_LEAST_TURN: Final = 1e-5
"""Angle, rad, from which on a camera has turned: given rotations are rounded to float32."""
_NOTHING: Final = np.zeros((8, 8, 3), np.uint8)
_SCORES: Final = (
    "up °",
    "floor cm",
    "floor of true size cm",
    "feet over floor cm",
    "W-MPJPE100 mm",
    "WA-MPJPE100 mm",
    "RTE %",
    "sliding mm/frame",
    "jitter 10 m/s³",
    "PA-MPJPE mm",
)


class GivenMotion(CameraMotion):
    """A camera whose rotation is known."""

    def give(self, rotation: DoubleArray) -> None:
        """The rotation (3, 3) from the camera's axes to those of the first frame."""
        angle = float(np.linalg.norm(self.rotation - rotation)) / math.sqrt(2)  # of small ones
        self.turned = angle if angle > _LEAST_TURN else 0.0
        self.has_moved = self.has_moved or angle > _LEAST_TURN
        if self.turned:
            self.rotation = rotation

    def __call__(self, *image: object) -> DoubleArray:
        """`rotation`, which needs no measurement."""
        return self.rotation


def follow_scene(
    scene: WorldScene, regressor: BodyRegressor, look_ahead: int = 0
) -> Iterator[tuple[BodyEstimate, ...]]:
    """The regressor stage's estimates of everybody, frame by frame, with so many frames of look-ahead."""
    seen = scene.batch.seen
    ahead = LookAhead[int](look_ahead, Skeleton(load_body()), scene.camera) if look_ahead else None
    for t in range(seen.dt.shape[1]):
        people = []
        for who in range(len(seen.dt)):
            points, confidence = seen.points[who, t].numpy(), seen.confidence[who, t].numpy()
            flow = None
            if seen.flow_valid[who, t]:
                box = Box(*seen.box[who, t].tolist())
                field = seen.flow[who, t].numpy() * CELLS
                flow = Flow(t, t - 1, 1 / SCENE_FPS, box, field.astype(np.float32), who)
            people.append(Observed(Keypoints(t, who, points, confidence), scene.camera, t / SCENE_FPS, flow))
        if ahead is None:
            yield tuple(regressor.estimate_all(people))
        elif due := ahead.push(t, t / SCENE_FPS, regressor.predict_all(people)):
            yield tuple(regressor.pose_all(due[1]))
    if ahead is not None:
        for _, predictions in ahead.flush():
            yield tuple(regressor.pose_all(predictions))


def score_scene(scene: WorldScene, regressor: BodyRegressor, look_ahead: int = 0) -> dict[str, dict[str, list[float]]]:
    """The numbers of `_SCORES` for each of `_ROWS`, for the recording and for the truth, one for each person or scene."""
    arrays = load_body()
    soles_of = Soles(arrays)
    world = World(scene.camera, arrays)
    world.motion = motion = GivenMotion(scene.camera)
    scores: dict[str, dict[str, list[float]]] = {row: defaultdict(list) for row in (*_ROWS, _RECORDED, _TRUTH)}
    rows: list[AnyArray] = []
    joints: dict[str, list[DoubleArray]] = {row: [] for row in _ROWS}
    soles: dict[str, list[DoubleArray]] = {row: [] for row in _ROWS}
    level = np.diag([1.0, -1.0, -1.0])
    ups: dict[str, list[float]] = {row: [] for row in _ROWS[:2]}
    floors = []
    heights: list[list[tuple[float, float, float]]] = [[] for _ in scene.joints]
    for t, people in enumerate(follow_scene(scene, regressor, look_ahead)):
        camera = scene.world_from_camera[t]
        motion.give(scene.world_from_camera[0, :3, :3].T @ camera[:3, :3])
        frame = Frame(t, 0, t / SCENE_FPS, _NOTHING)
        answer = world(frame, people)
        assert answer is not None
        place = answer.world_from_camera.astype(np.float64)
        locked = world.with_feet_locked(people, t / SCENE_FPS)
        regressor.growths = world.growths
        rows.append(np.empty(len(locked), RESULT_ROW))
        for row_of, body in zip(rows[-1], locked, strict=True):
            fill_rows(row_of, Result(frame, scene.camera, locked, 0, (), answer), body)
        for row, bodies in zip(_ROWS, (people, people, locked), strict=True):
            turn, shift = (level, np.zeros(3)) if row == _ROWS[0] else (place[:3, :3], place[:3, 3])
            joints[row].append(np.stack([body.joints for body in bodies]) @ turn.T + shift)
            soles[row].append(np.stack([soles_of(body.vertices) for body in bodies]) @ turn.T + shift)
        if t >= KNOWN_S * SCENE_FPS:
            up = camera[1, :3]
            for row, mine in zip(ups, (level[1], place[1, :3]), strict=True):
                ups[row].append(math.degrees(math.acos(min(1.0, float(mine @ up)))))
            true = (scene.soles[:, t].reshape(-1, 3) - camera[:3, 3]) @ camera[:3, :3]
            stands = scene.contact[:, t].reshape(-1) > 0
            if stands.any() and math.isfinite(answer.floor_sigma):
                floors.append(100 * float(np.abs((true @ place[1, :3] + place[1, 3])[stands]).mean()))
                for body, one, stood, known in zip(
                    people, true.reshape(-1, 4, 3), stands.reshape(-1, 4), heights, strict=True
                ):
                    if stood.any():
                        pelvis = scene.joints[body.person, t, 0] - camera[:3, 3]
                        larger = float(np.linalg.norm(body.transl) / np.linalg.norm(pelvis))
                        known.append((float((one[stood] @ place[1, :3]).mean()), place[1, 3], larger))
    for row in _ROWS:
        if row in ups:
            scores[row]["up °"].append(float(np.median(ups[row])))
        if row == _ROWS[1] and floors:
            scores[row]["floor cm"].append(float(np.median(floors)))
            scores[row]["floor of true size cm"] += [_floor_of_true_size(known) for known in heights if known]
        mine, feet = np.stack(joints[row], 1), np.stack(soles[row], 1)
        for who in range(len(mine)):
            _score_person(scores[row], scene, who, mine[who], feet[who], in_world=row != _ROWS[0])
    if not motion.has_moved:
        for who, (mine, feet) in _recorded(np.concatenate(rows), scene.camera).items():
            _score_person(scores[_RECORDED], scene, who, mine, feet, in_world=True)
    for true_soles, true_joints in zip(scene.soles, scene.joints, strict=True):
        scores[_TRUTH]["sliding mm/frame"].append(foot_sliding(true_soles, true_soles))
        scores[_TRUTH]["jitter 10 m/s³"].append(jitter(true_joints, SCENE_FPS))
    return scores


def _recorded(rows: AnyArray, camera: Camera) -> dict[int, tuple[DoubleArray, DoubleArray]]:
    """Joints (T, 24, 3) and soles (T, 4, 3) of each person, world frame, that are saved of ``rows``."""
    arrays = load_body()
    soles_of, body = Soles(arrays), NumpyBody(arrays)
    saved, out = columns(rows, camera.matrix), {}
    for person in np.unique(saved["person"]).tolist():
        mine = saved["person"] == person
        feet = []
        for orient, pose, betas, place in zip(
            *(saved[name][mine] for name in ("world_global_orient", "body_pose", "betas", "world_transl")), strict=True
        ):
            body.set_shape(betas)
            feet.append(soles_of(body.pose(orient, pose, place)[0]))
        out[person] = saved["world_joints_m"][mine].astype(np.float64), np.array(feet, np.float64)
    return out


def _score_person(
    scores: dict[str, list[float]],
    scene: WorldScene,
    who: int,
    joints: DoubleArray,
    soles: DoubleArray,
    in_world: bool,
) -> None:
    """Append to ``scores`` those of one person's ``joints`` (T, 24, 3) and ``soles`` (T, 4, 3), metres; height over the floor
    only where they are in the world's frame."""
    first, whole = segment_errors(joints, scene.joints[who])
    scores["W-MPJPE100 mm"].append(first)
    scores["WA-MPJPE100 mm"].append(whole)
    moved = np.linalg.norm(np.diff(scene.joints[who, :, 0], axis=0), axis=-1).sum()
    if moved > 1.0:  # undefined for somebody who does not move
        scores["RTE %"].append(root_translation_error(joints[:, 0], scene.joints[who, :, 0]))
    scores["sliding mm/frame"].append(foot_sliding(soles, scene.soles[who]))
    scores["jitter 10 m/s³"].append(jitter(joints, SCENE_FPS))
    later = slice(int(KNOWN_S * SCENE_FPS), None)
    if in_world:
        scores["feet over floor cm"].append(height_error(soles[later], scene.contact[who, later] > 0))
    exact = pa_distances(torch.from_numpy(joints), torch.from_numpy(scene.joints[who]))
    scores["PA-MPJPE mm"].append(1000 * float(exact.mean()))


def _floor_of_true_size(heights: list[tuple[float, float, float]]) -> float:
    """Error of the floor's height, cm, once the scene is made so much smaller or larger that a person is as far away as in
    truth: ``heights`` are the true feet along up, the camera over the floor, m, and by how much too far away the person is."""
    feet, floor, larger = np.array(heights).T
    return 100 * float(np.median(np.abs(feet + floor / np.median(larger))))


def score_world(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    scenes: Annotated[int, typer.Option(min=1, help="scenes of each kind of camera")] = 3,
    frames: Annotated[int, typer.Option(min=100, help="frames of a scene, at 30 frames/s")] = 180,
    split: Annotated[str, typer.Option(help="of the motion")] = "val2",
    seed: Annotated[int, typer.Option(help="of people, cameras and noise")] = 1,
    look_ahead: Annotated[int, typer.Option(min=0, max=30, help="frames of look-ahead")] = 0,
) -> None:
    """Print the errors of vertical, floor, tracks and feet in the world's frame, before each stage and after it."""
    arrays = load_body()
    body = TorchBody(arrays)
    bank = MotionBank(open_clips(motion, split), seed=seed)
    flow = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), seed + 2), dropout=0.0)
    maker = BatchMaker(bank, body, NoiseSampler(load_noise(), seed + 1, 0.0), NONE, occluders=0.0, flow=flow)
    print("| camera | motion in | " + " | ".join(_SCORES) + " |")
    print("| --- | --- |" + " --- |" * len(_SCORES))
    with Networks(Options(source="", engine="onnxruntime")) as networks:
        for kind in SCENE_KINDS:
            rows: dict[str, dict[str, list[float]]] = {row: defaultdict(list) for row in (*_ROWS, _RECORDED, _TRUTH)}
            for number in range(scenes):
                scene = draw_scene(kind, 1 + number % 3, frames, maker, body)
                regressor = networks.open_regressor(arrays)
                for row, values in score_scene(scene, regressor, look_ahead).items():
                    for name, more in values.items():
                        rows[row][name] += more
            for row, values in ((row, values) for row, values in rows.items() if values):
                cells = [f"{np.nanmedian(values[name]):.1f}" if values.get(name) else "" for name in _SCORES]
                print(f"| {kind} | {row} | " + " | ".join(cells) + " |", flush=True)
    print(
        f"\nMedians over people; images of {SCENE_WIDTH:.0f}x{SCENE_HEIGHT:.0f}, "
        f"the first {KNOWN_S:.0f} s do not count for up and floor."
    )
