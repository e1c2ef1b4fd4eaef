"""Seams in the mesh: cut where they are told to be, with nothing torn, turned round or moved."""

from __future__ import annotations

import numpy as np
import pytest

from body.model import BodyArrays, load_body
from body.suit.parts import SuitPart
from body.suit.seams import Seams, cut_seams
from common.arrays import AnyIntArray, FloatArray
from realtime.draw.mannequin import Mannequin, mannequin_for
from tests.realtime.shapes import sphere


@pytest.fixture(params=["body_6890", "body_1722"])
def body(request: pytest.FixtureRequest) -> BodyArrays:
    return load_body(request.param)


def seams_of(mannequin: Mannequin) -> Seams:
    assert mannequin.seams is not None
    return mannequin.seams


def area_and_volume(vertices: FloatArray, faces: AnyIntArray) -> tuple[float, float]:
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2), float((a * np.cross(b, c)).sum() / 6)


def test_the_surface_stays_closed_and_where_it_was(body: BodyArrays) -> None:
    seams = seams_of(mannequin_for(body))
    faces, whole = seams.faces.astype(np.int64), seams.extend(body.v_template)
    np.testing.assert_array_equal(whole[: body.vertex_count], body.v_template)
    np.testing.assert_allclose(area_and_volume(whole, faces), area_and_volume(body.v_template, body.faces), rtol=1e-5)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = ends[:, 0] * len(whole) + ends[:, 1]
    assert len(np.unique(keys)) == len(keys), "no two triangles lie on the same side of an edge"
    np.testing.assert_array_equal(np.sort(keys), np.sort(ends[:, 1] * len(whole) + ends[:, 0]))


def test_colours_meet_in_narrow_lines(body: BodyArrays) -> None:
    mannequin = mannequin_for(body)
    shares, seams = mannequin.shares, seams_of(mannequin)
    assert shares is not None
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    whole = seams.extend(body.v_template)
    mixed = shares[seams.faces].min(1).max(1) < 0.999
    area = area_and_volume(whole, seams.faces)[0]
    assert area_and_volume(whole, seams.faces[mixed])[0] < 0.01 * area
    worn = [area_and_volume(whole, seams.faces[shares[seams.faces, part].min(1) > 0.5])[0] / area for part in SuitPart]
    assert min(worn) > 0.04
    assert sum(worn) > 0.98


def test_triangles_end_at_both_edges_of_a_seam() -> None:
    vertices, faces = sphere((0, 0, 0), 1.0, rings=12)
    height, slant = vertices[:, 1].astype(np.float64), (vertices @ [0.6, 0.0, 0.8]).astype(np.float64) - 0.3
    width = 0.02
    seams = cut_seams(faces, [height, slant], width)
    for distance in (height, slant):
        low, high = (
            ends(seams.extend(distance[:, None].astype(np.float32))[seams.faces, 0], 1) for ends in (np.min, np.max)
        )
        slack = 0.02 * np.linalg.norm(vertices[faces[:, 0]] - vertices[faces[:, 1]], axis=1).max()
        for level in (-width / 2, width / 2):
            assert not ((low < level - slack) & (high > level + slack)).any()
    np.testing.assert_allclose(seams.weights.sum(1), 1, atol=1e-5)
    assert seams.weights.min() >= 0


def test_without_a_crossing_nothing_is_cut() -> None:
    vertices, faces = sphere((0, 0, 0), 1.0, rings=6)
    seams = cut_seams(faces, [vertices[:, 1].astype(np.float64) + 9], 0.01)
    np.testing.assert_array_equal(seams.faces, faces)
    assert seams.extend(vertices).shape == vertices.shape
