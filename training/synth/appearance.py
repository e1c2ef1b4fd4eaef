"""Random skin, hair and clothes of synthetic people: colours, patterns, and the cloth's distance from the body.

Everything is sampled from a random generator; no texture files are used. Colours are BGR.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2

from body.joints import JOINT_NAMES
from body.model import BodyArrays
from common.arrays import AnyArray, AnyFloatArray, DoubleArray, FloatArray, Int32Array, Int64Array

PATTERN_SIDE: Final = 128
"""Side of a cloth pattern in texels, a power of two. Patterns tile without a seam."""

_SKIN, _HAIR, _TOP, _BOTTOM, _SHOES = range(5)
GARMENTS: Final = 5


@dataclass(frozen=True, slots=True)
class SurfaceAppearance:
    """Colours and cloth of one surface with V vertices, F faces and G garments."""

    colour: FloatArray
    """(V, 3) float32, BGR colours, 0..1."""
    garment: Int32Array
    """(F,) int32, row of ``patterns`` of each face."""
    axis: Int32Array
    """(F,) int32, the axis of the rest frame along which the pattern is projected onto the face."""
    patterns: NDArray[np.uint8]
    """(G, PATTERN_SIDE, PATTERN_SIDE, 3) uint8, multiplied with the colour; 255 leaves it unchanged."""
    density: FloatArray
    """(G,) float32, texels per metre of each pattern."""
    offset: FloatArray
    """(V,) float32, metres that cloth and hair stand off the body along the vertex normal."""


def vertex_parts(arrays: BodyArrays) -> Int64Array:
    """The joint with the largest skinning weight of each vertex, (V,) int64: the body part."""
    return np.asarray(arrays.weights.argmax(1), np.int64)


def _assign_garments(arrays: BodyArrays, rng: np.random.Generator) -> Int32Array:
    """(V,) int32 garment of each vertex: short or long sleeves and legs, sometimes bare feet or shoulders."""
    part = np.array(JOINT_NAMES)[vertex_parts(arrays)]
    place = arrays.v_template
    garments = np.full(len(part), _SKIN, np.int32)

    def assign(garment: int, *joints: str) -> None:
        garments[np.isin(part, [side + joint for joint in joints for side in ("", "left_", "right_")])] = garment

    sleeves, legs = ("elbow",) if rng.random() < 0.6 else (), ("knee",) if rng.random() < 0.7 else ()
    assign(_TOP, "spine1", "spine2", "spine3", "collar", *(("shoulder",) if rng.random() < 0.85 else ()), *sleeves)
    assign(_BOTTOM, "pelvis", "hip", *legs)
    if rng.random() < 0.85:
        assign(_SHOES, "ankle", "foot")
    head = part == "head"
    top, middle = place[head, 1].max(), np.median(place[head, 2])
    cut = rng.uniform(0.10, 0.22)
    hair = (place[:, 1] > top - 0.055) | ((place[:, 2] < middle - 0.005) & (place[:, 1] > top - cut))
    garments[head & hair] = _HAIR
    return garments


def _colours(arrays: BodyArrays, garments: Int32Array, rng: np.random.Generator) -> FloatArray:
    """(V, 3) float32 BGR 0..1 for ``garments`` (V,)."""
    place = arrays.v_template
    skin = np.array([0.55, 0.65, 0.85]) * rng.uniform(0.25, 1.1)
    table = np.empty((GARMENTS, 3))
    table[_SKIN], table[_HAIR] = skin, np.array([0.6, 0.8, 1.0]) * rng.uniform(0.04, 0.45)
    for garment in (_TOP, _BOTTOM, _SHOES):
        vivid, grey = rng.uniform(0.08, 0.95, 3), rng.uniform(0.1, 1.0)
        # Most wardrobes hold more black, grey, white and navy than every colour alike.
        table[garment] = (vivid + (grey - vivid) * rng.random()) * rng.uniform(0.45, 1.0)
    if rng.random() < 0.12:
        table[_BOTTOM] = table[_TOP]  # dress, overall
    colour = table[garments]
    head = np.array(JOINT_NAMES)[vertex_parts(arrays)] == "head"
    for number, keypoint in enumerate(arrays.coco_regressor[:3] @ place):
        near = np.linalg.norm(place - keypoint, axis=1)
        if number == 0:  # lips lie a little below the nose
            mouth = np.linalg.norm((place - keypoint + [0, 0.045, 0.01]) / [2.2, 0.8, 2.0], axis=1) < 0.012
            colour[head & mouth] *= [0.75, 0.65, 1.0]
        else:
            colour[head & (near < 0.011)] = 0.12
    return np.clip(colour * (1 + rng.normal(0, 0.05, (len(colour), 1))), 0, 1).astype(np.float32)


def sample_vertex_colours(arrays: BodyArrays, rng: np.random.Generator) -> FloatArray:
    """Random skin, hair, shirt, trousers and shoes as vertex colours only: (V, 3) float32 BGR, 0..1."""
    garments = _assign_garments(arrays, rng)
    colour = _colours(arrays, garments, rng)
    for garment in (_TOP, _BOTTOM, _SHOES):
        if rng.random() < 0.4:
            chosen = garments == garment
            colour[chosen] *= 1 - 0.3 * (np.sin(arrays.v_template[chosen, 1:2] * rng.uniform(20, 120)) > 0)
    return colour


def sample_appearance(arrays: BodyArrays, rng: np.random.Generator) -> SurfaceAppearance:
    """Random colours, patterned and wrinkled cloth, hair volume, and loose or tight clothes."""
    garments = _assign_garments(arrays, rng)
    colour = _colours(arrays, garments, rng)
    loose = np.zeros(GARMENTS)
    loose[_HAIR] = rng.uniform(0.0, 0.03)
    loose[[_TOP, _BOTTOM]] = np.maximum(rng.normal(0.006, 0.008, 2), 0.001)
    loose[_SHOES] = rng.uniform(0.002, 0.01)
    offset = _smooth(arrays, loose[garments] * (1 + rng.uniform(0, 0.5) * rng.normal(size=len(garments))))
    faces = arrays.faces
    corner = arrays.v_template[faces]
    normal = np.abs(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]))
    patterns = np.empty((GARMENTS, PATTERN_SIDE, PATTERN_SIDE, 3), np.uint8)
    patterns[_SKIN], patterns[_HAIR] = _shades(rng, 0.06, 1.2)[..., None], _shades(rng, 0.35, 0.5)[..., None]
    for garment in (_TOP, _BOTTOM, _SHOES):
        patterns[garment] = sample_cloth_pattern(rng)
    density = (PATTERN_SIDE / rng.uniform(0.15, 0.7, GARMENTS)).astype(np.float32)
    return SurfaceAppearance(
        colour,
        garments[faces[:, 0]],
        normal.argmax(1).astype(np.int32),
        patterns,
        density,
        offset.astype(np.float32),
    )


def _smooth(arrays: BodyArrays, values: DoubleArray, rounds: int = 3) -> DoubleArray:
    """``values`` (V,) averaged over the mesh's edges, so that a hem becomes a slope instead of a step."""
    faces, count = arrays.faces, np.bincount(arrays.faces.ravel(), minlength=len(values)).clip(1)
    for _ in range(rounds):
        mean = values[faces].mean(1)
        values = np.bincount(faces.ravel(), np.repeat(mean, 3), len(values)) / count
    return values


@lru_cache(maxsize=8)
def _log_rate(size: int) -> FloatArray:
    """Logarithm of the frequencies of a real 2D Fourier transform, (size, size / 2 + 1)."""
    rate = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    rate[0, 0] = 1
    return np.log(rate).astype(np.float32)


def tiling_noise(rng: np.random.Generator, roughness: float, size: int = PATTERN_SIDE) -> FloatArray:
    """Random noise (size, size) float32 of zero mean and unit variance that tiles without a seam.

    The amplitude spectrum falls with the ``roughness``-th power of the frequency.
    """
    waves = rng.standard_normal((size, size // 2 + 1, 2), np.float32).view(np.complex64)[..., 0]
    waves[0, 0] = 0  # no mean
    field = irfft2(waves * np.exp(-roughness * _log_rate(size)), (size, size), overwrite_x=True)
    return np.asarray(field / max(float(field.std()), 1e-12), np.float32)


def _bytes(values: AnyFloatArray) -> NDArray[np.uint8]:
    return np.asarray((values * 255).clip(0, 255), np.uint8)


def _shades(rng: np.random.Generator, depth: float, roughness: float) -> NDArray[np.uint8]:
    """(PATTERN_SIDE, PATTERN_SIDE) uint8 shading, darker than 255 by about ``depth`` on average."""
    return _bytes(1 - depth * (1 + 0.5 * tiling_noise(rng, roughness)).clip(0, 2))


def sample_cloth_pattern(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A plain, striped, checked, dotted, blotched or printed cloth with weave and wrinkles.

    Returns:
        (PATTERN_SIDE, PATTERN_SIDE, 3) uint8.
    """
    line = np.arange(PATTERN_SIDE) / PATTERN_SIDE * 2 * np.pi
    across, down = (
        np.broadcast_to(line[None], (PATTERN_SIDE, PATTERN_SIDE)),
        np.broadcast_to(line[:, None], (PATTERN_SIDE, PATTERN_SIDE)),
    )
    mask: AnyArray = np.zeros((PATTERN_SIDE, PATTERN_SIDE))
    bands, edge = int(rng.integers(1, 7)), rng.uniform(-0.6, 0.6)
    match rng.choice(
        ["plain", "stripes", "checks", "dots", "blotches", "print"], p=[0.4, 0.15, 0.12, 0.08, 0.12, 0.13]
    ):
        case "stripes":
            mask = np.sin(bands * (down if rng.random() < 0.6 else across)) > edge
        case "checks":
            mask = 0.5 * (np.sin(bands * down) > edge) + 0.5 * (np.sin(bands * across) > edge)
        case "dots":
            mask = np.sin(bands * down) * np.sin(bands * across) > 0.4
        case "blotches":
            mask = tiling_noise(rng, rng.uniform(1.2, 2.0)) > edge
        case "print":
            mask = (tiling_noise(rng, 1.6) > 0.8) * (0.5 + 0.5 * tiling_noise(rng, 1.0) > 0.3)
    other = rng.uniform(0.1, 1.0, 3)
    image = 1 - np.asarray(mask, np.float64)[..., None] * (1 - other)
    wrinkle = 1 - rng.uniform(0.02, 0.16) * (1 + tiling_noise(rng, 1.7)).clip(0, 3)
    weave = 1 + rng.uniform(0.005, 0.05) * tiling_noise(rng, 0.3)
    return _bytes(image * (wrinkle * weave)[..., None])
