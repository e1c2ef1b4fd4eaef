"""How a body is drawn: as a matte mannequin in a suit that can be shown in public, as plain clay, or as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from body.model import BodyArrays
from body.suit.even_mesh import even_trunk
from body.suit.parts import clay_colour, part_colours
from body.suit.seams import Seams
from body.suit.smooth_forms import SmoothForms, smooth_forms
from body.suit.surface import suit_surface
from common.arrays import AnyIntArray, FloatArray
from realtime.options import Look
from realtime.records import BodyEstimate


@dataclass(frozen=True, slots=True, eq=False)
class Mannequin:
    """How bodies of one topology are drawn. Small enough to be sent to another process, and safe in all threads."""

    faces: AnyIntArray
    """(F, 3) vertex indices, counter-clockwise seen from outside."""
    shares: FloatArray | None = None
    """(V', 4) shares of the suit's colours, see `SuitSurface`; None: one colour a person."""
    forms: SmoothForms | None = None
    """None: drawn as estimated."""
    edges: NDArray[np.uint8] | None = None
    """(F, 3) edges to draw as lines, as in ``kernels.fill``; None: a surface is drawn."""
    seams: Seams | None = None
    """Vertices that the drawn surface has beyond the body's own; None: none."""
    _colours: dict[int, FloatArray] = field(default_factory=dict)
    """What `colours` has computed, by person."""

    def colours(self, person: int) -> FloatArray:
        """(V', 3) or (3,) float32 BGR 0..255: the colours of a person's surface, computed once a person."""
        known = self._colours.get(person)
        if known is None:
            suit = self.shares
            known = clay_colour(person) if suit is None else suit @ part_colours(person).astype(np.float32)
            self._colours[person] = known
        return known

    def dress(self, people: Sequence[BodyEstimate]) -> list[BodyEstimate]:
        """``people`` with the vertices that are drawn: where seams are cut, (V', 3), more than the body has."""
        if self.forms is None:
            return list(people)
        drawn = [
            self.forms(body.vertices, np.concatenate([body.global_orient[None], body.body_pose]), body.betas)
            for body in people
        ]
        if self.seams is not None:
            drawn = [self.seams.extend(vertices) for vertices in drawn]
        return [replace(body, vertices=vertices) for body, vertices in zip(people, drawn, strict=True)]


def mannequin_for(body: BodyArrays, look: Look = "suit") -> Mannequin:
    """How ``body`` is drawn: in a suit and with smooth forms; in ``clay``, one matte colour a person and the surface just as
    estimated; or, as ``wire``, as the lines of a mesh with the suit's forms, which is as coarse on the chest as around it."""
    if look == "clay":
        return Mannequin(body.faces)
    if look == "wire":
        forms = smooth_forms(body)
        drawn = body.v_template.copy()
        drawn[forms.rows] += forms.mean
        faces = even_trunk(body, drawn)
        return Mannequin(faces, forms=forms, edges=quad_edges(body.v_template, faces))
    suit = suit_surface(body)
    return Mannequin(suit.seams.faces, suit.shares, suit.forms, seams=suit.seams)


def quad_edges(vertices: FloatArray, faces: AnyIntArray) -> NDArray[np.uint8]:
    """(F, 3) uint8 for a mesh of ``vertices`` (V, 3) and ``faces`` (F, 3): 1 for a corner whose opposite edge is drawn in a
    wire frame, 0 where that edge is a quad's diagonal.

    Bodies are modelled in quads and stored in triangles: an edge that is the longest of both triangles beside it is taken for
    the diagonal.
    """
    corners = vertices[faces].astype(np.float64)
    lengths = np.stack([np.linalg.norm(corners[:, (k + 1) % 3] - corners[:, (k + 2) % 3], axis=1) for k in range(3)], 1)
    longest = lengths.argmax(1)
    ends = np.stack([np.sort(np.delete(face, k)) for face, k in zip(faces, longest, strict=True)])
    _, inverse, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    shared = counts[inverse.ravel()] > 1
    edges = np.ones(faces.shape, np.uint8)
    edges[np.flatnonzero(shared), longest[shared]] = 0
    return edges
