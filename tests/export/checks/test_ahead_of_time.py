"""NVIDIA's own parser and compiler take every graph of ours, and refuse what must be refused, on a CPU.

This is TensorRT-RTX's ahead-of-time build, not TensorRT; ``make rtx`` installs it and runs these tests.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from engines.choices import PRECISIONS, Precision
from engines.engine import Arrays, EngineError
from engines.free_rows import with_free_rows
from engines.ort import OnnxRuntimeEngine
from export.checks.ahead_of_time import build
from export.conversion.network import PipelineNetwork
from export.conversion.precision import convert, distinct
from export.networks import load_networks
from realtime.stages.flow.raft_engine import cell_means_to_onnx
from realtime.stages.regressor.smoothing_graph import rotation_filter_to_onnx
from tests.export.conversion.test_precision import REFUSED, small_network

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: make rtx", exc_type=ImportError)

NETWORKS = load_networks()


def invented(network: PipelineNetwork) -> list[Arrays]:
    """Inputs of the right shapes. They calibrate nothing well, and prove a graph as well as any."""
    rng = np.random.default_rng(0)
    with OnnxRuntimeEngine(network.data) as engine:
        return [
            {
                spec.name: (rng.random([abs(size) for size in spec.shape]) * 2 + 0.1).astype(spec.dtype)
                for spec in engine.inputs
            }
        ]


@pytest.mark.parametrize(
    ("name", "precision"), [(name, each) for name in NETWORKS for each in distinct(NETWORKS[name])]
)
def test_every_network_builds(name: str, precision: Precision) -> None:
    network = NETWORKS[name]
    converted = convert(network, precision, invented(network))
    built = build(converted.data, name)
    assert built.layers > 50
    assert 0.3 * len(converted.data) < built.size < 20 * len(converted.data)


def test_the_rotation_filter_builds_for_several_people() -> None:
    assert build(rotation_filter_to_onnx(), "smoothing", batch=(1, 2, 6)).layers > 20


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["movenet-lightning", "movenet-thunder"])
def test_keypoint_networks_build_for_several_people(name: str, precision: Precision) -> None:
    network = replace(NETWORKS[name], data=with_free_rows(NETWORKS[name].data))
    assert build(convert(network, precision, ()).data, name, batch=(1, 1, 6)).layers > 50


@pytest.mark.parametrize("cells", [32, 16])
def test_the_means_of_raft_s_field_build_for_several_people(cells: int) -> None:
    assert build(cell_means_to_onnx(cells), "cell-means", batch=(1, 2, 6)).layers >= 1


@pytest.mark.timeout(300)  # three builds
def test_lower_precision_makes_a_smaller_engine() -> None:
    network = NETWORKS["movenet-multipose"]
    sizes = [build(convert(network, precision, invented(network)).data, "x").size for precision in PRECISIONS]
    assert sizes[1] < 0.7 * sizes[0]
    assert sizes[2] < sizes[0]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_refused_is_refused_by_the_nodes_name(place: int) -> None:
    """A determinant, an operator of one's own, unsigned quantisation: the same that ``export.conversion.operators`` refuses."""
    model, _ = REFUSED[place]
    if place == 2:
        dequantise = onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], "after")
        model.graph.node[0].output[0] = "q"
        model.graph.node.append(dequantise)
    with pytest.raises(EngineError, match="'culprit'"):
        build(model.SerializeToString(), "bad")


def test_an_error_does_not_spoil_the_next_build() -> None:
    model = small_network()
    model.graph.node[0].op_type = "Det"
    with pytest.raises(EngineError):
        build(model.SerializeToString(), "bad")
    assert build(small_network().SerializeToString(), "good").layers > 5
