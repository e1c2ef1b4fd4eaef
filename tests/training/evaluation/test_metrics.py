"""Errors against closed forms and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")
from training.evaluation.metrics import (  # noqa: E402
    acceleration_error,
    pa_distances,
    pelvis_aligned,
    per_frame_squared,
    similarity_align,
)


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5.0), st.integers(4, 24))
@settings(max_examples=40, deadline=None)
def test_a_similarity_costs_nothing(seed: int, scale: float, joints: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(3, joints, 3))
    turn = Rotation.random(3, random_state=rng).as_matrix()
    moved = scale * np.einsum("nij,nkj->nki", turn, truth) + rng.normal(size=(3, 1, 3))
    left = pa_distances(torch.from_numpy(moved), torch.from_numpy(truth))
    assert left.max() < 1e-5


@pytest.mark.parametrize("shape", [(2, 14, 3), (3, 14, 3), (14, 3), (2, 5, 3, 3)])
def test_each_frame_is_aligned_by_itself_whatever_the_batch(shape: tuple[int, ...]) -> None:
    """Two or three frames must not be taken for the coordinate axis."""
    rng = np.random.default_rng(0)
    a, b = torch.from_numpy(rng.normal(size=shape)), torch.from_numpy(rng.normal(size=shape))
    together = similarity_align(a, b).reshape(-1, *shape[-2:])
    alone = [
        similarity_align(x, y) for x, y in zip(a.reshape(-1, *shape[-2:]), b.reshape(-1, *shape[-2:]), strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone))


def test_alignment_equals_scipys_rotation_and_never_mirrors() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(14, 3))
    noisy = truth * [1, 1, -1] + rng.normal(0, 0.05, truth.shape)  # a mirrored person
    a, b = noisy - noisy.mean(0), truth - truth.mean(0)
    rotation, _ = Rotation.align_vectors(b, a)
    turned = rotation.apply(a)
    scale = (turned * b).sum() / (a * a).sum()
    mine = similarity_align(torch.from_numpy(noisy), torch.from_numpy(truth))
    np.testing.assert_allclose(mine.numpy() - truth.mean(0), scale * turned, atol=1e-6)
    assert pa_distances(torch.from_numpy(noisy), torch.from_numpy(truth)).mean() > 0.1


def test_pelvis_alignment_takes_only_translation_away() -> None:
    truth = torch.randn(5, 14, 3)
    moved = truth + torch.tensor([1.0, -2.0, 3.0])
    distance = pelvis_aligned(moved, truth, moved[:, 0], truth[:, 0])
    assert distance.max() < 1e-5
    assert pelvis_aligned(1.1 * truth, truth, 1.1 * truth[:, 0], truth[:, 0]).mean() > 0.01


def test_acceleration_is_in_metres_per_second_squared() -> None:
    fps, gravity = 25.0, 9.81
    time = torch.arange(20) / fps
    truth = torch.zeros(20, 1, 3)
    falling = truth.clone()
    falling[:, 0, 1] = 0.5 * gravity * time**2
    error = acceleration_error(falling, truth, fps)
    torch.testing.assert_close(error, torch.full((18, 1), gravity), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="one shape"):
        similarity_align(torch.zeros(2, 3), torch.zeros(3, 3))


@pytest.mark.parametrize("points", [1, 2, 3])
def test_few_points_are_aligned_as_well_as_they_can_be(points: int) -> None:
    """A pair has only its distance and a triangle only its shape: two pairs, or two like triangles, always coincide."""
    rng = np.random.default_rng(points)
    truth = rng.normal(size=(5, points, 3))
    moved = (
        0.3 * truth @ Rotation.random(random_state=3).as_matrix() + 2 if points == 3 else rng.normal(size=truth.shape)
    )
    assert pa_distances(torch.from_numpy(moved), torch.from_numpy(truth)).max() < 1e-6


def test_a_triangle_is_aligned_no_worse_than_by_search() -> None:
    """The closed form against a descent from many starts, for three points of another shape."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))

    def cost(x: np.ndarray) -> float:
        return float(((np.exp(x[6]) * Rotation.from_rotvec(x[:3]).apply(a) + x[3:6] - b) ** 2).sum())

    best = min(minimize(cost, rng.normal(size=7)).fun for _ in range(6))
    mine = float((pa_distances(torch.from_numpy(a), torch.from_numpy(b)) ** 2).sum())
    assert mine == pytest.approx(best, rel=1e-4)


def test_weights_of_zero_are_as_good_as_absent() -> None:
    rng = np.random.default_rng(5)
    a, b = torch.from_numpy(rng.normal(size=(2, 8, 3))), torch.from_numpy(rng.normal(size=(2, 8, 3)))
    keep = torch.tensor([True] * 5 + [False] * 3)
    a[:, 5:] *= 100
    weighted = pa_distances(a, b, keep.expand(2, 8))[:, :5]
    torch.testing.assert_close(weighted, pa_distances(a[:, :5], b[:, :5]))
    torch.testing.assert_close(pa_distances(a, b, torch.full((2, 8), 0.3)), pa_distances(a, b))


def test_units_of_acceleration() -> None:
    assert per_frame_squared(9.0, 30.0) == pytest.approx(10.0)
    assert per_frame_squared(36.0, 6.0) == pytest.approx(1000.0)
