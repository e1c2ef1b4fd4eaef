"""Errors against closed forms and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")
from training.metrics import acceleration_error, pa_distances, pelvis_aligned, similarity_align  # noqa: E402


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
