"""The flow that costs a frame nothing is taken."""

from __future__ import annotations

import time

import numpy as np
import pytest
from typing_extensions import override

from common.arrays import FloatArray, ImageArray
from realtime.stages.flow import choice
from realtime.stages.flow.choice import FlowTrial, flow_ms, median_ms
from realtime.stages.flow.crop_flow import FLOW_SIZE, CropFlow, DisFlow
from tests.conftest import Remarks


class Moves(CropFlow):
    """Measures nothing; notes what it was shown."""

    def __init__(self) -> None:
        super().__init__(FLOW_SIZE, FLOW_SIZE)
        self.shown: list[ImageArray] = []

    @override
    def _keep(self, place: int, crop: ImageArray) -> None:
        self.shown.append(crop.copy())

    @override
    def _measure(self, goes_on: bool) -> tuple[FloatArray, None]:
        return np.zeros((FLOW_SIZE, FLOW_SIZE, 2), np.float32), None


@pytest.mark.parametrize(
    ("raft_ms", "dis_ms", "keypoints_ms", "passes"),
    [(2.0, 3.0, 1.0, True), (4.0, 3.0, 5.0, True), (4.0, 3.0, 1.0, False), (3.0, 3.0, 3.0, True)],
)
def test_raft_passes_unless_it_is_slower_than_both(
    monkeypatch: pytest.MonkeyPatch,
    remarks: Remarks,
    raft_ms: float,
    dis_ms: float,
    keypoints_ms: float,
    passes: bool,
) -> None:
    slow = Moves()
    monkeypatch.setattr(
        choice, "flow_ms", lambda flow: dis_ms if isinstance(flow, DisFlow) else 9.0 if flow is slow else raft_ms
    )
    trial = FlowTrial(keypoints_ms)
    assert not trial.passes("raft", slow)
    assert trial.passes("raft-256", Moves()) is passes
    trial.log("dis")
    assert remarks == [
        f"optical flow: dis (ms for a person: 9.0 with raft, {raft_ms} with raft-256 on the GPU, {dis_ms} with dis on the "
        f"CPU; keypoints {keypoints_ms}); --flow chooses"
    ]


def test_it_is_measured_on_frames_that_move() -> None:
    flow = Moves()
    assert flow_ms(flow) > 0
    assert len(flow.shown) == 2 * 6
    assert all((first != second).any() for first, second in zip(flow.shown[::2], flow.shown[1::2], strict=True))
    assert flow_ms(DisFlow()) > 0


def test_the_warm_up_does_not_count() -> None:
    pauses = iter([0.3, *[0.0] * 5])
    assert median_ms(lambda: time.sleep(next(pauses))) < 150
