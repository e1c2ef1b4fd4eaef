"""Fitting `training.simulation.flow_noise` to pairs of exact and estimated flow on the 32 x 32 cells of a crop.

The model: an engine finds a share of the motion, the less the faster it is; smears it over the silhouette; and adds errors
that grow with the speed, hold together over some cells and some frames, and are larger in some windows than in others.
Lengths are shares of the crop's side, or cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from common.arrays import BoolArray, FloatArray

SPEEDS: Final = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Speeds, sides of the crop a frame, at which the tables are given; between them they are interpolated."""
BLURS: Final = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5)
LAGS: Final = (1, 2, 3, 4, 6, 8)
CLEAR: Final = 0.01
"""Speed from which on a motion stands out from the noise."""
_ROUNDS: Final = 6
_FEWEST: Final = 60.0  # cells' worth of evidence below which a speed takes its slower neighbour's figures


@dataclass(frozen=True, slots=True)
class CellPairs:
    """N pairs of fields: ``exact``, ``estimated`` (N, 32, 32, 2); ``body`` (N, 32, 32), the cell's middle lies on the person in
    the first frame; ``inside`` (N, 32, 32), it lies in the picture; ``window`` (N,) which film the pair is of, in order."""

    exact: FloatArray
    estimated: FloatArray
    body: BoolArray
    inside: BoolArray
    window: NDArray[np.int64]


def blur_cells(field: FloatArray, cells: float) -> FloatArray:
    """``field`` (N, S, S, 2) blurred over ``cells`` cells (standard deviation)."""
    return field if cells == 0 else np.asarray(gaussian_filter(field, (0, cells, cells, 0), mode="nearest"), np.float32)


def interpolation_weights(speed: FloatArray) -> FloatArray:
    """Weights (..., len(SPEEDS)) of linear interpolation between `SPEEDS` at ``speed`` (...)."""
    out = np.stack(
        [np.interp(speed, SPEEDS, np.eye(len(SPEEDS))[k]).astype(np.float32) for k in range(len(SPEEDS))], -1
    )
    return np.asarray(out, np.float32)


def fit_flow_noise(pairs: CellPairs) -> dict[str, Any]:
    """The row of one engine in ``flow_noise.json``; see `training.simulation.flow_noise.FlowNoise`.

    Besides its fields: ``window_spread``, standard deviation of the logarithm of a window's errors; ``persistence``,
    correlation of the errors of one frame and the next; ``outside``, standard deviation of what is seen where the crop
    reaches out of the picture.

    Raises ``ValueError`` where hardly anything moves in the pairs.
    """
    used = pairs.inside
    shares = interpolation_weights(np.linalg.norm(pairs.exact, axis=-1))
    if float(shares[used][:, 2:].sum()) < _FEWEST:
        raise ValueError("hardly anything moves in these pairs: film more windows")
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
        # The table is of the middle window; the spread between windows then makes the mean square what was measured.
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
    ].ravel()  # no motion has no gain of its own
    seen = pairs.estimated[used].ravel().astype(np.float64)
    # A person is a tenth of the crop and nine tenths of what matters.
    matters = np.where(pairs.body[used], 4.0, 1.0).repeat(2)
    weights: NDArray[np.float64] = matters.copy()
    gain: NDArray[np.float64] = np.ones(columns.shape[1])
    off = matters
    for _ in range(_ROUNDS):
        weighted = columns * weights[:, None]
        # Where there is no evidence the next slower speed's gain is as good a guess as any.
        prior = 1e-4 * _FEWEST * np.array([SPEEDS[k + 1] ** 2 for k in range(len(gain))])
        difference = np.eye(len(gain)) - np.eye(len(gain), k=-1)
        difference[0, 0] = 0
        normal = weighted.T @ columns + difference.T @ (prior[:, None] * difference) / 1e-3
        gain = np.asarray(np.linalg.solve(normal, weighted.T @ seen), np.float64)
        off = np.asarray(np.abs(seen - columns @ gain), np.float64)
        weights = np.asarray(matters / np.maximum(off, 1e-3), np.float64)
    return np.concatenate([gain[:1], gain]).clip(0, 2).astype(np.float32), float((matters * off).sum() / matters.sum())


def _errors(rest: FloatArray, shares: FloatArray, used: BoolArray) -> FloatArray:
    """Standard deviation of ``rest`` at each of `SPEEDS`, the largest 2 % left out."""
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
    """Standard deviations between windows: of the logarithm of the errors, and of the share of the motion that is found."""
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
    # The middle half, so that a few windows of nothing but wrong flow do not make the rest wild.
    low, high = np.quantile(shares, [0.25, 0.75]) if shares else (1.0, 1.0)
    return float(np.std(logs)) if logs else 0.0, float((high - low) / 1.349)


def _lost_backgrounds(pairs: CellPairs) -> float:
    """Share of the windows before a moving background in which most of it seems to stand still."""
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
    """Correlation of errors ``lag`` cells apart, across and down."""
    total, count = 0.0, 0
    for axis in (1, 2):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(0, -lag), slice(lag, None)
        both = used[tuple(low)] & used[tuple(high)]
        total += float((unit[tuple(low)][both] * unit[tuple(high)][both]).sum())
        count += int(both.sum()) * 2
    return total / max(count, 1) / max(float((unit[used] ** 2).mean()), 1e-12)


def _length(by_lag: dict[int, float]) -> float:
    """Cells over which a correlation falls to 1 / e, on straight lines between the lags."""
    lags, values = [0, *by_lag], [1.0, *by_lag.values()]
    for i in range(1, len(lags)):
        if values[i] < np.exp(-1):
            part = (values[i - 1] - np.exp(-1)) / (values[i - 1] - values[i])
            return float(lags[i - 1] + part * (lags[i] - lags[i - 1]))
    return float(lags[-1])


def _persistence(pairs: CellPairs, unit: FloatArray) -> float:
    """Correlation of the errors of one pair with the next one of the same film."""
    later = pairs.window[1:] == pairs.window[:-1]
    both = (pairs.inside[1:] & pairs.inside[:-1])[later]
    first, second = unit[:-1][later][both], unit[1:][later][both]
    return float((first * second).mean() / max(float((unit[pairs.inside] ** 2).mean()), 1e-12)) if len(first) else 0.0
