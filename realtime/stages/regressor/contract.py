"""The inputs and outputs of a regressor, and checks that a network has them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np

from body.joints import JOINTS
from common.arrays import AnyArray
from engines.engine import Engine, EngineError, TensorSpec

_FLOAT: Final = np.dtype(np.float32)
_FREE: Final = -1
_STATE: Final = -2  # any length, the same for input and output
_CELLS: Final = -3  # the same for both sides of the grid of flow
_MAX_SIZE: Final = 1 << 16
_INPUTS: Final = {"points": (17, 2), "confidence": (17,), "camera": (4,), "dt": (), "state": (_STATE,)}
_FLOW_INPUTS: Final = {"flow": (_CELLS, _CELLS, 2), "box": (3,), "flow_valid": ()}
_OUTPUTS: Final = {"rotations": (JOINTS, 3, 3), "betas": (10,), "pelvis": (3,), "next_state": (_STATE,)}
_MORE_OUTPUTS: Final = {
    "steady_points": (17, 2),
    "joint_error": (JOINTS,),
    "contact": (_FREE,),
    "betas_sigma": (10,),
    "up": (3,),
    "up_sigma": (),
    "root_velocity": (3,),
}
"""Shapes by name, without the first axis, which is that of people. Float32 everywhere."""


def check_interface(engine: Engine) -> None:
    """Raise `EngineError` unless the inputs and outputs that ``engine`` declares are those of a regressor."""
    inputs = {spec.name: spec for spec in engine.inputs}
    outputs = {spec.name: spec for spec in engine.outputs}
    names = set(inputs)
    if names not in (set(_INPUTS), _INPUTS | _FLOW_INPUTS.keys()) or not outputs.keys() >= _OUTPUTS.keys():
        raise EngineError(
            f"not a regressor of this project: it reads {', '.join(inputs)} and gives {', '.join(sorted(outputs))}, "
            f"wanted {', '.join(sorted(_INPUTS))} and {', '.join(sorted(_OUTPUTS))}; choose one with --regressor"
        )
    sizes = {_STATE: _last(inputs["state"]), _CELLS: _last(inputs["flow"], 1) if "flow" in inputs else 1}
    if not all(0 < size <= _MAX_SIZE for size in sizes.values()):
        raise EngineError(
            f"not a regressor of this project: its memory has {sizes[_STATE]} numbers and its flow {sizes[_CELLS]} cells a "
            "side; choose one with --regressor"
        )
    for specs, known in ((inputs, _INPUTS | _FLOW_INPUTS), (outputs, _OUTPUTS | _MORE_OUTPUTS)):
        for name in specs.keys() & known.keys():
            wanted = tuple(sizes.get(size, size) for size in known[name])
            declared = _fits(specs[name].shape[1:], wanted)
            is_unknown = specs is outputs and not specs[name].shape  # a runtime that could not tell
            if specs[name].dtype.name != "float32" or not (declared or is_unknown):
                raise EngineError(_wrong(name, specs[name].dtype.name, specs[name].shape, wanted))


def check_answer(answer: Mapping[str, AnyArray], people: int, state: int) -> None:
    """Raise `EngineError` unless a regressor's outputs for ``people`` people have the right shapes; ``state`` is the length of
    its recurrent state."""
    for name, wanted in _answer_shapes(people, state):
        found = answer.get(name)
        if found is None or (found.shape == wanted and found.dtype == _FLOAT):
            continue
        if found.dtype != _FLOAT or not _fits(found.shape, wanted):
            raise EngineError(_wrong(name, found.dtype.name, found.shape, wanted[1:]))


@cache
def _answer_shapes(people: int, state: int) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all outputs that a regressor may have."""
    shapes = (_OUTPUTS | _MORE_OUTPUTS).items()
    return [(name, (people, *(state if size == _STATE else size for size in shape))) for name, shape in shapes]


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(a == b or -1 in (a, b) for a, b in zip(found, wanted, strict=True))


def _last(spec: TensorSpec, axis: int = -1) -> int:
    return spec.shape[axis] if len(spec.shape) > 1 else 0


def _wrong(name: str, dtype: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    listed = ", ".join(map(str, wanted))
    return (
        f"not a regressor of this project: '{name}' is {dtype} {list(found)}, wanted float32 [people{', ' * bool(wanted)}"
        f"{listed}]; choose one with --regressor"
    )
