"""What the regressor reads of RAFT's field: the graph gives what the CPU gives, and the flow stage hands it over unseen."""

from __future__ import annotations

import numpy as np
import pytest

from common.arrays import AnyArray
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from engines.ort import OnnxRuntimeEngine
from realtime.records import Box, Flow, Frame
from realtime.stages.flow import CELL_MEANS, RaftFlow, cell_means
from realtime.stages.raft_engine import cell_means_to_onnx


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

    def start(self, feeds: Arrays) -> AnyArray | None:
        self.check_feeds(feeds)
        self.room -= 1
        return None if self.room < 0 else np.full((1, 4, 4, 2), 3, np.float32)

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
