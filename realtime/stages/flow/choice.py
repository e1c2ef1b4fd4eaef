"""Chooses the optical flow for this machine by measurement: DIS on the CPU or RAFT on the GPU.

The bodies differ by a millimetre, so only time decides. Flow runs in parallel with the keypoints, and the regressor waits for
both: RAFT that takes no longer than the keypoints delays nothing and leaves a CPU core free. RAFT that takes longer than both
the keypoints and DIS would delay every frame.
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
from realtime.stages.flow.crop_flow import CropFlow

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


def choose_flow(raft: CropFlow, dis: CropFlow, keypoints_ms: float) -> CropFlow:
    """``dis`` if ``raft`` takes longer than both ``dis`` and the keypoints of one person (``keypoints_ms``), else ``raft``.
    Logs the times."""
    raft_ms, dis_ms = flow_ms(raft), flow_ms(dis)
    takes_raft = raft_ms <= max(dis_ms, keypoints_ms)
    _LOG.info(
        f"optical flow: {'raft' if takes_raft else 'dis'} (a person takes {raft_ms:.1f} ms with raft on the GPU, {dis_ms:.1f} "
        f"with dis on the CPU; keypoints {keypoints_ms:.1f}); --flow chooses"
    )
    return raft if takes_raft else dis
