"""Images go to a network as bytes, and it answers as if they had come as floats."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.manifest import shipped_models
from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import check, take_uint8

PIXELS = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def network(kind: int, casts: bool) -> onnx.ModelProto:
    """``y`` = 3 times ``image`` minus ``other``; ``image`` is of the type ``kind``."""
    image = "wide" if casts else "image"
    nodes = [helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT)] if casts else []
    nodes += [helper.make_node("Mul", [image, "three"], ["m"]), helper.make_node("Sub", ["m", "other"], ["y"])]
    shape = ["n", 4, 4, 3]
    inputs = [helper.make_tensor_value_info("image", kind, shape)]
    inputs.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, shape))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "x", inputs, outputs, [numpy_helper.from_array(np.float32(3), "three")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("kind", "casts"), [(TensorProto.FLOAT, False), (TensorProto.INT32, True)])
def test_the_answer_is_that_of_the_wide_image(kind: int, casts: bool) -> None:
    model = network(kind, casts)
    nodes = len(model.graph.node)
    take_uint8(model, "image")
    check(model)
    assert len(model.graph.node) == nodes + (not casts), "a cast that is there is enough"
    with OnnxRuntimeEngine(model.SerializeToString()) as engine:
        assert [spec.dtype for spec in engine.inputs] == [np.uint8, np.float32]
        found = engine.infer({"image": PIXELS, "other": PIXELS.astype(np.float32)})["y"]
    np.testing.assert_array_equal(found, 2 * PIXELS.astype(np.float32))


@pytest.mark.parametrize("name", [name for name, row in shipped_models().items() if row.kind != "regressor"])
def test_shipped_networks_of_images_take_bytes(name: str) -> None:
    row = shipped_models()[name]
    assert row.notes.startswith("uint8 RGB")
    images = onnx.load_from_string(row.read()).graph.input
    assert {value.type.tensor_type.elem_type for value in images} == {TensorProto.UINT8}
