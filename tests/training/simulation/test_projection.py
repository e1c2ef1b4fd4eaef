"""Tensors are projected as arrays are, and gradients stay finite behind the camera."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from common.camera import NEAREST_M, Camera  # noqa: E402
from training.simulation.projection import project_pixels, project_rays  # noqa: E402


def test_projections_agree_with_the_camera() -> None:
    points = np.random.default_rng(0).uniform([-1, -1, -0.2], [1, 1, 4], (3, 40, 3))
    camera = Camera(500.0, 520.0, 320.0, 240.0)
    focal, centre = torch.tensor([[500.0, 520.0]]).double(), torch.tensor([[320.0, 240.0]]).double()
    found = project_pixels(torch.from_numpy(points), focal, centre)
    np.testing.assert_allclose(found.numpy(), camera.project_clamped(points), rtol=1e-12)


def test_gradients_are_finite_and_bounded_by_the_least_depth() -> None:
    points = torch.tensor([[0.3, -0.2, 0.0], [0.3, -0.2, -2.0], [0.3, -0.2, 1.5]], requires_grad=True)
    project_rays(points).sum().backward()
    assert points.grad is not None
    np.testing.assert_allclose(points.grad[:2, :2], 1 / NEAREST_M)
    assert (points.grad[:2, 2] == 0).all()
    np.testing.assert_allclose(points.grad[2], [1 / 1.5, 1 / 1.5, -0.1 / 1.5**2], rtol=1e-5)
    near = project_rays(points.detach()[:1], 0.2)
    np.testing.assert_allclose(near, [[1.5, -1.0]], rtol=1e-6)
