"""Fixed shapes in place of shapes that a graph would compute anew in every run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from common.arrays import AnyArray
from engines.ort import load_onnxruntime


def fix_shapes(model: onnx.ModelProto, feeds: Mapping[str, AnyArray]) -> None:
    """Give each Reshape of ``model`` (changed in place) a constant shape, with -1 for what depends on the number of rows.

    Tracing writes a shape that follows from an input's as four operators for each of its numbers. They compute nothing, but
    in a network of small tensors they take as long as what does. The shapes are read from runs of the graph, on ``feeds``
    and on fewer rows of them; one that differs in several numbers stays as it is.
    """
    graph = model.graph
    constants = {output for node in graph.node if node.op_type == "Constant" for output in node.output}
    constants |= {tensor.name for tensor in graph.initializer}
    reshapes = [node for node in graph.node if node.op_type == "Reshape" and node.input[1] not in constants]
    if not reshapes:
        return
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    shapes = [helper.make_node("Shape", [node.output[0]], [f"{node.output[0]}.shape"]) for node in reshapes]
    probe.graph.node.extend(shapes)
    del probe.graph.output[:]
    wanted = [node.output[0] for node in shapes]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in wanted)
    session = load_onnxruntime().InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = min(len(value) for value in feeds.values())
    runs = [session.run(wanted, {name: value[:count] for name, value in feeds.items()}) for count in range(1, rows + 1)]
    for node, name, *found in zip(reshapes, wanted, *runs, strict=True):
        differ = np.ptp(found, axis=0) > 0
        if differ.sum() <= 1:
            graph.initializer.append(numpy_helper.from_array(np.where(differ, -1, found[0]), name))
            node.input[1] = name
