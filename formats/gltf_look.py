"""How people look in a glTF file: the surface and its colours, as windows draw them.

The colours of a suit are a small texture, one block a part, rather than colours of vertices: every importer shows a texture,
while Blender leaves colours of vertices out of the material.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from body.model import BodyArrays
from body.suit.parts import SuitPart, clay_colour, part_colours
from body.suit.surface import SuitSurface, suit_surface
from common.arrays import FloatArray, Int32Array
from formats.endings import MeshLook

_BLOCK: Final = 8
"""Pixels of a part's block each way: parts stay apart in textures that a program has compressed or made smaller."""
_NEAREST, _CLAMP = 9728, 33071
_ROUGHNESS: Final = 0.9  # matte


@dataclass(frozen=True, slots=True, eq=False)
class MeshSurface:
    """What all people of one body model have in common."""

    faces: Int32Array
    """(F, 3) counter-clockwise seen from outside."""
    weights: FloatArray
    """(V, 24) skinning weights."""
    texture_coordinates: FloatArray | None
    """(V, 2) float32, texture coordinates in `palette_png`; None: one colour a person."""
    suit: SuitSurface | None = None
    """Suit that it comes from; None: the body's own surface."""

    def at_rest(self, body: BodyArrays, betas: FloatArray) -> FloatArray:
        """(V, 3) float32 metres: the surface of ``body`` of ``betas`` (10,) in the rest pose."""
        if self.suit is None:
            return np.asarray(body.v_template + body.shapedirs @ betas, np.float32)
        return self.suit.at_rest(body, betas)


def surface_of(body: BodyArrays, look: MeshLook) -> MeshSurface:
    """The surface of ``body`` that ``look`` shows."""
    if look == "clay":
        return MeshSurface(body.faces, body.weights, None)
    suit = suit_surface(body)
    # Parts that meet are neighbours in the texture, so a coordinate between two of them is on their border.
    along = suit.shares @ ((np.arange(len(SuitPart)) + 0.5) / len(SuitPart))
    where = np.stack([along, np.full_like(along, 0.5)], 1).astype(np.float32)
    return MeshSurface(suit.seams.faces, suit.seams.extend(body.weights), where, suit)


def material_of(person: int, texture: int | None) -> dict[str, Any]:
    """A glTF material: of texture number ``texture``, or the clay colour of ``person``."""
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": _ROUGHNESS}
    if texture is None:
        surface["baseColorFactor"] = [*linear_rgb(clay_colour(person)).tolist(), 1.0]
    else:
        surface["baseColorTexture"] = {"index": texture}
    return {"name": f"person {person}", "pbrMetallicRoughness": surface}


def texture_sampler() -> dict[str, int]:
    """A glTF sampler for `palette_png`: sharp borders, as seams have."""
    return {"magFilter": _NEAREST, "minFilter": _NEAREST, "wrapS": _CLAMP, "wrapT": _CLAMP}


def palette_png(person: int) -> bytes:
    """The colours of a person's suit as an image in PNG format, sRGB: a block for each `SuitPart`, from left to right."""
    row = part_colours(person)[:, ::-1].repeat(_BLOCK, 0)
    return png_bytes(np.broadcast_to(row, (_BLOCK, *row.shape)))


def linear_rgb(bgr: FloatArray) -> FloatArray:
    """Linear red, green, blue 0..1, which glTF wants of factors, of an sRGB colour (3,) BGR 0..255."""
    part = np.asarray(bgr, np.float64)[::-1] / 255
    return np.asarray(np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4), np.float32)


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """``image`` (H, W, 3) RGB in PNG format."""
    height, width = image.shape[:2]
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = image.reshape(height, -1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
