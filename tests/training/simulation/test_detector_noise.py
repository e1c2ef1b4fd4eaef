"""Drawn detections are like the measured ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from training.simulation.detector_noise import BINS, GROUP_OF, GROUPS, DetectorNoise, NoiseSampler, load_noise  # noqa: E402

SIDE = 400.0
KNEES = [i for i, group in enumerate(GROUP_OF) if GROUPS[group] == "knee"]


def one_detector(**real: object) -> list[DetectorNoise]:
    """The first detector, never taking left for right."""
    first = load_noise()[0]
    return [replace(first, swap_rate=(0.0, 0.0), real=replace(first.real, **real))]


def detect(sampler: NoiseSampler, windows: int, length: int, fps: float = 30.0) -> tuple[Tensor, Tensor]:
    """Errors (B, T, 17, 2) over the person's size and confidences (B, T, 17) of somebody who stands still in full view."""
    places = torch.rand(17, 2, generator=torch.Generator().manual_seed(1)) * SIDE + 100
    places[0], places[1] = 100.0, 100.0 + SIDE
    points = places.expand(windows, length, 17, 2)
    state = torch.zeros(windows, length, 17, dtype=torch.long)
    size = torch.full((windows, 2), 1000.0)
    detected, confidence = sampler(points, state, size, torch.full((windows, length), 1 / fps))
    return (detected - points) / SIDE, confidence


def test_rendered_people_have_the_tables_quantiles() -> None:
    tables = one_detector()
    error, confidence = detect(NoiseSampler(tables, 0, rendered=1.0), 3000, 2)
    table = tables[0]
    knee = GROUPS.index("knee")
    for place in (0.25, 0.5, 0.75):
        measured = table.confidence[knee, 0, round(place * (table.confidence.shape[-1] - 1))]
        assert float(confidence[..., KNEES].quantile(place)) == pytest.approx(measured, abs=0.03)
    length = error.norm(dim=-1)[..., KNEES]
    middle = torch.from_numpy(table.error[knee, 0, :, 16])
    assert middle.min() < length.median() < middle.max()
    sure = confidence[..., KNEES] > 0.6
    assert length[sure].median() < length[confidence[..., KNEES] < 0.3].median()


def test_people_are_as_easy_as_was_measured() -> None:
    """Everybody at one difficulty: the confidences are the better part of the table."""
    tables = one_detector(difficulty=(0.3, 0.3))
    _, confidence = detect(NoiseSampler(tables, 0), 2000, 2)
    quantiles = tables[0].confidence[GROUPS.index("knee"), 0]
    ranks = np.linspace(0, 1, len(quantiles))
    assert float(confidence[..., KNEES].min()) >= np.interp(0.7, ranks, quantiles) - 1e-6
    assert float(confidence[..., KNEES].median()) == pytest.approx(np.interp(0.85, ranks, quantiles), abs=0.02)


def test_sure_errors_are_those_of_the_table_up_to_the_measured_share() -> None:
    tables = one_detector(difficulty=(0.2, 0.2), error=0.5)
    error, confidence = detect(NoiseSampler(tables, 0), 3000, 2)
    table = tables[0].error[GROUPS.index("knee"), 0]
    assert (confidence[..., KNEES] > BINS[4]).all()
    most = float(table[4:, 16].max())  # half of the quantiles
    length = error.norm(dim=-1)[..., KNEES]
    assert float(length.max()) <= most + 1e-5
    low, high = table[4:, 8].min(), table[4:, 8].max()
    assert low * 0.9 < float(length.median()) < high * 1.1


@pytest.mark.parametrize("fps", [10.0, 30.0, 60.0])
def test_errors_go_over_smoothly_from_frame_to_frame(fps: float) -> None:
    """Where nothing is new in every frame, second differences are small, and the spread is the same at all frame rates."""
    error, _ = detect(NoiseSampler(one_detector(jitter=0.0, difficulty=(0.3, 0.3)), 0), 400, 40, fps)
    spread = error.square().mean((0, 1)).sqrt()
    torch.testing.assert_close(error[:, 0].square().mean(0).sqrt(), spread, rtol=0.25, atol=0.0)
    torch.testing.assert_close(error[:, -1].square().mean(0).sqrt(), spread, rtol=0.25, atol=0.0)
    if fps >= 30:
        length = error.norm(dim=-1).median()
        bend = (error[:, 2:] - 2 * error[:, 1:-1] + error[:, :-2]).norm(dim=-1).median() / 6**0.5
        shaky, _ = detect(NoiseSampler(one_detector(jitter=0.3, difficulty=(0.3, 0.3)), 0), 400, 40, fps)
        jerk = (shaky[:, 2:] - 2 * shaky[:, 1:-1] + shaky[:, :-2]).norm(dim=-1).median() / 6**0.5
        assert bend < 0.12 * length
        assert jerk > 1.5 * bend


def test_errors_forget_over_the_measured_time() -> None:
    tables = one_detector(jitter=0.0, difficulty=(0.3, 0.3), error=0.6)
    error, _ = detect(NoiseSampler(tables, 0, by_pose=0.0), 800, 40)
    seconds = tables[0].slow_s

    def correlation(lag: int) -> float:
        return float((error[:, lag:] * error[:, :-lag]).mean() / error.square().mean())

    assert correlation(1) > 0.95
    assert correlation(round(seconds * 30)) == pytest.approx(np.exp(-2) * 3, abs=0.12)  # (1 + 2) e^-2, both filters
    assert abs(correlation(39)) < 0.1


def test_errors_by_pose_stay_with_somebody_who_stays_and_come_back_with_the_pose() -> None:
    sampler = NoiseSampler(one_detector(jitter=0.0, difficulty=(0.3, 0.3)), 0)
    chance = torch.Generator().manual_seed(4)
    pose, other = (torch.rand(200, 1, 17, 2, generator=chance) * 300 for _ in range(2))
    points = torch.cat([pose, pose + 50, other, pose], 1)  # the second has only walked aside
    errors = sampler._posed(points, torch.zeros(200, 4, 17, dtype=torch.long))
    torch.testing.assert_close(errors[:, 1], errors[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(errors[:, 3], errors[:, 0])
    assert float(errors.std()) == pytest.approx(1, abs=0.1)
    alike = (errors[:, 2] * errors[:, 0]).mean() / errors.square().mean()
    assert float(alike) < 0.6


def test_the_same_seed_draws_the_same() -> None:
    first, second = (detect(NoiseSampler(load_noise(), 5, rendered=0.3), 8, 6) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert all(torch.isfinite(part).all() for part in first)


def test_without_tables_there_is_nothing_to_draw_from() -> None:
    with pytest.raises(ValueError, match="noise_measurement"):
        NoiseSampler([], 0)
