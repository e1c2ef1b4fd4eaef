"""The fit finds the numbers that made the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from training.noise_measurement.fit_flow import SPEEDS, CellPairs, blur_cells, fit_flow_noise, interpolation_weights


def made_up(gain: float, blur: float, error: float, reach: float, windows: int = 24, frames: int = 3) -> CellPairs:
    """Bodies that move before still backgrounds, seen with known faults. Errors keep half of their variance."""
    rng = np.random.default_rng(3)
    exact = np.zeros((windows * frames, 32, 32, 2), np.float32)
    body = np.zeros(exact.shape[:3], bool)
    estimated = np.zeros_like(exact)
    for window in range(windows):
        speed = rng.normal(0, 0.05, 2)
        left, top = rng.integers(2, 16, 2)
        kept = None
        for frame in range(window * frames, (window + 1) * frames):
            body[frame, top : top + 12, left : left + 8] = True
            exact[frame][body[frame]] = speed * rng.uniform(0.9, 1.1)
            fresh = gaussian_filter(rng.normal(size=(32, 32, 2)), (reach, reach, 0), mode="wrap")
            fresh /= fresh.std()
            kept = fresh if kept is None else np.sqrt(0.5) * kept + np.sqrt(0.5) * fresh
            estimated[frame] = gain * blur_cells(exact[frame : frame + 1], blur)[0] + error * kept
    return CellPairs(exact, estimated, body, np.ones_like(body), np.arange(windows).repeat(frames))


@pytest.mark.parametrize(("gain", "blur", "error"), [(0.7, 1.0, 0.004), (0.95, 0.0, 0.002)])
def test_gain_blur_and_error_are_found(gain: float, blur: float, error: float) -> None:
    row = fit_flow_noise(made_up(gain, blur, error, reach=1.5))
    np.testing.assert_allclose(row["gain"][4:6], gain, atol=0.05)
    assert abs(row["blur"] - blur) <= 0.25
    np.testing.assert_allclose(row["error"][:5], error, rtol=0.25)
    # Noise blurred over s is alike as exp(-d² / 4 s²): down to 1 / e at 2 s.
    assert 2.3 < row["correlation"] < 3.7
    assert abs(row["persistence"] - np.sqrt(0.5)) < 0.12
    assert row["gain_spread"] < 0.1
    assert row["lost"] == 0


def test_hats_interpolate() -> None:
    speed = np.random.default_rng(0).uniform(0, 0.4, 200).astype(np.float32)
    weights = interpolation_weights(speed)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(weights @ np.array(SPEEDS), speed.clip(max=SPEEDS[-1]), atol=1e-6)


def test_pairs_without_motion_are_refused() -> None:
    still = np.zeros((2, 32, 32, 2), np.float32)
    with pytest.raises(ValueError, match="more windows"):
        fit_flow_noise(CellPairs(still, still, np.ones((2, 32, 32), bool), np.ones((2, 32, 32), bool), np.arange(2)))
