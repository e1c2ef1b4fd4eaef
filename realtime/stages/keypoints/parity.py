"""Tests whether a keypoint network may compute in bfloat16 on this CPU.

The network runs on crops of real people in float32 and in bfloat16, and the keypoints are compared. The result is kept in the
user's cache folder; it is valid for this network file, this version of OpenVINO and this processor.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from common.files import JSON_ERRORS, cache_folder, write_bytes_atomically
from engines.cpu_features import multiplies_bf16
from engines.device import describe_device
from engines.engine import Engine, RuntimeMissingError
from engines.manifest import resolve
from engines.registry import open_engine
from realtime.records import Box
from realtime.stages.keypoints.movenet import CONFIDENT, MoveNet

_LOG = logging.getLogger(__name__)

CROPS: Final = Path(__file__).with_name("parity.jpg")
"""Crops of `CROP_SIZE` px, row after row; ``python -m tools.keypoint_crops`` made it."""
CROP_SIZE: Final = 256
MAX_MEDIAN_PX, MAX_TAIL_PX = 0.5, 4.0
"""Limits of how far keypoints move, pixels of a crop: median and 95th percentile. MoveNet's own errors are 10 px and more."""


class KeypointGap(NamedTuple):
    """Distances between the keypoints of two engines."""

    median_px: float
    """Median distance, pixels of a crop."""
    tail_px: float
    """95th percentile of the distances, pixels of a crop."""

    @property
    def is_small(self) -> bool:
        """Whether both are within the limits; False for NaN."""
        return self.median_px <= MAX_MEDIAN_PX and self.tail_px <= MAX_TAIL_PX


def parity_crops() -> list[ImageArray]:
    """The crops (256, 256, 3) BGR of real people."""
    sheet = np.asarray(cv2.imdecode(np.frombuffer(CROPS.read_bytes(), np.uint8), cv2.IMREAD_COLOR), np.uint8)
    rows, columns = sheet.shape[0] // CROP_SIZE, sheet.shape[1] // CROP_SIZE
    tiles = sheet.reshape(rows, CROP_SIZE, columns, CROP_SIZE, 3).swapaxes(1, 2)
    return list(tiles.reshape(-1, CROP_SIZE, CROP_SIZE, 3))


def keypoint_gap(reference: Engine, other: Engine) -> KeypointGap:
    """Distances between the keypoints that two engines of one network find in the crops, where ``reference`` is confident."""
    box = Box((CROP_SIZE - 1) / 2, (CROP_SIZE - 1) / 2, CROP_SIZE)
    networks = MoveNet(reference), MoveNet(other)
    gaps: list[FloatArray] = []
    for crop in parity_crops():
        (points, confidence), (others, _) = (network(crop, box) for network in networks)
        gaps.append(np.linalg.norm(others - points, axis=1)[confidence >= CONFIDENT])
    every = np.concatenate(gaps)
    return KeypointGap(float(np.median(every)), float(np.percentile(every, 95)))


def fits_bf16(model: str) -> bool:
    """Whether the shipped keypoint network ``model`` should run in bfloat16 here: the CPU multiplies it in hardware, and
    the keypoints stay within the limits. The first call on a machine runs the test, which takes a second or two."""
    if not multiplies_bf16():
        return False
    try:
        version = metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return False
    data = resolve(model).read()
    parts = (data, CROPS.read_bytes(), version.encode(), describe_device().encode())
    key = f"{model}-{hashlib.sha256(b''.join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]}"
    path = cache_folder() / "keypoint-precision.json"
    known = _read(path)
    gap = known.get(key)
    if gap is None:
        try:
            with open_engine(model, "openvino") as exact, open_engine(model, "openvino", bf16=True) as rounded:
                gap = keypoint_gap(exact, rounded)
        except RuntimeMissingError:
            return False
        _LOG.info(
            f"{model} {'runs' if gap.is_small else 'does not run'} in bfloat16 on this CPU: half of its keypoints stay within "
            f"{gap.median_px:.2f} px of float32, 95 of 100 within {gap.tail_px:.1f}; --precision fp32 chooses float32"
        )
        with suppress(OSError):  # then it is tried again the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomically(path, json.dumps({**known, key: gap}, indent=1).encode())
    return gap.is_small


def _read(path: Path) -> dict[str, KeypointGap]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): KeypointGap(float(row[0]), float(row[1])) for key, row in rows.items()}
    except (OSError, *JSON_ERRORS):
        return {}
