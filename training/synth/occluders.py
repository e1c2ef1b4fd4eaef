"""Occluders: static boxes in the world between camera and person, the size of furniture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import AnyFloatArray, FloatArray, Int32Array
from training.synth.appearance import SurfaceAppearance, sample_cloth_pattern

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)


@dataclass(frozen=True, slots=True)
class Occluder:
    """A closed mesh over T frames."""

    vertices: FloatArray
    """(T, V, 3) float32, vertices, metres, camera frame."""
    faces: Int32Array
    """(F, 3) int32, faces, counter-clockwise seen from outside."""
    rest: FloatArray
    """(V, 3) float32, rest positions of the vertices, to which the pattern is fixed, metres."""
    appearance: SurfaceAppearance
    """Its colours and pattern."""


def box_mesh(half: AnyFloatArray) -> tuple[FloatArray, Int32Array]:
    """Vertices (24, 3) and faces (12, 3) of a box with half sides ``half`` (3,), metres.

    No two sides share a vertex, so that the vertex normals keep the edges sharp.
    """
    vertices: list[AnyFloatArray] = []
    faces: list[list[int]] = []
    for axis in range(3):
        for sign in (-1, 1):
            side = _CORNERS[_CORNERS[:, axis] == sign]
            corners = side[[0, 1, 3, 2]]
            outward = np.cross(corners[1] - corners[0], corners[2] - corners[0])[axis]
            if outward * sign < 0:
                corners = corners[::-1]
            start = 4 * len(vertices)
            vertices.append(corners * half)
            faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    return np.concatenate(vertices).astype(np.float32), np.array(faces, np.int32)


def sample_box_occluder(
    keypoints: FloatArray, world_to_camera: FloatArray, centre: FloatArray, rng: np.random.Generator
) -> Occluder:
    """A crate, a pillar or a table in front of one of the person's keypoints.

    Args:
        keypoints: (17, 3) COCO keypoints in the first frame, camera frame, metres.
        world_to_camera: (T, 3, 3) rotation of the camera.
        centre: (T, 3) position of the camera in the world, metres.
        rng: Random generator.
    """
    kind = rng.choice(["crate", "pillar", "table"])
    # A table hides the legs and at most the trunk.
    hidden = rng.choice([11, 12, 13, 14, 15, 16]) if kind == "table" else rng.integers(len(keypoints))
    before = keypoints[hidden] * rng.uniform(0.45, 0.85)
    reach = max(float(before[2]), 0.3)
    match kind:
        case "crate":
            half = rng.uniform(0.05, 0.2, 3) * reach * 0.6
        case "pillar":
            half = np.array([rng.uniform(0.02, 0.1) * reach, 4.0, 0.1])
        case _:
            half = np.array([rng.uniform(0.4, 1.5), rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.3)]) * reach * 0.6
    world = world_to_camera[0].T @ before + centre[0]
    if half[0] > 2.5 * half[2]:
        world[1] -= half[1]  # the table's top is at the keypoint
    vertices, faces = box_mesh(half)
    # One side roughly faces the camera.
    away = world - centre[0]
    angle = np.arctan2(away[0], away[2]) + rng.normal(0, 0.3)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], np.float32)
    placed = vertices @ rotation.T + world.astype(np.float32)
    seen = np.einsum("tij,tvj->tvi", world_to_camera, placed[None] - centre[:, None]).astype(np.float32)
    appearance = SurfaceAppearance(
        np.broadcast_to(rng.uniform(0.1, 0.9, 3) * rng.uniform(0.4, 1.0), vertices.shape).astype(np.float32),
        np.zeros(len(faces), np.int32),
        np.repeat(np.arange(3), 4).astype(np.int32),
        sample_cloth_pattern(rng)[None],
        (128 / rng.uniform(0.3, 1.5, 1)).astype(np.float32),
        np.zeros(len(vertices), np.float32),
    )
    return Occluder(np.ascontiguousarray(seen), faces, vertices, appearance)
