"""Files that are no ONNX models, and the names inside those that are."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.engine import EngineError
from engines.onnx_file import explain, open_onnx


def test_names_in_the_order_of_the_file(linear: bytes) -> None:
    model = open_onnx(linear)
    assert model.inputs == ("x",)
    assert model.outputs == ("same", "y")


@pytest.mark.parametrize("data", [b"", b"hello world", b"\x00" * 64, b"\xff" * 64, b"<!doctype html><html></html>"])
def test_other_files_are_refused_in_one_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(EngineError) as caught:
        open_onnx(path)
    assert str(caught.value) == "x.onnx is not an ONNX model, or is cut: copy or export it again"


def test_every_cut_is_noticed(linear: bytes) -> None:
    # The opset follows the graph: without its last bytes a file is still read, and refused by the runtime.
    end = linear.index(b"same", linear.index(b"linear"))
    for size in range(end):
        with pytest.raises(EngineError):
            open_onnx(linear[:size])


def test_missing_file() -> None:
    with pytest.raises(EngineError, match=r"cannot read nowhere\.onnx: No such file"):
        open_onnx(Path("nowhere.onnx"))


def test_explain_keeps_the_line_that_says_something() -> None:
    text = "Exception from a.cpp:105:\nException from b.cpp:41:\nError during import of ONNX model.\n\n"
    assert explain(RuntimeError(text)) == "Error during import of ONNX model."
    assert explain(RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : bad")) == "7 : INVALID_PROTOBUF : bad"
    assert explain(RuntimeError()) == "RuntimeError"
