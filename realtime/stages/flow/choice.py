"""Chooses the optical flow for this machine by measurement: DIS on the CPU or RAFT, of two sizes, on the GPU.

The bodies differ by a millimetre, so only time decides. Flow runs in parallel with the keypoints, and the regressor waits for
both: RAFT that takes no longer than the keypoints delays nothing and leaves a CPU core free. RAFT that takes longer than both
the keypoints and DIS would delay every frame. So the largest that passes is taken, as it is the most accurate; the smaller one
is opened, and its engine built, only where the larger one would delay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import cv2
import numpy as np

from realtime.records import Box, Frame
from realtime.stages.flow.crop_flow import CropFlow, DisFlow

_LOG = logging.getLogger(__name__)

_RUNS: Final = 5
_WARM_UP: Final = 1
_SIZE: Final = 480  # pixels: a person fills the frame


def flow_ms(flow: CropFlow) -> float:
    """Median milliseconds that ``flow`` takes for one person between two frames of a moving texture."""
    coarse = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    texture = np.asarray(cv2.resize(coarse, (_SIZE, _SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)
    frames = [
        Frame(number, 0, number / 30, np.roll(texture, 3 * number, axis=1)) for number in range(_RUNS + _WARM_UP + 1)
    ]
    box = Box(_SIZE / 2, _SIZE / 2, 0.9 * _SIZE)
    pairs = pairwise(frames)
    return median_ms(lambda: flow(*next(pairs), box), _RUNS)


def median_ms(work: Callable[[], object], runs: int = _RUNS) -> float:
    """Median milliseconds that ``work`` takes, after one call to warm up."""
    times = []
    for _ in range(_WARM_UP + runs):
        began_ns = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - began_ns) * 1e-6)
    return float(np.median(times[_WARM_UP:]))


class FlowTrial:
    """Measures RAFT in several sizes against DIS and the keypoints of one person, which take ``keypoints_ms``."""

    def __init__(self, keypoints_ms: float) -> None:
        self._keypoints_ms, self._dis_ms = keypoints_ms, flow_ms(DisFlow())
        self._rafts: dict[str, float] = {}

    def passes(self, name: str, raft: CropFlow) -> bool:
        """Whether ``raft``, called ``name``, takes no longer than DIS or the keypoints."""
        self._rafts[name] = flow_ms(raft)
        return self._rafts[name] <= max(self._dis_ms, self._keypoints_ms)

    def log(self, taken: str) -> None:
        """Tell the user what was measured, and which flow is taken."""
        rafts = ", ".join(f"{ms:.1f} with {name}" for name, ms in self._rafts.items())
        _LOG.info(
            f"optical flow: {taken} (ms for a person: {rafts} on the GPU, {self._dis_ms:.1f} with dis on the CPU; keypoints "
            f"{self._keypoints_ms:.1f}); --flow chooses"
        )
