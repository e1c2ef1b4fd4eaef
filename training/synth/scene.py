"""Sampling scenes: a moving person, the camera, surroundings, occluders and light.

A scene is a short window of motion in front of one camera, as numbers; `training.synth.render` turns it into images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from body.lbs_torch import TorchBody
from body.model import BodyArrays
from common.arrays import FloatArray, Int32Array
from common.camera import Camera
from training.motion.bank import Augmentation, MotionBank
from training.simulation.cameras import draw_views
from training.simulation.shapes import draw_betas
from training.synth.appearance import SurfaceAppearance, sample_appearance, vertex_parts
from training.synth.backgrounds import sample_wall_texture
from training.synth.occluders import Occluder, sample_box_occluder
from training.synth.photographs import irradiance, panoramas
from training.synth.room import SKY_SIDE, TEXTURE_SIDE, Room, sky_box, with_mipmaps

WALL_TEXTURES: Final = 24
"""Wall textures that a `SceneSampler` makes once; every room picks from them."""
MIN_VISIBLE_KEYPOINTS: Final = 5
"""COCO keypoints that must be inside the image in every frame."""
STILL_CAMERA_M: Final = 0.12
"""Metres: a camera that moves less than this without rotating is replaced by a static one."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """The main person and all occluders over T frames."""

    vertices: FloatArray
    """(T, V, 3) float32, vertices, metres, camera frame; the person's first."""
    faces: Int32Array
    """(F, 3) int32, faces; the person's first."""
    owner: Int32Array
    """(F,) int32, 0 the person, then 1, 2, ... for the occluders."""
    parts: Int32Array
    """(F,) int32, the joint with the largest weight, -1 for occluders."""
    rest: FloatArray
    """(V, 3) float32, rest positions of the vertices, to which the patterns are fixed, metres."""
    appearance: SurfaceAppearance
    """Its colours and patterns."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One window of T frames. Metres, pixels, seconds; the world is y up, the camera OpenCV's."""

    size: tuple[int, int]
    """Width and height of the image, px."""
    camera: FloatArray
    """(4,) float32, the true fx, fy, cx, cy, px."""
    assumed_camera: FloatArray
    """(4,) float32, fx, fy, cx, cy that the network is given, px."""
    dt: FloatArray
    """(T,) float32, seconds since the frame before."""
    rotation: FloatArray
    """(T, 3, 3) float32, rotation, world to camera."""
    centre: FloatArray
    """(T, 3) float32, the camera in the world, metres."""
    mesh: Mesh
    """Everything that moves or occludes."""
    room: Room
    """The surroundings."""
    harmonics: FloatArray
    """(3, 9) float32, light in the world frame, see `training.synth.shading.shade_vertices`."""
    rotations: FloatArray
    """(T, 24, 3, 3) float32, the person's local rotations, the root's to the camera frame."""
    betas: FloatArray
    """(10,) float32, shape of the person."""
    pelvis: FloatArray
    """(T, 3) float32, position of the pelvis, camera frame, metres."""
    joints: FloatArray
    """(T, 24, 3) float32, joints relative to the pelvis, camera axes, metres."""
    coco: FloatArray
    """(T, 17, 3) float32, COCO keypoints relative to the pelvis, camera axes, metres."""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.dt)

    @property
    def points(self) -> FloatArray:
        """(T, 17, 2) float32, exact projections of the person's COCO keypoints, px."""
        place = self.coco + self.pelvis[:, None]
        return Camera.from_array(self.camera).project_clamped(place).astype(np.float32)


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """Probabilities of the optional parts of a scene."""

    box: float = 0.2
    """A box in front of the person."""
    second_person: float = 0.12
    """A second person near the first."""
    outdoors: float = 0.3
    """Distant walls, where there is no panorama."""
    panorama: float = 0.3
    """A photographed panorama instead of a room."""


class SceneSampler:
    """Samples scenes. The same seed gives the same scenes in the same order."""

    def __init__(
        self,
        bank: MotionBank,
        arrays: BodyArrays,
        body: TorchBody,
        seed: int,
        augmentation: Augmentation | None = None,
        options: SceneOptions | None = None,
    ) -> None:
        """Prepare sampling; wall textures are made when they are first needed.

        Args:
            bank: Source of motion; its generator also samples the cameras.
            arrays: The body as arrays.
            body: The same body in torch.
            seed: Seed of appearance, rooms and occluders.
            augmentation: Augmentation of the motion; the default one where None.
            options: Probabilities of optional parts.
        """
        self.bank, self.arrays, self.body = bank, arrays, body
        self.augmentation = Augmentation() if augmentation is None else augmentation
        self.options = SceneOptions() if options is None else options
        self.rng = np.random.default_rng(seed)
        self._parts = vertex_parts(arrays)[arrays.faces[:, 0]].astype(np.int32)
        self._atlas: NDArray[np.uint8] | None = None

    @torch.no_grad()
    def sample(self, batch: int, length: int, fps: float = 30.0, textured: bool = True) -> list[Scene]:
        """Sample ``batch`` scenes of ``length`` frames at ``fps``. Without ``textured`` all surfaces are grey."""
        drawn = 2 * batch + 2
        window = self.bank.sample(drawn, length, self.augmentation, torch.full((drawn,), fps))
        betas = draw_betas(drawn, self.bank.generator)
        views = draw_views(window, self.bank.generator)
        rotation = views.rotation.expand(drawn, length, 3, 3)
        root = rotation @ window.rotations[:, :, 0]
        rotations = torch.cat([root[:, :, None], window.rotations[:, :, 1:]], 2)
        shapes = betas[:, None].expand(drawn, length, 10)
        joints, coco = self.body.skeleton(rotations, shapes)
        in_frame = views.project(coco + views.pelvis[:, :, None])
        in_frame = ((in_frame >= 0) & (in_frame <= views.size[:, None, None] - 1)).all(-1).sum(-1).amin(1)
        # People hardly inside the image would not be tracked: take the others first, in the order they were sampled.
        rows = (in_frame < MIN_VISIBLE_KEYPOINTS).long().sort(stable=True).indices[:batch].tolist()
        path = window.pelvis
        centre = path - (rotation.transpose(-1, -2) @ views.pelvis[..., None])[..., 0]
        scenes = []
        for row in rows:
            world_to_camera, pelvis = rotation[row].numpy(), views.pelvis[row].numpy()
            camera_path = _still_or_moving(world_to_camera, centre[row].numpy())
            vertices = self.body(rotations[row], shapes[row])[0].numpy() + pelvis[:, None]
            appearance = (
                sample_appearance(self.arrays, self.rng)
                if textured
                else uniform_appearance(self.arrays.vertex_count, len(self.arrays.faces))
            )
            focal = float(views.focal[row])
            first = coco[row, 0].numpy() + pelvis[0]
            occluders = self._occluders(
                first, window.rotations[row - 1], pelvis, world_to_camera, camera_path, textured
            )
            if textured and self.rng.random() < self.options.panorama:
                room, harmonics = self._panorama_room(camera_path)
            else:
                room = self._textured_room(world_to_camera, camera_path, pelvis, self._wall_atlas(textured))
                harmonics = sample_light(self.rng)
            scenes.append(
                Scene(
                    size=(int(views.size[row, 0]), int(views.size[row, 1])),
                    camera=np.array([focal, focal, *views.camera[row, 2:].tolist()], np.float32),
                    assumed_camera=views.camera[row].numpy(),
                    dt=window.dt[row].numpy(),
                    rotation=world_to_camera,
                    centre=camera_path,
                    mesh=join_meshes(self.arrays, vertices, appearance, self._parts, occluders),
                    room=room,
                    harmonics=harmonics,
                    rotations=rotations[row].numpy(),
                    betas=betas[row].numpy(),
                    pelvis=pelvis,
                    joints=joints[row].numpy(),
                    coco=coco[row].numpy(),
                )
            )
        return scenes

    def _occluders(
        self,
        keypoints: FloatArray,
        motion: torch.Tensor,
        pelvis: FloatArray,
        world_to_camera: FloatArray,
        centre: FloatArray,
        textured: bool,
    ) -> list[Occluder]:
        """None, a box, a second person, or both. ``keypoints`` (17, 3): of the person in the first frame, camera frame;
        ``motion`` (T, 24, 3, 3): the second person's rotations in the world frame."""
        found: list[Occluder] = []
        if self.rng.random() < self.options.box:
            found.append(sample_box_occluder(keypoints, world_to_camera, centre, self.rng))
        if self.rng.random() < self.options.second_person:
            found.append(self._second_person(motion, pelvis, world_to_camera, centre))
        if not textured:
            found = [replace(one, appearance=uniform_appearance(len(one.rest), len(one.faces))) for one in found]
        return found

    def _second_person(
        self, rotations: torch.Tensor, pelvis: FloatArray, world_to_camera: FloatArray, centre: FloatArray
    ) -> Occluder:
        """A second person beside, behind or in front of the first. ``rotations`` (T, 24, 3, 3) in the world frame."""
        rng = self.rng
        first = world_to_camera[0].T @ pelvis[0] + centre[0]
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 1.6)
        position = first + np.array([away * np.sin(angle), rng.normal(0, 0.05), away * np.cos(angle)])
        walk = np.array([rng.normal(0, 0.4), 0, rng.normal(0, 0.4)]) * (rng.random() < 0.5)
        times = np.arange(len(world_to_camera))[:, None] / 30
        world = (position + walk * times).astype(np.float32)
        local = rotations.clone()
        to_camera = torch.from_numpy(world_to_camera.copy())
        local[:, 0] = to_camera @ local[:, 0]
        shape = torch.from_numpy(rng.normal(size=10).clip(-2, 2).astype(np.float32)).expand(len(world_to_camera), 10)
        camera = np.einsum("tij,tj->ti", world_to_camera, world - centre)
        skin = self.body(local, shape)[0].numpy() + camera[:, None].astype(np.float32)
        return Occluder(skin, self.arrays.faces, self.arrays.v_template, sample_appearance(self.arrays, rng))

    def _wall_atlas(self, textured: bool) -> NDArray[np.uint8]:
        """The wall textures, made when they are first needed, or one grey wall."""
        if not textured:
            return np.full((1, 8, 12, 3), 128, np.uint8)
        if self._atlas is None:
            self._atlas = np.stack(
                [with_mipmaps(sample_wall_texture(self.rng, TEXTURE_SIDE)) for _ in range(WALL_TEXTURES)]
            )
        return self._atlas

    def _panorama_room(self, centre: FloatArray) -> tuple[Room, FloatArray]:
        """A panorama around the camera, rotated at random, and its light."""
        rng = self.rng
        place = panoramas()[rng.integers(len(panoramas()))]
        rotation = _yaw_matrix(rng.uniform(0, 2 * np.pi))
        harmonics = irradiance(place.light, rotation)
        harmonics /= max(float(harmonics[:, 0].mean()), 1e-6)
        # The tone-mapped panorama has less contrast than the radiance; the person's shading must match it.
        harmonics[:, 1:] *= rng.uniform(0.4, 0.8)
        room = Room(
            np.zeros(3, np.float32),
            np.full(3, SKY_SIDE, np.float32),
            rotation,
            (SKY_SIDE / 2 - centre[0] @ rotation.T).astype(np.float32),
            _cached_sky_box(place.name),
            np.arange(6, dtype=np.int32),
            np.full(6, TEXTURE_SIDE / SKY_SIDE, np.float32),
            np.full(6, rng.uniform(0.6, 1.1), np.float32),
        )
        return room, (harmonics * rng.uniform(0.5, 1.0)).astype(np.float32)

    def _textured_room(
        self, world_to_camera: FloatArray, centre: FloatArray, pelvis: FloatArray, atlas: NDArray[np.uint8]
    ) -> Room:
        """Walls around camera and person: a few metres away, or so far that only camera rotation moves them."""
        rng = self.rng
        world = np.einsum("tji,tj->ti", world_to_camera, pelvis) + centre
        rotation = _yaw_matrix(rng.uniform(0, 2 * np.pi))
        inside = np.concatenate([centre, world]) @ rotation.T
        outdoors = rng.random() < self.options.outdoors
        reach = np.exp(rng.uniform(np.log(4), np.log(40), 6) if outdoors else rng.uniform(np.log(0.5), np.log(5), 6))
        low, high = inside.min(0) - reach[:3], inside.max(0) + reach[3:]
        low[1] = min(np.median(world[:, 1]) - rng.uniform(0.85, 1.0), inside[:, 1].min() - 0.2)
        high[1] = max(inside[:, 1].max() + 0.3, low[1] + (rng.uniform(8, 40) if outdoors else rng.uniform(2.3, 3.5)))
        layer = rng.integers(0, len(atlas), 6).astype(np.int32)
        if rng.random() < 0.7:  # most rooms have one wallpaper
            layer[[1, 4, 5]] = layer[0]
        span = np.exp(rng.uniform(np.log(0.8), np.log(4), 6)) * (4 if outdoors else 1)
        light = (rng.uniform(0.4, 1.2) * rng.uniform(0.75, 1.25, (6,))).clip(0.2, 1.2)
        return Room(
            low.astype(np.float32),
            high.astype(np.float32),
            rotation,
            np.zeros(3, np.float32),
            atlas,
            layer,
            (TEXTURE_SIDE / span).astype(np.float32),
            light.astype(np.float32),
        )


def _still_or_moving(world_to_camera: FloatArray, centre: FloatArray) -> FloatArray:
    """The camera's path (T, 3), replaced by its mean where it moves less than `STILL_CAMERA_M` and does not rotate."""
    rotates = np.abs(world_to_camera - world_to_camera[:1]).max() >= 1e-6
    still = not rotates and np.ptp(centre, axis=0).max() < STILL_CAMERA_M
    return np.broadcast_to(centre.mean(0), centre.shape).copy() if still else centre


def _yaw_matrix(angle: float) -> FloatArray:
    """Rotation (3, 3) about the world's y axis by ``angle`` radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]], np.float32)


@cache
def _cached_sky_box(name: str) -> NDArray[np.uint8]:
    """The sky box of a panorama, two megabytes each."""
    return sky_box(next(place.image for place in panoramas() if place.name == name))


def sample_light(rng: np.random.Generator) -> FloatArray:
    """Random light in the world frame, harmonics (3, 9) BGR: from above, with random softness and tint."""
    direction = rng.normal(size=3)
    direction[1] = abs(direction[1]) + 0.2
    x, y, z = direction / np.linalg.norm(direction)
    whole, contrast = rng.uniform(0.7, 1.5), rng.uniform(0.1, 0.7)
    lobe = np.array([1, y, z, x, x * y * 2, y * z * 2, (3 * z * z - 1) / 6, x * z * 2, (x * x - y * y) / 2])
    # A clamped cosine in the second order: 1 + 2 cos + 5/4 (3 cos² - 1) / 2, over its mean (Ramamoorthi & Hanrahan).
    lobe *= np.array([1, 2, 2, 2, *[0.9] * 5]) * contrast
    lobe[0] = 1.0
    lobe += rng.normal(0, 0.04, 9)
    tint = 1 + rng.normal(0, 0.06, 3)
    return (whole * 0.75 * tint[:, None] * lobe).astype(np.float32)


def uniform_appearance(vertices: int, faces: int) -> SurfaceAppearance:
    """A grey surface, for samples that need only geometry."""
    return SurfaceAppearance(
        np.full((vertices, 3), 0.6, np.float32),
        np.zeros(faces, np.int32),
        np.zeros(faces, np.int32),
        np.full((1, 1, 1, 3), 255, np.uint8),
        np.ones(1, np.float32),
        np.zeros(vertices, np.float32),
    )


def join_meshes(
    arrays: BodyArrays,
    skin: FloatArray,
    appearance: SurfaceAppearance,
    parts: Int32Array,
    occluders: list[Occluder],
) -> Mesh:
    """One mesh of the person and all occluders."""
    vertices, faces, rest = [skin], [arrays.faces], [arrays.v_template]
    appearances, owner, part = [appearance], [np.zeros(len(parts), np.int32)], [parts]
    count = skin.shape[1]
    for number, occluder in enumerate(occluders, 1):
        vertices.append(occluder.vertices)
        faces.append(occluder.faces + count)
        rest.append(occluder.rest)
        appearances.append(occluder.appearance)
        owner.append(np.full(len(occluder.faces), number, np.int32))
        part.append(np.full(len(occluder.faces), -1, np.int32))
        count += occluder.vertices.shape[1]
    first = np.cumsum([0, *(len(one.patterns) for one in appearances[:-1])])
    joined = (
        appearances[0]
        if len(appearances) == 1
        else SurfaceAppearance(
            np.concatenate([one.colour for one in appearances]),
            np.concatenate([one.garment + start for one, start in zip(appearances, first, strict=True)]).astype(
                np.int32
            ),
            np.concatenate([one.axis for one in appearances]),
            np.concatenate([one.patterns for one in appearances]),
            np.concatenate([one.density for one in appearances]),
            np.concatenate([one.offset for one in appearances]),
        )
    )
    return Mesh(
        np.ascontiguousarray(np.concatenate(vertices, 1), np.float32),
        np.ascontiguousarray(np.concatenate(faces), np.int32),
        np.concatenate(owner),
        np.concatenate(part),
        np.ascontiguousarray(np.concatenate(rest), np.float32),
        joined,
    )
