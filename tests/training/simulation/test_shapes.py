"""Shapes of synthetic people: the same law wherever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.stats import norm  # noqa: E402

from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from training.motion.bank import NONE, MotionBank  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.simulation.batches import BatchMaker  # noqa: E402
from training.simulation.detector_noise import NoiseSampler, load_noise  # noqa: E402
from training.simulation.shapes import LIMIT, draw_betas  # noqa: E402
from training.synth.scene import SceneSampler  # noqa: E402


def test_shapes_follow_their_law() -> None:
    betas = draw_betas(40_000, torch.Generator().manual_seed(1)).numpy()
    assert betas.shape == (40_000, 10)
    assert np.abs(betas).max() == LIMIT
    wanted = [(0.0, 1.0), (0.0, 1.0), (-0.8, 0.7), (0.0, 1.0), (0.0, 1.0), *[(0.0, 0.7)] * 5]
    for column, (mean, deviation) in zip(betas.T, wanted, strict=True):
        quarters = np.quantile(column, [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quarters, norm(mean, deviation).ppf([0.25, 0.5, 0.75]), atol=0.03)


def test_the_same_seed_gives_the_same_people() -> None:
    one, two, other = (draw_betas(5, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_batches_and_scenes_show_the_same_kind_of_people(clips: list[Clip]) -> None:
    """Between the sexes, the third beta: -0.8 in the mean, where a neutral draw would have 0."""
    arrays = load_body("body_1722")
    body = TorchBody(arrays)
    batch = BatchMaker(MotionBank(clips, seed=1), body, NoiseSampler(load_noise(), 2), NONE).draw(256, 1)
    scenes = SceneSampler(MotionBank(clips, seed=2), arrays, body, 7, NONE).sample(40, 1, textured=False)
    for third in (batch.betas[:, 2].numpy(), np.array([scene.betas[2] for scene in scenes])):
        assert abs(third.mean() + 0.8) < 4 * 0.7 / np.sqrt(len(third))
        assert third.mean() < -0.3
