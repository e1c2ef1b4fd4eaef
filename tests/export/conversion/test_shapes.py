"""Shapes that do not depend on the number of rows become constants, and the graph computes what it did."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from engines.ort import load_onnxruntime  # noqa: E402
from export.conversion.onnx_tools import drop_identities, normalise  # noqa: E402
from export.conversion.shapes import fix_shapes  # noqa: E402
from export.conversion.tracing import trace  # noqa: E402


class _Reshaping(nn.Module):
    """Shapes that follow from inputs' in the ways of the regressor: one free number, none, and two."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = x.shape[0], x.shape[1]
        flat = x.flatten(1).reshape(rows, columns, 4)
        square = (x.reshape(rows, -1) @ y.reshape(rows, -1).T).reshape(rows, rows, 1)
        return flat * 2, (x[:, :, 0] + y[:, :, 0]).flatten(), square.sum(1)


def test_shapes_become_constants_and_any_number_of_rows_gives_the_same() -> None:
    module = _Reshaping()
    example = (torch.rand(2, 3, 4), torch.rand(2, 3, 4))
    model = trace(module, example, ("x", "y"), ("a", "b", "c"), ((3, 4), (), (1,)))
    fix_shapes(model, {"x": example[0].numpy(), "y": example[1].numpy()})
    normalise(model)
    made = {output: node.op_type for node in model.graph.node for output in node.output}
    computed = [node for node in model.graph.node if node.op_type == "Reshape" and made.get(node.input[1]) == "Concat"]
    assert len(computed) == 1  # the one with two free numbers
    session = load_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows in (1, 2, 5):
        x, y = torch.rand(rows, 3, 4), torch.rand(rows, 3, 4)
        for got, wanted in zip(session.run(None, {"x": x.numpy(), "y": y.numpy()}), module(x, y), strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-6)


def test_a_layer_that_is_used_twice_has_its_weights_once() -> None:
    layer = nn.Linear(3, 3)
    model = trace(nn.Sequential(layer, nn.Tanh(), layer), (torch.rand(2, 3, 3),), ("x",), ("y",), ((3, 3),))
    assert any(node.op_type == "Identity" for node in model.graph.node)
    x = np.random.default_rng(0).random((4, 3, 3)).astype(np.float32)
    answers = []
    for change in (lambda _: None, drop_identities, normalise):
        change(model)
        session = load_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"x": x})[0])
    assert not any(node.op_type == "Identity" for node in model.graph.node)
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


def test_a_graph_without_computed_shapes_stays_as_it_is() -> None:
    model = trace(nn.Tanh(), (torch.rand(2, 3),), ("x",), ("y",), ((3,),))
    before = model.SerializeToString()
    fix_shapes(model, {"x": np.zeros((2, 3), np.float32)})
    assert model.SerializeToString() == before
