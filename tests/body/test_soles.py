from __future__ import annotations

import numpy as np
import pytest

from body.model import load_body
from body.soles import CONTACT_JOINTS, CONTACTS, Soles
from training.simulation.batches import sole_points


@pytest.mark.parametrize("name", ["body_1722", "body_6890"])
def test_heels_lie_behind_toes_on_the_ground_and_left_is_left(name: str) -> None:
    arrays = load_body(name)
    points = Soles(arrays)(arrays.v_template)
    assert len(CONTACTS) == len(points) == 4
    np.testing.assert_allclose(points[:, 1], arrays.v_template[:, 1].min(), atol=0.012)
    assert (points[[1, 3], 2] - points[[0, 2], 2] > 0.12).all()
    assert (points[:2, 0] > 0.05).all()
    np.testing.assert_allclose(points[:2], points[2:] * (-1, 1, 1), atol=0.005)


def test_they_are_the_points_that_training_calls_contacts() -> None:
    arrays = load_body()
    carriers, places = sole_points()
    joints = arrays.joint_regressor @ arrays.v_template
    assert carriers == CONTACT_JOINTS
    np.testing.assert_allclose(Soles(arrays)(arrays.v_template), joints[list(carriers)] + places.numpy(), atol=1e-4)
