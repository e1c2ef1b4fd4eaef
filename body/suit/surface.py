"""The surface of a body in its suit: smoothed, and cut along the seams. What windows draw and glTF files hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from body.model import BodyArrays
from body.suit.parts import suit_seams
from body.suit.seams import Seams
from body.suit.smooth_forms import SmoothForms, smooth_forms
from common.arrays import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class SuitSurface:
    """How the surface in the suit comes from the body's own."""

    forms: SmoothForms
    """Moves the body's vertices."""
    seams: Seams
    """Adds vertices to them, and has the triangles."""
    shares: FloatArray
    """(V + E, 4) float32 0..1 as of `body.suit.parts.suit_shares`: what each vertex is."""

    def at_rest(self, body: BodyArrays, betas: FloatArray) -> FloatArray:
        """(V + E, 3) float32 metres: the surface of ``body`` of ``betas`` (10,) in the rest pose. Its skinning weights are
        ``seams.extend`` of the body's."""
        own = np.asarray(body.v_template + body.shapedirs @ betas, np.float32)
        own[self.forms.rows] += self.forms.offsets(betas)
        return self.seams.extend(own)


def suit_surface(body: BodyArrays) -> SuitSurface:
    """The suit of ``body``; takes a tenth of a second."""
    forms = smooth_forms(body)
    drawn = body.v_template.copy()
    drawn[forms.rows] += forms.mean
    return SuitSurface(forms, *suit_seams(body, drawn))
