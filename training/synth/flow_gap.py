"""How far estimated optical flow is from exact flow: python -m training.synth.flow_gap --motion FOLDER

Films synthetic people, lets the live program's flow engine look at the pictures, and compares its field with the exact one.
Prints end-point errors by speed, and fits the small model of what the engine does to exact flow on the 32 x 32 cells that the
network sees (`training/flow_noise.json`): how much it falls short, how far it smears motion over the silhouette, what it
adds, and how long and wide such errors hold together. Lengths in the file are shares of the crop's side, or cells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, gaussian_filter

from body.lbs_torch import TorchBody
from body.model import load_body
from realtime.flow import SIZE
from training.bank import MotionBank
from training.evaluate import open_clips
from training.noise import NoiseSampler, load_noise
from training.synth.flow_grid import CELLS
from training.synth.render import Film, crop_view
from training.synth.scene import SceneMaker
from training.synth.takes import shoot, track

FloatArray = NDArray[np.float32]

MODEL: Final = Path(__file__).parents[1] / "flow_noise.json"
FRAMES: Final = 6
SPEEDS: Final = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08)
"""Edges of the bins of speed, sides of the crop a frame."""
CLEAR: Final = 0.01
"""Speed from which on a motion is clear against the noise."""
BLURS: Final = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5)
INSIDE: Final = 2
"""Cells from which on a cell counts as away from the silhouette."""
LAGS: Final = (1, 2, 3, 4, 6, 8)
FEWEST: Final = 40
"""Cells below which a bin has no figure of its own and takes its neighbour's."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of frames in the crop of a tracked person.

    ``exact``, ``estimated`` (32, 32, 2) on the cells, sides of the crop; ``body`` (32, 32) bool, the cell's middle lies on the
    person in the first frame; ``inside`` (32, 32) bool, it lies in the picture. ``error`` and ``speed`` (N,) px of the
    128² field at every pixel of the person that is seen in both frames.
    """

    window: int
    exact: FloatArray
    estimated: FloatArray
    body: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    error: FloatArray
    speed: FloatArray


def cells(field: FloatArray) -> FloatArray:
    """Means of a (128, 128, 2) field over 32 x 32 cells, from pixels to sides of the crop."""
    block = len(field) // CELLS
    mean = field.reshape(CELLS, block, CELLS, block, 2).mean((1, 3)) / np.float32(len(field))
    return np.asarray(mean, np.float32)


def film_pairs(motion: Path, windows: int, seed: int) -> Iterator[Pair]:
    """Pairs of neighbouring frames of ``windows`` tracked people, as the live program would see them."""
    arrays = load_body()
    maker = SceneMaker(MotionBank(open_clips(motion, "train"), seed=seed), arrays, TorchBody(arrays), seed + 1)
    noise, rng = NoiseSampler(load_noise(), seed + 2), np.random.default_rng(seed + 3)
    done = 0
    while done < windows:
        films = [Film(scene) for scene in maker.draw(min(8, windows - done), FRAMES)]
        for film, found in zip(films, track(films, noise), strict=True):
            if found is None:
                continue
            done += 1
            for shot in shoot(film, found.boxes, 64, rng):
                if shot.flow is not None:
                    yield _compare(film, shot.frame - 1, done, shot.flow.box, shot.flow.field)


def _compare(film: Film, frame: int, window: int, box: Any, field: FloatArray) -> Pair:
    scene = film.scene
    fine, coarse = crop_view(scene, box, SIZE), crop_view(scene, box, CELLS)
    owner = np.append(scene.mesh.owner, -1)
    seen = owner[film.surface(frame, fine).ids] == 0
    flow = film.flow(frame, fine)
    seen &= ~flow.hidden & _in_picture(film, box, SIZE)
    small = film.flow(frame, coarse)
    person = owner[film.surface(frame, coarse).ids] == 0
    return Pair(
        window,
        np.asarray(small.field / np.float32(CELLS)),
        cells(field),
        person,
        _in_picture(film, box, CELLS),
        np.linalg.norm(field - flow.field, axis=-1)[seen],
        np.linalg.norm(flow.field, axis=-1)[seen],
    )


def _in_picture(film: Film, box: Any, size: int) -> NDArray[np.bool_]:
    """(size, size): which pixels of the crop lie in the picture."""
    width, height = film.scene.size
    line = (np.arange(size) + 0.5) / size - 0.5
    x, y = box.x + line * box.size, box.y + line * box.size
    return np.asarray(((y >= 0) & (y <= height - 1))[:, None] & ((x >= 0) & (x <= width - 1))[None])


def smear(exact: FloatArray, cells_wide: float) -> FloatArray:
    """``exact`` (..., 32, 32, 2) blurred over ``cells_wide`` cells (standard deviation)."""
    if cells_wide == 0:
        return exact
    sigma = [0.0] * (exact.ndim - 3) + [cells_wide, cells_wide, 0.0]
    return np.asarray(gaussian_filter(exact, sigma, mode="nearest"), np.float32)


def fit(pairs: list[Pair]) -> dict[str, Any]:
    """The model of `flow_noise.json` from pairs of frames."""
    exact, estimated = np.stack([pair.exact for pair in pairs]), np.stack([pair.estimated for pair in pairs])
    body, inside = np.stack([pair.body for pair in pairs]), np.stack([pair.inside for pair in pairs])
    edge = np.stack([_distance(pair.body) for pair in pairs]) <= INSIDE
    near = edge & inside
    blurred = {width: smear(exact, width) for width in BLURS}
    misfit = {width: _misfit(estimated[near], field[near]) for width, field in blurred.items()}
    blur = min(misfit, key=lambda width: misfit[width])
    model = blurred[blur]
    speed = np.linalg.norm(model, axis=-1)
    groups = {"body": body & inside, "background": ~body & inside}
    out: dict[str, Any] = {"blur_cells": blur, "speed_edges": list(SPEEDS)}
    residual = estimated.copy()
    for name, mask in groups.items():
        table = _by_speed(model, estimated, speed, mask)
        out[name], gain = dict(zip(("gain", "std", "p95", "dropout", "dropout_std"), table, strict=True)), table[0]
        residual[mask] -= np.interp(speed[mask], _middles(), gain)[:, None].astype(np.float32) * model[mask]
    out["outside"] = {"std": float(estimated[~inside].std()) if (~inside).any() else 0.0}
    for name, mask in groups.items():
        scale = np.interp(speed, _middles(), out[name]["std"]).clip(1e-5)
        unit = np.clip(residual / scale[..., None], -4, 4)
        windows = np.array([pair.window for pair in pairs])
        spread = [
            np.log(np.sqrt((unit[windows == w][mask[windows == w]] ** 2).mean()) + 1e-3)
            for w in np.unique(windows)
            if mask[windows == w].sum() > FEWEST
        ]
        out[name]["window_log_std"] = round(float(np.std(spread)), 3)
        out[name]["correlation_by_lag"] = {str(lag): round(_correlation(unit, mask, lag), 3) for lag in LAGS}
        out[name]["correlation_cells"] = _length(out[name]["correlation_by_lag"])
        later = windows[1:] == windows[:-1]
        both = (mask[1:] & mask[:-1])[later]
        first, second = unit[:-1][later][both], unit[1:][later][both]
        out[name]["persistence"] = round(float((first * second).mean() / (unit[mask] ** 2).mean()), 3)
    return out


def _distance(body: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(32, 32) cells to the silhouette, from both of its sides."""
    if body.all() or not body.any():
        return np.full(body.shape, 99, np.int32)
    return np.asarray(np.where(body, distance_transform_cdt(body), distance_transform_cdt(~body)), np.int32)


def _misfit(estimated: FloatArray, model: FloatArray) -> float:
    """Mean absolute error that is left after the best common gain: outliers must not choose the blur."""
    gain = float((estimated * model).sum() / max(float((model * model).sum()), 1e-12))
    return float(np.abs(estimated - gain * model).mean())


def _middles() -> NDArray[np.float64]:
    """Speeds (7,) at which the tables are given, between which they are interpolated."""
    edges = np.array([0.0, *SPEEDS])
    return np.append((edges[1:] + edges[:-1]) / 2, edges[-1] * 1.5)


def _by_speed(
    model: FloatArray, estimated: FloatArray, speed: FloatArray, mask: NDArray[np.bool_]
) -> list[list[float]]:
    """Tables over the bins of speed: gain, standard deviation and 95 % of the length of what is left; share of the cells that
    drop out, which are in none of these three, and the standard deviation of what is seen there instead.

    A cell has dropped out where less than a quarter of a clear motion is followed: nothing holds the flow there.
    """
    rows: list[tuple[float, ...] | None] = []
    edges = (0.0, *SPEEDS, np.inf)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        chosen = mask & (speed >= low) & (speed < high)
        if chosen.sum() < FEWEST:
            rows.append(None)
            continue
        truth, seen = model[chosen], estimated[chosen]
        along = (truth * seen).sum(-1) / np.maximum((truth * truth).sum(-1), 1e-12)
        lost = (along < 0.25) & (low >= CLEAR)
        kept = ~lost
        gain = float((truth[kept] * seen[kept]).sum() / max(float((truth[kept] ** 2).sum()), 1e-12)) if low > 0 else 1.0
        rest = seen[kept] - gain * truth[kept]
        tail = float(np.quantile(np.linalg.norm(rest, axis=-1), 0.95))
        rows.append((gain, _robust(rest), tail, float(lost.mean()), _robust(seen[lost]) if lost.any() else 0.0))
    known = [row for row in rows if row is not None]
    if not known:
        raise ValueError("too few pairs to fit: film more windows")
    filled: list[tuple[float, ...]] = []
    for row in rows:
        filled.append(row if row is not None else filled[-1] if filled else known[0])
    return [[round(value, 5) for value in column] for column in zip(*filled, strict=True)]


def _robust(values: FloatArray) -> float:
    """Standard deviation with the largest 2 % left out: those are what `p95` speaks of."""
    size = np.abs(values)
    return float(np.sqrt((values[size <= np.quantile(size, 0.98)] ** 2).mean()))


def _correlation(unit: FloatArray, mask: NDArray[np.bool_], lag: int) -> float:
    """Correlation of errors ``lag`` cells apart, across and down."""
    total, count = 0.0, 0
    for axis in (1, 2):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(0, -lag), slice(lag, None)
        both = mask[tuple(low)] & mask[tuple(high)]
        total += float((unit[tuple(low)][both] * unit[tuple(high)][both]).sum())
        count += int(both.sum()) * 2
    return total / max(count, 1) / float((unit[mask] ** 2).mean())


def _length(by_lag: dict[str, float]) -> float:
    """Cells over which the correlation falls to 1 / e: where it crosses, on a straight line between the lags."""
    lags, values = [0.0, *(float(lag) for lag in by_lag)], [1.0, *by_lag.values()]
    for i in range(1, len(lags)):
        if values[i] < np.exp(-1):
            part = (values[i - 1] - np.exp(-1)) / (values[i - 1] - values[i])
            return round(float(lags[i - 1] + part * (lags[i] - lags[i - 1])), 2)
    return lags[-1]


def report(pairs: list[Pair]) -> str:
    """End-point error of the 128² field on the person by speed, as a table."""
    error, speed = np.concatenate([p.error for p in pairs]), np.concatenate([p.speed for p in pairs])
    lines = [f"end-point error on the person, px of a {SIZE} px crop ({len(pairs)} pairs of frames)"]
    edges = (0.0, *(edge * SIZE for edge in SPEEDS), np.inf)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        chosen = (speed >= low) & (speed < high)
        if chosen.any():
            mean, middle, tail = error[chosen].mean(), *np.quantile(error[chosen], [0.5, 0.9])
            lines.append(
                f"  speed {low:5.2f} to {high:5.2f}: mean {mean:5.2f}  median {middle:5.2f}  p90 {tail:5.2f}"
                f"  {chosen.mean():5.1%} of the pixels"
            )
    lines.append(f"  all: mean {error.mean():.2f}, of a mean motion of {speed.mean():.2f}")
    return "\n".join(lines)


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    windows: Annotated[int, typer.Option(help="people filmed, six frames each")] = 300,
    output: Annotated[Path, typer.Option(help="where the fitted model goes")] = MODEL,
    seed: Annotated[int, typer.Option()] = 31,
) -> None:
    """Compare the flow engine with exact flow and write what it does to it."""
    torch.set_num_threads(1)
    pairs = list(film_pairs(motion, windows, seed))
    print(report(pairs))
    model = {"engine": f"DIS {SIZE}", "cells": CELLS, "fps": 30, "pairs": len(pairs), **fit(pairs)}
    text = json.dumps(model, indent=2) + "\n"
    output.write_text(text)
    print(text + f"sha256 {hashlib.sha256(text.encode()).hexdigest()}")


if __name__ == "__main__":
    typer.run(main)
