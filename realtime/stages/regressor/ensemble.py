"""A weighted mean of two predictions of the regressor: one with its recurrent state, one from the frame alone.

The state steadies poses and delays them: knees that straighten stay bent for some 50 ms, and an error persists for seconds.
Without its state, as for a person never seen before, the network has no delay and about the same error, but jitters. The
errors of the two differ, and their mean is nearer to the person than either (docs/results/look-ahead.md). A look-ahead
over enough frames smooths the jitter; live sources, which have none, do not use the mean.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from body.rotations import nearest_rotation
from engines.engine import Arrays, Engine
from realtime.stages.regressor.contract import check_answer

FORGETFUL: Final = np.float32(1 / 3)
"""Weight of the prediction without memory. With a half, unseen synthetic people in everyday motion are no nearer and jitter
more."""


class MemoryEnsemble(Engine):
    """A regressor like the one it wraps, whose ``rotations`` and ``pelvis`` are means of those with and without memory.

    All other outputs are those with memory, and so are all outputs for a person whose two predictions face different ways.
    If ``engine`` takes enough rows, both come from one run. `close` leaves ``engine`` open.
    """

    def __init__(self, engine: Engine) -> None:
        """``engine``: a regressor, for which a state of zeros is a person never seen before."""
        self._engine, self.runtime, self.device = engine, engine.runtime, engine.device
        self.inputs, self.outputs = engine.inputs, engine.outputs

    @property
    def max_rows(self) -> int:
        """The wrapped engine's; for more than half as many people it runs twice."""
        return self._engine.max_rows

    def infer(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """See `engines.engine.Engine.infer`. Raises what the wrapped engine raises."""
        anew = {**feeds, "state": np.zeros_like(feeds["state"])}
        people = len(feeds["state"])
        if 2 * people <= self._engine.max_rows:
            both = self._answer({name: np.concatenate([feeds[name], anew[name]]) for name in feeds})
            remembering = {name: array[:people] for name, array in both.items()}
            forgetful = {name: array[people:] for name, array in both.items()}
        else:
            remembering, forgetful = self._answer(feeds), self._answer(anew)
        one, other = remembering["rotations"], forgetful["rotations"]
        # The trace of a rotation is 1 + 2 cos(angle): beyond a right angle between the two, the one with memory counts alone.
        agree = (one[:, 0] * other[:, 0]).sum((1, 2)) > 1
        mean = nearest_rotation(one + FORGETFUL * (other - one))
        rotations = np.where(agree[:, None, None, None], mean, one)
        here, there = remembering["pelvis"], forgetful["pelvis"]
        pelvis = np.where(agree[:, None], here + FORGETFUL * (there - here), here)
        return {**remembering, "rotations": rotations.astype(np.float32), "pelvis": pelvis.astype(np.float32)}

    def _answer(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        out = self._engine.infer(feeds)
        check_answer(out, *feeds["state"].shape)
        return out

    def close(self) -> None:
        """Free nothing: whoever opened the wrapped engine closes it."""
