from __future__ import annotations

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.mass import MASS_SHARES
from body.model import load_body

BODY = NumpyBody(load_body())


@pytest.mark.parametrize("lift", [0.0, 1.2])
@pytest.mark.parametrize("lunge", [0.0, 0.9])
def test_the_centre_of_mass_is_near_that_of_a_solid_of_the_bodys_form(lift: float, lunge: float) -> None:
    """The volume's centroid, by the divergence theorem, of a body whose density is the same everywhere."""
    pose = np.zeros((23, 3), np.float32)
    pose[[15, 16], 2] = -1.2 + lift, 1.2 - lift
    pose[0, 0] = -lunge  # the left thigh goes forward
    vertices, joints = BODY.pose(np.zeros(3), pose, np.zeros(3))
    corners = vertices[BODY.arrays.faces].astype(np.float64)
    volumes = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    centroid = volumes @ corners.sum(1) / 4 / volumes.sum()
    assert MASS_SHARES.sum() == pytest.approx(1)
    np.testing.assert_allclose(MASS_SHARES @ joints, centroid, atol=0.045)
