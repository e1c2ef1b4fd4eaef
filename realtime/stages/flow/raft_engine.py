"""RAFT on a GPU together with the means that the regressor reads, so that the field need not be copied to the host."""

from __future__ import annotations

from typing import Final

from engines.engine import EngineError
from engines.plans import PlanPolicy
from engines.registry import LinkedModel, open_linked
from engines.tensorrt import TensorRtEngine
from realtime.options import MAX_PERSONS
from realtime.stages.flow.crop_flow import CELL_MEANS, FLOW_SIZE

_FRAMES: Final = 4
"""Frames whose flow may be on the GPU at once: being computed, waiting, in the regressor, and one in reserve."""


def cell_means_to_onnx(cells: int, size: int = FLOW_SIZE) -> bytes:
    """The graph of `crop_flow.cell_means` for N fields: flow (N, size, size, 2) float32, px, to `CELL_MEANS`
    (N, cells, cells, 2), as a share of the crop's side. Raises `EngineError` where ``cells`` do not divide ``size``."""
    from body.onnx_graph import GraphBuilder  # slow to import, and not needed on a CPU

    if size % cells:
        raise EngineError(f"a flow field of {size} px has no {cells} equal cells")
    graph, side = GraphBuilder(), size // cells
    split = graph("Reshape", "flow", graph.shape(-1, cells, side, cells, 2 * side))
    rows = graph("ReduceMean", split, axes=[2], keepdims=0)
    each = graph("Reshape", rows, graph.shape(-1, cells, cells, side, 2))
    means = graph("ReduceMean", each, axes=[3], keepdims=0)
    graph("Mul", means, graph.weight(1 / size), into=CELL_MEANS)
    return graph.model({"flow": (size, size, 2)}, {CELL_MEANS: (cells, cells, 2)}, "cell-means")


def open_raft(model: str, cells: int, policy: PlanPolicy) -> TensorRtEngine:
    """The flow network ``model`` in TensorRT, with `CELL_MEANS` of ``cells``² cells, which it can leave on the GPU.

    Raises `EngineError` if it cannot be opened.
    """
    try:
        means = cell_means_to_onnx(cells)
    except ImportError as error:
        raise EngineError(f"the graph of the cells' means cannot be made ({error}): pip install onnx") from None
    links = [LinkedModel(model, policy), LinkedModel(means, policy.exact, "cell-means")]
    return open_linked(links, {"flow": "flow"}, leaves=(CELL_MEANS, _FRAMES * MAX_PERSONS))
