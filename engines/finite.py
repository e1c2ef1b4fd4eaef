"""Checks that the outputs of an engine are finite and of plausible size."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from common.arrays import AnyArray
from engines.engine import Arrays, Engine, EngineError

_LOG = logging.getLogger(__name__)

LARGEST: Final = 1e6
"""Largest plausible magnitude of any output of the networks here: pixels, metres, logits."""


class NonFiniteError(EngineError):
    """A network's output was NaN, infinite or absurdly large."""


class FiniteEngine(Engine):
    """``engine`` with checked outputs: NaN, infinity and numbers beyond `LARGEST` are never returned.

    A bad output is replaced by ``instead`` everywhere; None: `infer` raises `NonFiniteError`. ``bad_answers``
    counts them; the first one is logged. Closes ``engine``. ``name`` is what the log calls it.
    """

    def __init__(self, engine: Engine, name: str, instead: float | None) -> None:
        self._engine, self._name, self._instead = engine, name, instead
        self.runtime, self.device = engine.runtime, engine.device
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.runs_to_warm_up = engine.runs_to_warm_up
        self.bad_answers = 0

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        """As the engine's `infer`, with finite outputs. Raises `NonFiniteError` for others if ``instead`` is None."""
        answer = self._engine.infer(feeds)
        bad = [name for name, array in answer.items() if not _is_sound(array)]
        if not bad:
            return answer
        self.bad_answers += 1
        if self.bad_answers == 1:
            _LOG.warning(f"{self._name} gave impossible numbers ({', '.join(bad)}); such outputs are ignored")
        if self._instead is None:
            raise NonFiniteError(f"{self._name} gave impossible numbers")
        return {name: np.full_like(array, self._instead) for name, array in answer.items()}

    @property
    def replays(self) -> int:
        """As the engine's own."""
        return self._engine.replays

    @property
    def max_rows(self) -> int:
        """As the engine's own."""
        return self._engine.max_rows

    def warm_up(self) -> None:
        """Warm the engine up without checking its outputs."""
        self._engine.warm_up()

    def close(self) -> None:
        """Free what the engine holds."""
        self._engine.close()


def _is_sound(array: AnyArray) -> bool:
    if array.dtype.kind != "f" or not array.size:
        return True
    # A sum of squares takes a third of the time of a maximum, and bounds it. Written so that NaN fails both.
    return float(np.vdot(array, array)) <= LARGEST**2 or float(np.abs(array).max()) <= LARGEST
