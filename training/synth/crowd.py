"""Scenes of several people who walk past one another, for judging who is followed as whom.

Everybody walks straight across the image at a depth of their own, so that the near ones hide the far ones for a while. The
walk is made of sine waves and needs no recorded motion. Labels are exact: keypoints from the posed bodies, and whether
somebody else hides them from the rendered depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from body.lbs import NumpyBody
from body.model import load_body
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import BoolArray, FloatArray, ImageArray
from common.camera import Camera
from training.synth.appearance import sample_appearance, vertex_parts
from training.synth.backgrounds import sample_wall_texture
from training.synth.occluders import Occluder
from training.synth.render import Renderer, Sensor, Viewport
from training.synth.room import TEXTURE_SIDE, Room, with_mipmaps
from training.synth.scene import Scene, join_meshes, sample_light

_WIDTH, _HEIGHT, _FOCAL, CROWD_FPS = 640, 480, 544.0, 30.0
_CAMERA_M = 1.5  # the camera's height over the floor
_HIP_M = 0.93
_TO_CAMERA = np.diag([1.0, -1.0, -1.0]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class CrowdLabels:
    """The truth of T frames with P people."""

    points: FloatArray
    """(T, P, 17, 2) float32, COCO keypoints, px."""
    visible: BoolArray
    """(T, P, 17) bool, inside the image and not behind somebody else."""
    depth: FloatArray
    """(T, P) float32, depth of the pelvis, m."""


@dataclass(frozen=True, slots=True)
class _Walker:
    """How one person crosses the image."""

    depth: float
    """Distance from the camera at which the walk begins, metres."""
    start: float
    """Place at which the walk begins, as a share of half the image's width at that depth: -1 the left border."""
    speed: float
    """m/s, to the right."""
    toward: float
    """m/s, towards the camera."""
    phase: float
    """Phase of the gait at the first frame, radians."""
    stride: float
    """How far the thighs swing, radians."""
    betas: FloatArray
    """float32 (10,) shape."""


def sample_crowd(people: int, frames: int, seed: int, body: str = "body_1722") -> tuple[Scene, CrowdLabels]:
    """One scene of ``people`` who cross at different depths, and its labels. The same seed gives the same scene."""
    rng = np.random.default_rng(seed)
    arrays = load_body(body)
    posed = NumpyBody(arrays)
    walkers = [_sample_walker(place, people, frames / CROWD_FPS, rng) for place in range(people)]
    walks = [_walk(posed, walker, frames) for walker in walkers]
    vertices, coco, pelvis = (np.stack(part) for part in zip(*walks, strict=True))
    looks = [sample_appearance(arrays, rng) for _ in walkers]
    others = [
        Occluder(one, arrays.faces, arrays.v_template, look) for one, look in zip(vertices[1:], looks[1:], strict=True)
    ]
    parts = vertex_parts(arrays)[arrays.faces[:, 0]].astype(np.int32)
    camera = np.array([_FOCAL, _FOCAL, (_WIDTH - 1) / 2, (_HEIGHT - 1) / 2], np.float32)
    scene = Scene(
        size=(_WIDTH, _HEIGHT),
        camera=camera,
        assumed_camera=camera,
        dt=np.full(frames, 1 / CROWD_FPS, np.float32),
        rotation=np.broadcast_to(_TO_CAMERA, (frames, 3, 3)).copy(),
        centre=np.broadcast_to(np.array([0, _CAMERA_M, 0], np.float32), (frames, 3)).copy(),
        mesh=join_meshes(arrays, vertices[0], looks[0], parts, others),
        room=_room(rng),
        harmonics=sample_light(rng),
        rotations=np.broadcast_to(np.eye(3, dtype=np.float32), (frames, 24, 3, 3)).copy(),
        betas=walkers[0].betas,
        pelvis=pelvis[0],
        joints=np.zeros((frames, 24, 3), np.float32),
        coco=coco[0] - pelvis[0][:, None],
    )
    places = coco.transpose(1, 0, 2, 3)
    points = Camera.from_array(camera).project_clamped(places)
    return scene, CrowdLabels(
        points.astype(np.float32), _visible(scene, points, places[..., 2]), pelvis[..., 2].T.astype(np.float32)
    )


def render_crowd(scene: Scene, seed: int) -> list[ImageArray]:
    """All frames of a scene, as a camera of average quality delivers them."""
    rng = np.random.default_rng(seed)
    renderer, sensor = Renderer(scene), replace(Sensor.sample(rng), quality=0)
    view = Viewport((_FOCAL, _FOCAL, (_WIDTH - 1) / 2, (_HEIGHT - 1) / 2), _WIDTH, _HEIGHT)
    return [sensor(renderer.render(frame, view, 2), rng) for frame in range(scene.frames)]


def _sample_walker(place: int, people: int, seconds: float, rng: np.random.Generator) -> _Walker:
    depth = 2.6 + 3.6 * (place + rng.uniform(0, 0.6)) / max(people, 2)
    way = 1 if place % 2 else -1
    half = 0.5 * _WIDTH / _FOCAL * depth
    reach = rng.uniform(1.1, 1.5)  # of half widths
    start = -way * rng.uniform(0.55, 0.8)
    betas = rng.normal(0, 0.7, 10).clip(-1.5, 1.5).astype(np.float32)
    return _Walker(
        depth,
        start,
        way * reach * half / seconds,
        float(rng.uniform(-0.15, 0.25)),
        float(rng.uniform(0, 2 * np.pi)),
        float(rng.uniform(0.3, 0.5)),
        betas,
    )


def _walk(body: NumpyBody, walker: _Walker, frames: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Vertices (T, V, 3), COCO keypoints (T, 17, 3) and pelvis (T, 3), camera frame, m."""
    body.set_shape(walker.betas)
    heading = np.arctan2(walker.speed, walker.toward + 1e-6)
    root = _TO_CAMERA @ axis_angle_to_matrix(np.array([0, heading, 0], np.float32))
    vertices, coco, pelvis = [], [], []
    for frame in range(frames):
        time_s = frame / CROWD_FPS
        angle = walker.phase + 2 * np.pi * 0.9 * time_s
        pose = _gait(angle, walker.stride)
        place = np.array(
            [
                walker.start * 0.5 * _WIDTH / _FOCAL * walker.depth + walker.speed * time_s,
                _CAMERA_M - _HIP_M,
                walker.depth - walker.toward * time_s,
            ],
            np.float32,
        )
        skin, _ = body.pose(matrix_to_axis_angle(root), pose, np.zeros(3, np.float32))
        vertices.append(skin + place)
        coco.append(body.coco(skin) + place)
        pelvis.append(place)
    return np.stack(vertices), np.stack(coco), np.stack(pelvis)


def _gait(angle: float, stride: float) -> FloatArray:
    """Body pose (23, 3), axis-angle: legs and arms swing, knees bend while a leg comes forward."""
    pose = np.zeros((23, 3), np.float32)
    for leg, knee, shoulder, elbow, side in ((0, 3, 15, 17, 1.0), (1, 4, 16, 18, -1.0)):
        swing = np.sin(angle) * side
        pose[leg, 0] = -stride * swing
        pose[knee, 0] = 0.1 + 0.9 * stride * max(np.cos(angle) * side, 0.0)
        pose[shoulder] = (0.0, 0.0, -1.2 * side)
        pose[shoulder, 1] = -0.7 * stride * swing * side
        pose[elbow, 1] = -0.3 * side
    return pose


def _visible(scene: Scene, points: FloatArray, depth: FloatArray) -> BoolArray:
    renderer = Renderer(scene)
    view = Viewport((_FOCAL, _FOCAL, (_WIDTH - 1) / 2, (_HEIGHT - 1) / 2), _WIDTH, _HEIGHT)
    inside: BoolArray = np.all((points >= 0) & (points <= [_WIDTH - 1, _HEIGHT - 1]), axis=-1)
    place = np.rint(points).astype(int).clip(0, [_WIDTH - 1, _HEIGHT - 1])
    for frame in range(scene.frames):
        seen = renderer.surface(frame, view)
        column, row = place[frame].transpose(2, 0, 1)
        nearest, face = seen.inverse_depth[row, column], seen.ids[row, column]
        other = (face >= 0) & (scene.mesh.owner[face] != np.arange(len(face))[:, None])
        inside[frame] &= ~(other & (nearest > 1 / depth[frame]))
    return inside


def _room(rng: np.random.Generator) -> Room:
    atlas = np.stack([with_mipmaps(sample_wall_texture(rng, TEXTURE_SIDE)) for _ in range(3)])
    return Room(
        np.array([-7, 0, -8.5], np.float32),
        np.array([7, 3.5, 1], np.float32),
        np.eye(3, dtype=np.float32),
        np.zeros(3, np.float32),
        atlas,
        np.array([0, 1, 0, 0, 2, 0], np.int32),
        np.full(6, TEXTURE_SIDE / rng.uniform(1.0, 3.0), np.float32),
        rng.uniform(0.5, 1.0, 6).astype(np.float32),
    )
