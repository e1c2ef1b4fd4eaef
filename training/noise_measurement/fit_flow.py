"""Fitting `training.simulation.flow_noise` to pairs of exact and estimated flow on the 32 x 32 cells of a crop.

The model: an estimator recovers a share of the motion, which falls with speed; blurs it across the silhouette; and adds
errors that grow with speed, are correlated over some cells and frames, and differ in size between windows. Lengths are
fractions of the crop's side, or cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.ndimage import gaussian_filter

from common.arrays import BoolArray, DoubleArray, FloatArray, Int64Array

SPEEDS: Final = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Speeds of the tables, crop sides per frame; linear interpolation between them."""
BLURS: Final = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5)
"""Blurs that are tried, standard deviation in cells."""
LAGS: Final = (1, 2, 3, 4, 6, 8)
"""Distances at which the errors' correlation is measured, cells."""
CLEAR: Final = 0.01
"""Speed above which motion stands out from the noise, crop sides per frame."""
_ROUNDS: Final = 6
_FEWEST: Final = 60.0  # effective number of cells below which a speed takes the values of the next slower one


@dataclass(frozen=True, slots=True)
class CellPairs:
    """N pairs of exact and estimated flow fields."""

    exact: FloatArray
    """(N, 32, 32, 2) float32, exact flow, crop sides."""
    estimated: FloatArray
    """(N, 32, 32, 2) float32, estimated flow, crop sides."""
    body: BoolArray
    """(N, 32, 32) bool, the cell's centre lies on the person in the first frame."""
    inside: BoolArray
    """(N, 32, 32) bool, the cell's centre lies inside the image."""
    window: Int64Array
    """(N,) int64, number of the window that a pair belongs to, ascending."""


def blur_cells(field: FloatArray, cells: float) -> FloatArray:
    """``field`` (N, S, S, 2) blurred with a standard deviation of ``cells`` cells."""
    return field if cells == 0 else np.asarray(gaussian_filter(field, (0, cells, cells, 0), mode="nearest"), np.float32)


def interpolation_weights(speed: FloatArray) -> FloatArray:
    """Weights (..., len(SPEEDS)) of linear interpolation between `SPEEDS` at ``speed`` (...)."""
    out = np.stack(
        [np.interp(speed, SPEEDS, np.eye(len(SPEEDS))[k]).astype(np.float32) for k in range(len(SPEEDS))], -1
    )
    return np.asarray(out, np.float32)


def fit_flow_noise(pairs: CellPairs) -> dict[str, Any]:
    """The row of one estimator in ``flow_noise.json``; see `training.simulation.flow_noise.FlowNoise`.

    Besides its fields: ``window_spread``, standard deviation of the logarithm of a window's errors; ``persistence``,
    correlation of the errors between consecutive frames; ``outside``, standard deviation of the estimate where the crop
    reaches beyond the image.

    Raises:
        ValueError: There is almost no motion in the pairs.
    """
    used = pairs.inside
    shares = interpolation_weights(np.linalg.norm(pairs.exact, axis=-1))
    if float(shares[used][:, 2:].sum()) < _FEWEST:
        raise ValueError("hardly anything moves in these pairs: render more windows")
    fits = {cells: _gains(pairs, shares, cells) for cells in BLURS}
    blur = min(fits, key=lambda cells: fits[cells][1])
    gain = fits[blur][0]
    model = blur_cells(pairs.exact * (shares @ gain)[..., None], blur)
    rest = np.asarray(pairs.estimated - model, np.float32)
    error = _errors(rest, shares, used)
    unit = np.clip(rest / (shares @ error)[..., None], -4, 4)
    spread, difficulty = _between_windows(pairs, unit, model)
    by_lag = {lag: round(_correlation(unit, used, lag), 3) for lag in LAGS}
    return {
        "speeds": list(SPEEDS),
        "gain": [round(float(value), 3) for value in gain],
        "gain_spread": round(difficulty, 3),
        # The table describes the median window; with the spread between windows the mean square is the measured one.
        "error": [round(float(value / np.exp(spread**2)), 5) for value in error],
        "correlation": round(_length(by_lag), 2),
        "blur": blur,
        "lost": round(_lost_backgrounds(pairs), 3),
        "window_spread": round(spread, 3),
        "persistence": round(_persistence(pairs, unit), 3),
        "outside": round(float(pairs.estimated[~used].std()), 4) if (~used).any() else 0.0,
    }


def _gains(pairs: CellPairs, shares: FloatArray, blur: float) -> tuple[FloatArray, float]:
    """The gain at each of `SPEEDS` under ``blur``, by least absolute error, and that error."""
    used = pairs.inside
    columns = np.stack(
        [blur_cells(pairs.exact * shares[..., k, None], blur)[used].ravel() for k in range(1, len(SPEEDS))], -1
    ).astype(np.float64)
    columns[:, 0] += blur_cells(pairs.exact * shares[..., 0, None], blur)[
        used
    ].ravel()  # the gain at speed 0 is not observable
    seen = pairs.estimated[used].ravel().astype(np.float64)
    # The person covers a small part of the crop but carries most of the information.
    matters = np.where(pairs.body[used], 4.0, 1.0).repeat(2)
    weights: DoubleArray = matters.copy()
    gain: DoubleArray = np.ones(columns.shape[1])
    off = matters
    for _ in range(_ROUNDS):
        weighted = columns * weights[:, None]
        # Without data a speed takes the gain of the next slower one.
        prior = 1e-4 * _FEWEST * np.array([SPEEDS[k + 1] ** 2 for k in range(len(gain))])
        difference = np.eye(len(gain)) - np.eye(len(gain), k=-1)
        difference[0, 0] = 0
        normal = weighted.T @ columns + difference.T @ (prior[:, None] * difference) / 1e-3
        gain = np.asarray(np.linalg.solve(normal, weighted.T @ seen), np.float64)
        off = np.asarray(np.abs(seen - columns @ gain), np.float64)
        weights = np.asarray(matters / np.maximum(off, 1e-3), np.float64)
    return np.concatenate([gain[:1], gain]).clip(0, 2).astype(np.float32), float((matters * off).sum() / matters.sum())


def _errors(rest: FloatArray, shares: FloatArray, used: BoolArray) -> FloatArray:
    """Standard deviation of ``rest`` at each of `SPEEDS`, without the largest 2 %."""
    size, weight = (rest[used] ** 2).mean(-1), shares[used]
    out: list[float] = []
    for k in range(len(SPEEDS)):
        near = weight[:, k] > 0.3
        if weight[near, k].sum() < _FEWEST:
            out.append(out[-1] if out else 1e-3)
            continue
        kept = near & (size <= np.quantile(size[near], 0.98))
        out.append(float(np.sqrt(np.average(size[kept], weights=weight[kept, k]))))
    return np.array(out, np.float32)


def _between_windows(pairs: CellPairs, unit: FloatArray, model: FloatArray) -> tuple[float, float]:
    """Standard deviations between windows: of the logarithm of the errors, and of the recovered share of the motion."""
    logs, shares = [], []
    for window in np.unique(pairs.window):
        rows = pairs.window == window
        used = pairs.inside[rows] & pairs.body[rows]
        if used.sum() < _FEWEST:
            continue
        logs.append(np.log(np.sqrt((unit[rows][used] ** 2).mean()) + 1e-3))
        truth, seen = model[rows][used], pairs.estimated[rows][used]
        clear = np.linalg.norm(truth, axis=-1) > CLEAR
        if clear.sum() > _FEWEST:
            shares.append((truth[clear] * seen[clear]).sum() / (truth[clear] ** 2).sum())
    # Robust: a few windows with entirely wrong flow must not inflate the spread.
    low, high = np.quantile(shares, [0.25, 0.75]) if shares else (1.0, 1.0)
    return float(np.std(logs)) if logs else 0.0, float((high - low) / 1.349)


def _lost_backgrounds(pairs: CellPairs) -> float:
    """Share of the windows with a moving background in which most of it is estimated as static."""
    lost = []
    for window in np.unique(pairs.window):
        rows = pairs.window == window
        behind = pairs.inside[rows] & ~pairs.body[rows]
        truth, seen = pairs.exact[rows][behind], pairs.estimated[rows][behind]
        clear = np.linalg.norm(truth, axis=-1) > CLEAR / 2
        if clear.sum() > _FEWEST:
            along = (truth[clear] * seen[clear]).sum(-1) / (truth[clear] ** 2).sum(-1)
            lost.append(float(np.median(along) < 0.3))
    return float(np.mean(lost)) if lost else 0.0


def _correlation(unit: FloatArray, used: BoolArray, lag: int) -> float:
    """Correlation of errors ``lag`` cells apart, horizontally and vertically."""
    total, count = 0.0, 0
    for axis in (1, 2):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(0, -lag), slice(lag, None)
        both = used[tuple(low)] & used[tuple(high)]
        total += float((unit[tuple(low)][both] * unit[tuple(high)][both]).sum())
        count += int(both.sum()) * 2
    return total / max(count, 1) / max(float((unit[used] ** 2).mean()), 1e-12)


def _length(by_lag: dict[int, float]) -> float:
    """Distance in cells at which the correlation falls to 1 / e, by linear interpolation."""
    lags, values = [0, *by_lag], [1.0, *by_lag.values()]
    for i in range(1, len(lags)):
        if values[i] < np.exp(-1):
            part = (values[i - 1] - np.exp(-1)) / (values[i - 1] - values[i])
            return float(lags[i - 1] + part * (lags[i] - lags[i - 1]))
    return float(lags[-1])


def _persistence(pairs: CellPairs, unit: FloatArray) -> float:
    """Correlation of the errors of consecutive pairs of the same window."""
    later = pairs.window[1:] == pairs.window[:-1]
    both = (pairs.inside[1:] & pairs.inside[:-1])[later]
    first, second = unit[:-1][later][both], unit[1:][later][both]
    return float((first * second).mean() / max(float((unit[pairs.inside] ** 2).mean()), 1e-12)) if len(first) else 0.0
