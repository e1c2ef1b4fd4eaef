"""Windows of people who are simulated instead of rendered: without pixels, but by the hundred thousand.

Their flow is exact, with the measured errors of the real-time estimator added, as in the training of the shipped networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from body.lbs_torch import TorchBody
from body.model import load_body
from common.arrays import AnyArray
from training.motion.bank import NONE, Augmentation, MotionBank
from training.motion.opening import open_clips
from training.simulation.batches import Batch, BatchMaker, FlowSource
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import FlowGrid
from training.simulation.flow_noise import FlowDegrader, load_flow_noise
from training.synth.dataset import Windows
from training.synth.windows import WINDOWS_FPS

_AT_ONCE: Final = 64
"""Windows drawn at a time."""


def simulate_windows(motion: Path, split: str, count: int, frames: int, seed: int = 0) -> Windows:
    """``count`` windows of ``frames`` frames of the subjects of ``split``, the same ones for the same seed.

    The fields are those of `training.synth.windows.generate_windows`, less ``rgb``, ``exact``, ``body``, ``state`` and
    ``size``. Every frame has flow. Motion and frame rates of the split ``train`` vary as in the training of the shipped
    networks, the others are as recorded, at `WINDOWS_FPS`.

    Raises:
        MotionError: ``motion`` holds no packed motion.
    """
    bank = MotionBank(open_clips(motion, split))
    source = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 0), dropout=0.0, gaps=0.0)
    change, rate = (Augmentation(), None) if split == "train" else (NONE, WINDOWS_FPS)
    maker = BatchMaker(bank, TorchBody(load_body()), NoiseSampler(load_noise(), 0), change, flow=source)
    arrays: dict[str, AnyArray] = {}
    for start in range(0, count, _AT_ONCE):
        maker.seed(seed * 1_000_003 + start)
        # The first frame of a window has no flow: one more is drawn.
        batch = maker.draw(min(_AT_ONCE, count - start), frames + 1, rate).frames(1, frames + 1)
        for name, values in _fields(batch).items():
            if name not in arrays:
                arrays[name] = np.empty((count, *values.shape[1:]), values.dtype)
            arrays[name][start : start + len(values)] = values
    return Windows(arrays)


def _fields(batch: Batch) -> dict[str, AnyArray]:
    seen, camera = batch.seen, batch.seen.camera[:, 0].numpy()
    return {
        "points": seen.points.numpy(),
        "confidence": seen.confidence.numpy(),
        "camera": camera,
        "true_camera": camera,
        "dt": seen.dt.numpy(),
        "flow": seen.flow.numpy().astype(np.float16),
        "box": seen.box.numpy(),
        "extent": (batch.size * seen.camera[..., 0]).numpy(),
        **{name: getattr(batch, name).numpy() for name in ("rotations", "betas", "joints", "coco", "pelvis")},
    }
