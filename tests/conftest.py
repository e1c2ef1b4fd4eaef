"""For all tests: a busy machine is no failure, and a few seconds of made-up motion, so that nothing has to be downloaded."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Generator, Iterator

import numpy as np
import pytest
from hypothesis import settings

from body.joints import JOINT_NAMES
from common.arrays import FloatArray
from common.files import readable
from common.remarks import ROOMS
from training.motion.clip import Clip

# `make fuzz` looks for new failures; the suite tries the same examples each time, so that it fails for what was changed.
settings.register_profile("untimed", deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ)
settings.load_profile("untimed")

# Started with nohup or in the background of a script, the suite would ignore a terminal that closes or Ctrl-C, and so would
# the programs that it starts.
for _number, _usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests of file names that are not UTF-8 log such names, and what is logged must reach the process that prints it."""
    report = yield
    report.sections = [(title, readable(text)) for title, text in report.sections]
    return report


class Remarks(list[str]):
    """What the rooms have logged for the user, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []


class _Collector(logging.Handler):
    def __init__(self, remarks: Remarks) -> None:
        super().__init__()
        self._remarks = remarks

    def emit(self, record: logging.LogRecord) -> None:
        self._remarks.append(record.getMessage())
        if record.levelno >= logging.WARNING:
            self._remarks.warnings.append(record.getMessage())


@pytest.fixture
def remarks() -> Iterator[Remarks]:
    """Grows while the test runs."""
    remarks = Remarks()
    handler = _Collector(remarks)
    loggers = [logging.getLogger(room) for room in ROOMS]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield remarks
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def _waves(seed: int, frames: int) -> FloatArray:
    """Every joint swings about random axes at random rates: (frames, 24, 3) axis-angle."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None, None] / 30
    size = rng.uniform(0, 0.5, (1, 24, 3))
    size[:, 0] *= 0.3
    return np.asarray(size * np.sin(time * rng.uniform(1, 6, (1, 24, 3)) + rng.uniform(0, 6, (1, 24, 3))), np.float32)


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    out = []
    for number in range(6):
        frames = 40 + 30 * number
        pelvis = np.zeros((frames, 3), np.float32)
        pelvis[:, 0] = np.arange(frames) * 0.02
        pelvis[:, 1] = 0.93
        out.append(
            Clip(
                name=f"waves {number}",
                subject=str(number),
                category="test",
                licence="CC0-1.0",
                split="train",
                fps=30.0,
                rotations=_waves(number, frames),
                pelvis=pelvis,
                weight=float(frames),
                free=True,
                rest="body",
            )
        )
    assert len(JOINT_NAMES) == out[0].rotations.shape[1]
    return out
