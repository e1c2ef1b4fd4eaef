"""The mesh of a wire frame: still closed and in its place, but nowhere on the trunk denser than around it."""

from __future__ import annotations

import numpy as np
import pytest

from body.model import BodyArrays, load_body
from body.suit.even_mesh import even_trunk
from body.suit.smooth_forms import smooth_forms
from common.arrays import AnyIntArray, FloatArray


def _drawn(body: BodyArrays) -> FloatArray:
    forms = smooth_forms(body)
    drawn = body.v_template.copy()
    drawn[forms.rows] += forms.mean
    return drawn


def _volume(vertices: FloatArray, faces: AnyIntArray) -> float:
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


@pytest.mark.parametrize("name", ["body_6890", "body_1722"])
def test_the_surface_stays_closed_and_in_place(name: str) -> None:
    body = load_body(name)
    drawn = _drawn(body)
    faces = even_trunk(body, drawn)
    assert 0.9 * len(body.faces) < len(faces) < len(body.faces)
    assert faces.max() + 1 == len(drawn)
    ways = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there, back = np.unique(ways, axis=0), np.unique(ways[:, ::-1], axis=0)
    assert len(there) == len(ways)  # each edge once in each direction: closed, and no face turned over
    np.testing.assert_array_equal(there, back)
    assert _volume(drawn, faces) == pytest.approx(_volume(drawn, body.faces), rel=0.005)


def test_the_lines_show_no_small_forms_of_the_chest() -> None:
    body = load_body("body_6890")
    drawn = _drawn(body)

    def shortest_on_the_chest(faces: AnyIntArray) -> float:
        chest = (np.abs(drawn[:, 0]) < 0.13) & (drawn[:, 2] > 0) & (body.weights[:, [6, 9]].sum(1) > 0.7)
        ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        ends = ends[chest[ends].all(1)]
        assert len(ends) > 100
        return float(np.linalg.norm(drawn[ends[:, 0]] - drawn[ends[:, 1]], axis=1).min())

    assert shortest_on_the_chest(body.faces) < 0.006  # metres
    assert shortest_on_the_chest(even_trunk(body, drawn)) > 0.011
