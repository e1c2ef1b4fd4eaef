"""What the regressor reads of RAFT's field: the graph gives what the CPU gives, and the flow stage hands it over unseen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from body.model import load_body
from common.arrays import AnyArray
from common.camera import Camera
from engines.device_array import DeviceArray
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from engines.ort import OnnxRuntimeEngine
from engines.plans import PlanPolicy
from realtime.records import BodyEstimate, Box, Flow, Frame, Keypoints
from realtime.stages.flow.crop_flow import CELL_MEANS, RaftFlow, cell_means
from realtime.stages.flow.raft_engine import cell_means_to_onnx, open_raft
from realtime.stages.regressor.body_regressor import BodyRegressor
from realtime.stages.regressor.engine_regressor import open_posing_regressor
from tests.engines.conftest import FakeGpu, fake_gpu
from tests.realtime.quick_flow import quick_flow

__all__ = ["fake_gpu"]


@pytest.mark.parametrize("cells", [32, 16, 8])
def test_the_graph_is_the_mean_of_each_cell(cells: int) -> None:
    """To a ten-thousandth of a pixel of the crop; a pixel of it is 1/128 of the side."""
    rng = np.random.default_rng(cells)
    fields = rng.normal(0, 9, (2, 128, 128, 2)).astype(np.float32)
    with OnnxRuntimeEngine(cell_means_to_onnx(cells), label="cell-means") as engine:
        found = engine.infer({"flow": fields})[CELL_MEANS]
    for field, means in zip(fields, found, strict=True):
        assert means.shape == (cells, cells, 2)
        expected = cell_means(Flow(1, 0, 1 / 30, Box(0, 0, 128), field), cells)
        np.testing.assert_allclose(means, expected, atol=1e-4 / 128)
        independent = field.astype(np.float64).reshape(cells, 128 // cells, cells, 128 // cells, 2).mean((1, 3)) / 128
        np.testing.assert_allclose(means, independent, atol=1e-4 / 128)


def test_cells_that_do_not_divide_the_field_are_refused() -> None:
    with pytest.raises(EngineError, match=r"^a flow field of 128 px has no 24 equal cells$"):
        cell_means_to_onnx(24)


def test_a_body_is_the_same_whether_the_means_stay_or_come_down(fake_gpu: FakeGpu, tmp_path: Path) -> None:
    (tmp_path / "quick.onnx").write_bytes(quick_flow())
    policy, arrays, camera = PlanPolicy("fp32"), load_body("body_1722"), Camera(544.0, 544.0, 320.0, 240.0)
    rng = np.random.default_rng(3)
    frames = [Frame(number, 0, number / 30, rng.integers(0, 255, (96, 96, 3), np.uint8)) for number in range(8)]
    points = rng.uniform(10, 90, (17, 2)).astype(np.float32)
    found: dict[bool, list[BodyEstimate]] = {}
    with (
        open_posing_regressor("motion", arrays, policy) as posing,
        open_raft(str(tmp_path / "quick.onnx"), 32, policy) as raft,
    ):
        for shown in (True, False):
            flow = RaftFlow(raft, raft.start)
            flow.shows = shown
            regressor = BodyRegressor(posing, posing.poser, filters=False)
            found[shown] = []
            waits = fake_gpu.cuda.waits
            for last, now in pairwise(frames):
                moved = flow(last, now, Box(48, 48, 80))
                assert bool(moved.field.size) is shown
                assert isinstance(moved.means, DeviceArray) is not shown
                keypoints = Keypoints(now.sequence, 0, points, np.full(17, 0.9, np.float32))
                found[shown].append(regressor(keypoints, camera, now.time_s, moved))
                moved.release()
            if not shown:
                assert fake_gpu.cuda.waits - waits <= len(frames), "one a frame, and nobody waits for the flow"
        still = BodyRegressor(posing, posing.poser, filters=False)
        for now in frames[1:]:
            keypoints = Keypoints(now.sequence, 0, points, np.full(17, 0.9, np.float32))
            without = still(keypoints, camera, now.time_s)
        assert np.abs(without.body_pose - found[True][-1].body_pose).max() > 1e-3, "the flow counts"
    for one, other in zip(found[True], found[False], strict=True):
        np.testing.assert_array_equal(one.vertices, other.vertices)


class Left(DeviceArray):
    """Numbers that a test can see."""

    def rows(self) -> list[DeviceArray]:
        return [self]


class Raft(Engine):
    """A field of ones, its means of twos, and a place on the GPU for ``room`` answers."""

    def __init__(self, room: int = 1) -> None:
        self.runtime, self.device = "tensorrt", "test"
        crops, one = (1, 24, 24, 3), np.dtype(np.float32)
        self.inputs = (
            TensorSpec("previous", crops, np.dtype(np.uint8)),
            TensorSpec("current", crops, np.dtype(np.uint8)),
        )
        self.outputs = (TensorSpec("flow", (1, 8, 8, 2), one), TensorSpec(CELL_MEANS, (1, 4, 4, 2), one))
        self.room, self.runs = room, 0

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        self.check_feeds(feeds)
        self.runs += 1
        return {"flow": np.ones((1, 8, 8, 2), np.float32), CELL_MEANS: np.full((1, 4, 4, 2), 2, np.float32)}

    def start(self, feeds: Arrays) -> DeviceArray | None:
        self.check_feeds(feeds)
        self.room -= 1
        return None if self.room < 0 else np.full((1, 4, 4, 2), 3, np.float32).view(Left)

    def close(self) -> None: ...


def test_the_field_comes_down_for_those_who_look_at_it_alone() -> None:
    engine = Raft()
    flow = RaftFlow(engine, engine.start)
    frames = [Frame(number, 0, number / 30, np.zeros((48, 48, 3), np.uint8)) for number in range(4)]
    seen = flow(frames[0], frames[1], Box(24, 24, 24))
    assert seen.field.shape == (8, 8, 2)
    assert seen.means is not None
    assert (seen.means == 2).all()
    flow.shows = False
    unseen = flow(frames[1], frames[2], Box(24, 24, 24))
    assert unseen.means is not None
    assert not unseen.field.size
    assert (unseen.means == 3).all()
    assert engine.runs == 1
    full = flow(frames[2], frames[3], Box(24, 24, 24))
    assert full.field.size, "without a place on the GPU it comes down"
    assert engine.runs == 2
