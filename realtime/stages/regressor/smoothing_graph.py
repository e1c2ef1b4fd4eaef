"""The filter of rotations as an ONNX graph, so that a GPU can run it between the regressor and the body.

Values are those of `smoothing.RotationFilter`, but for turns of half a revolution between two frames, whose
axis this graph cannot tell. No control flow, any number of people.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from body.joints import JOINTS
from body.onnx_graph import GraphBuilder
from realtime.stages.regressor.smoothing import ROTATION, OneEuro

_TINY: Final = 1e-14  # under the roots: the angle over its sine stays 1 at zero

# Columns of (9, 3): half of what a flattened matrix differs from its transpose, as a vector; and its inverse.
_VECTOR = np.zeros((9, 3))
for _axis, (_up, _down) in enumerate(((7, 5), (2, 6), (3, 1))):
    _VECTOR[_up, _axis], _VECTOR[_down, _axis] = 0.5, -0.5
_MATRIX = 2 * _VECTOR.T
_TRACE = np.eye(3).reshape(9, 1)


def rotation_filter_to_onnx(settings: OneEuro = ROTATION) -> bytes:
    """The serialised graph for N people.

    Inputs, float32: measured (N, 24, 3, 3) rotations; filter_dt (N, 1) seconds since the last run; last_rotations
    (N, 24, 3, 3) and last_speed (N, 24, 3) rad/s, outputs of the last run; goes_on (N, 1), 1, or 0 for a person without a last
    run. Outputs: smooth_rotations (N, 24, 3, 3) and speed (N, 24, 3) rad/s.
    """
    graph = GraphBuilder()
    dt = graph("Reshape", "filter_dt", graph.shape(-1, 1, 1))
    goes_on = graph("Reshape", "goes_on", graph.shape(-1, 1, 1))
    foreseen = "last_rotations"
    if settings.memory_s > 0:
        decay = graph("Exp", graph("Mul", dt, graph.weight(-1 / settings.memory_s)))
        ahead = graph("Mul", graph("Sub", graph.weight(1), decay), graph.weight(settings.memory_s))
        foreseen = graph("MatMul", "last_rotations", _exp(graph, graph("Mul", "last_speed", ahead)))
    moved = graph("Div", _log(graph, _between(graph, "last_rotations", "measured")), dt)
    share = _alpha(graph, graph.weight(settings.speed_hz), dt)
    speed = graph("Add", "last_speed", graph("Mul", share, graph("Sub", moved, "last_speed")))
    cutoff = graph(
        "Add", graph("Mul", _length(graph, speed), graph.weight(settings.gain)), graph.weight(settings.rest_hz)
    )
    arc = graph("Mul", _log(graph, _between(graph, foreseen, "measured")), _alpha(graph, cutoff, dt))
    smooth = graph("MatMul", foreseen, _exp(graph, arc))
    # The measured value if there was no last run; the product with the mask suffices, because both values are finite.
    mask = graph("Reshape", goes_on, graph.shape(-1, 1, 1, 1))
    change = graph("Mul", graph("Sub", smooth, "measured"), mask)
    graph("Add", "measured", change, into="smooth_rotations")
    graph("Mul", speed, goes_on, into="speed")
    turns, speeds = (JOINTS, 3, 3), (JOINTS, 3)
    return graph.model(
        {"measured": turns, "filter_dt": (1,), "last_rotations": turns, "last_speed": speeds, "goes_on": (1,)},
        {"smooth_rotations": turns, "speed": speeds},
        "smoothing",
    )


def _alpha(graph: GraphBuilder, cutoff: str, dt: str) -> str:
    """`OneEuro.alpha`."""
    step = graph("Mul", graph("Mul", cutoff, dt), graph.weight(2 * math.pi))
    return graph("Div", step, graph("Add", step, graph.weight(1)))


def _between(graph: GraphBuilder, start: str, end: str) -> str:
    """The rotations from ``start`` to ``end``."""
    return graph("MatMul", graph("Transpose", start, perm=[0, 1, 3, 2]), end)


def _length(graph: GraphBuilder, vectors: str) -> str:
    """(N, 24, 1) lengths of (N, 24, 3)."""
    squares = graph("ReduceSum", graph("Mul", vectors, vectors), graph.shape(2), keepdims=1)
    return graph("Sqrt", graph("Add", squares, graph.weight(_TINY)))


def _log(graph: GraphBuilder, rotations: str) -> str:
    """Axis-angle (N, 24, 3) of matrices (N, 24, 3, 3)."""
    flat = graph("Reshape", rotations, graph.shape(-1, JOINTS, 9))
    sine = graph("MatMul", flat, graph.weight(_VECTOR))  # along the axis
    cosine = graph("MatMul", flat, graph.weight(_TRACE / 2))
    cosine = graph("Sub", cosine, graph.weight(0.5))
    length = _length(graph, sine)
    # The angle from half of it: ONNX has no arc tangent of two numbers. At half a revolution the divisor is zero.
    radius = graph("Sqrt", graph("Add", graph("Mul", length, length), graph("Mul", cosine, cosine)))
    divisor = graph("Max", graph("Add", radius, cosine), graph.weight(1e-6))
    angle = graph("Mul", graph("Atan", graph("Div", length, divisor)), graph.weight(2))
    return graph("Mul", sine, graph("Div", angle, length))


def _exp(graph: GraphBuilder, vectors: str) -> str:
    """Matrices (N, 24, 3, 3) of axis-angle (N, 24, 3), by Rodrigues' formula."""
    half = graph("Mul", _length(graph, vectors), graph.weight(0.5))
    ratio = graph("Div", graph("Sin", half), half)  # sin(t/2) / (t/2)
    first = graph("Mul", ratio, graph("Cos", half))  # sin(t) / t
    second = graph("Mul", graph("Mul", ratio, ratio), graph.weight(0.5))  # (1 - cos t) / t²
    cross = graph("Reshape", graph("MatMul", vectors, graph.weight(_MATRIX)), graph.shape(-1, JOINTS, 3, 3))
    wide = graph.shape(-1, JOINTS, 1, 1)
    once = graph("Mul", cross, graph("Reshape", first, wide))
    twice = graph("Mul", graph("MatMul", cross, cross), graph("Reshape", second, wide))
    return graph("Add", graph("Add", once, twice), graph.weight(np.eye(3)))
