"""Reading optical markers: C3D files (ACCAD's Open Motion Project and others) and UI-PRMD's text files of Vicon positions.

Markers are named as in Vicon's Plug-in Gait; ACCAD's older names are known, too. Files are z up; here everything is y up.
`training.motion.marker_fit` turns markers into joints.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from scipy.interpolate import PchipInterpolator

from common.arrays import BoolArray, DoubleArray, FloatArray
from training.motion.c3d import parse_c3d
from training.motion.clip import MotionError

MARKERS: Final = (
    "LFHD", "RFHD", "LBHD", "RBHD", "C7", "T10", "CLAV", "STRN", "RBAK",
    *(side + name for side in "LR" for name in ("SHO", "UPA", "ELB", "FRM", "WRA", "WRB", "FIN")),
    "LASI", "RASI", "LPSI", "RPSI",
    *(side + name for side in "LR" for name in ("THI", "KNE", "TIB", "ANK", "HEE", "TOE", "MT5")),
)  # fmt: skip
"""The markers that the fit knows."""

ALIASES: Final = {
    "LFWT": "LASI", "RFWT": "RASI", "LBWT": "LPSI", "RBWT": "RPSI", "LSHN": "LTIB", "RSHN": "RTIB", "RBAC": "RBAK",
}  # fmt: skip

VICON_COLUMNS: Final = (
    "LFHD", "RFHD", "LBHD", "RBHD", "C7", "T10", "CLAV", "STRN", "RBAK",
    *("L" + name for name in ("SHO", "UPA", "ELB", "FRM", "WRA", "WRB", "FIN")),
    *("R" + name for name in ("SHO", "UPA", "ELB", "FRM", "WRA", "WRB", "FIN")),
    "LASI", "RASI", "LPSI", "RPSI",
    *("L" + name for name in ("THI", "KNE", "TIB", "ANK", "HEE", "TOE")),
    *("R" + name for name in ("THI", "KNE", "TIB", "ANK", "HEE", "TOE")),
)  # fmt: skip
"""The order of UI-PRMD's 39 markers, three columns each."""

VICON_FPS: Final = 100.0
_LONGEST_GAP_S: Final = 0.25
_MAX_CHARACTERS: Final = 20_000_000
_T_POSE: Final = re.compile(r"calib|t-?pose|static", re.IGNORECASE)

KnownPose = Literal["free", "tpose", "stand"]


@dataclass(frozen=True)
class MarkerTake:
    """Markers of one take."""

    name: str
    """See `Clip`."""
    subject: str
    """See `Clip`."""
    points: FloatArray
    """float32 (N, len(MARKERS), 3) metres, y up; NaN where a marker is not seen."""
    fps: float
    """Frame rate, frames/s."""
    rest: KnownPose = "free"
    """What is known of its pose: all frames are a T-pose ("tpose"), the first one is quiet standing ("stand")."""


def read_c3d(path: str | Path, *, subject: str = "") -> MarkerTake:
    """Read a C3D file's markers.

    The person is the prefix of the markers' names ("Male1:LFHD") where there is one, else the folder. Takes whose names say
    so ("calib", "t-pose", "static") are T-poses. Gaps of a quarter of a second are closed.

    Raises:
        MotionError: The file is damaged, or most markers have other names.
    """
    path = Path(path)
    try:
        file = parse_c3d(path)
    except (OSError, ValueError) as error:
        raise MotionError(f"{path}: not a C3D file, or damaged ({error})") from error
    labels, fps = file.labels, file.fps
    scale = {"m": 1.0, "cm": 0.01}.get(file.unit, 0.001)
    prefixes = [label.split(":")[0] for label in labels if ":" in label]
    who = subject or (max(set(prefixes), key=prefixes.count) if prefixes else path.resolve().parent.name)
    points = _named(file.points.astype(np.float64) * scale, labels[: file.points.shape[1]])
    _check(path, points, fps)
    # z up, facing +y: to y up, facing +z
    upright = np.stack([-points[..., 0], points[..., 2], points[..., 1]], -1)
    rest: KnownPose = "tpose" if _T_POSE.search(path.stem) else "free"
    return MarkerTake(path.stem, who.lower(), close_gaps(upright, fps), fps, rest)


def read_vicon_text(path: str | Path, *, subject: str = "") -> MarkerTake:
    """Read a text file of UI-PRMD ("Segmented Movements/Vicon/Positions", plain or .gz): 39 markers, millimetres, 100 Hz.

    In the exercises m07 to m10 people stand quietly at first.

    Raises:
        MotionError: Not 117 numbers, with commas between, a line.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            text = file.read(_MAX_CHARACTERS + 1)
        if not text or len(text) > _MAX_CHARACTERS:
            raise ValueError("empty" if not text else f"longer than {_MAX_CHARACTERS} characters")
        table = np.loadtxt(text.splitlines(), delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MotionError(f"{path}: not UI-PRMD's marker positions, or damaged ({error})") from error
    if table.shape[1] != 3 * len(VICON_COLUMNS):
        raise MotionError(f"{path}: {table.shape[1]} numbers a line, not UI-PRMD's 117 marker positions")
    points = _named(table.reshape(len(table), -1, 3) / 1000.0, VICON_COLUMNS)
    _check(path, points, VICON_FPS)
    stem = path.name.split(".")[0]
    found = re.match(r"(m\d+)_(s\d+)", stem)
    quiet: KnownPose = "stand" if found and found.group(1) in ("m07", "m08", "m09", "m10") else "free"
    # z up, facing +x, left at +y: to y up, facing +z
    upright = np.stack([points[..., 1], points[..., 2], points[..., 0]], -1)
    who = subject or (found.group(2) if found else path.resolve().parent.name)
    return MarkerTake(stem, who, close_gaps(upright, VICON_FPS), VICON_FPS, quiet)


def _named(points: DoubleArray, labels: Sequence[str]) -> DoubleArray:
    """Columns of `MARKERS`, (N, M, 3); of several of one name the one that is seen most. Points at the origin are missing."""
    points = np.where((np.abs(points).sum(-1, keepdims=True) < 1e-9) | ~np.isfinite(points), np.nan, points)
    found = np.full((len(points), len(MARKERS), 3), np.nan)
    for column, label in enumerate(labels):
        name = label.split(":")[-1].upper()
        name = ALIASES.get(name, name)
        if name in MARKERS:
            place = MARKERS.index(name)
            if np.isfinite(points[:, column, 0]).sum() > np.isfinite(found[:, place, 0]).sum():
                found[:, place] = points[:, column]
    return found


def _check(path: Path, points: DoubleArray, fps: float) -> None:
    seen: BoolArray = np.asarray(np.isfinite(points[..., 0]).any(0))
    if not (np.isfinite(fps) and fps > 0) or len(points) < 1:
        raise MotionError(f"{path}: no frames, or no frame rate")
    if seen.sum() < 0.8 * len(VICON_COLUMNS):
        missing = ", ".join(name for name, there in zip(MARKERS, seen, strict=True) if not there)
        raise MotionError(f"{path}: lacks the markers {missing}; they should be named as in Plug-in Gait")


def close_gaps(points: DoubleArray, fps: float) -> FloatArray:
    """Fill gaps of a quarter of a second with smooth curves (piecewise cubic Hermite). (N, M, 3), float32."""
    filled = points.copy()
    for marker in range(points.shape[1]):
        known = np.flatnonzero(np.isfinite(points[:, marker, 0]))
        gone = np.flatnonzero(~np.isfinite(points[:, marker, 0]))
        if len(known) < 4 or not len(gone):
            continue
        after = np.searchsorted(known, gone)
        inside = (after > 0) & (after < len(known))
        gone, after = gone[inside], after[inside]
        gone = gone[known[after] - known[after - 1] <= _LONGEST_GAP_S * fps + 1]
        if len(gone):
            filled[gone, marker] = PchipInterpolator(known, points[known, marker], axis=0)(gone)
    return filled.astype(np.float32)


def resample_markers(take: MarkerTake, fps: float) -> FloatArray:
    """Points (M, markers, 3) at another frame rate, along straight lines."""
    last = len(take.points) - 1
    count = int(last / take.fps * fps + 1e-3) + 1
    place = np.minimum(np.arange(count) * (take.fps / fps), last)
    below = np.minimum(place.astype(np.int64), max(last - 1, 0))
    part = (place - below)[:, None, None]
    above = np.minimum(below + 1, last)
    low, high = take.points[below], take.points[above]
    between = np.where(part > 0, low * (1 - part) + high * part, low)
    return between.astype(np.float32)
