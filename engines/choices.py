"""What networks can run on and in which precision, by the names that options and messages use.

Imports nothing heavy: command lines are made from these names.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

RuntimeName = Literal["tensorrt", "onnxruntime", "openvino"]
RuntimeChoice = Literal["auto", RuntimeName]
"""auto: TensorRT where it runs, else the fastest on the CPU."""
Precision = Literal["fp32", "fp16", "int8"]
PrecisionChoice = Literal["auto", Precision]
"""auto: fp16 for networks whose numbers hold in it."""

RUNTIMES: Final[tuple[RuntimeChoice, ...]] = get_args(RuntimeChoice)
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
