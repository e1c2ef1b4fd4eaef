"""The one contract of every runtime: named arrays in, named arrays out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import AnyArray
from common.errors import UserError

Arrays = Mapping[str, NDArray[np.generic]]

MANY: Final = 1 << 30
"""`Engine.max_rows` where there is no limit."""


class EngineError(UserError, RuntimeError):
    """A model or a runtime cannot be used. The message is one line that says what to do."""


class RuntimeMissingError(EngineError):
    """The runtime that was asked for is not installed, or does not start on this machine."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a network."""

    name: str
    """Name of the tensor in the ONNX graph."""
    shape: tuple[int, ...]
    """Sizes of its dimensions; -1 is free."""
    dtype: np.dtype[np.generic]
    """Type of the elements."""

    def check(self, array: NDArray[np.generic]) -> None:
        """Raise `EngineError` naming the tensor when ``array`` does not fit."""
        shape = array.shape
        fits = shape == self.shape or (
            len(shape) == len(self.shape)
            and all(want in (-1, got) for want, got in zip(self.shape, shape, strict=True))
        )
        if not fits or array.dtype != self.dtype:
            raise EngineError(
                f"tensor '{self.name}' wants {self.dtype.name} {list(self.shape)}, "
                f"got {array.dtype.name} {list(array.shape)}"
            )


class Engine(ABC):
    """A network ready to run. Used by one thread at a time; close it (or leave its ``with`` block) to free it.

    Arrays that `infer` returns belong to the caller: no later call writes into them, and they outlive the engine. So they
    can be handed to another thread, or kept as the state of the next run, without a copy.
    """

    runtime: str
    """Name of the runtime, as in ``--engine``."""
    device: str
    """What it runs on, in words."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runs_to_warm_up = 1

    @property
    def replays(self) -> int:
        """How many runs replayed what an earlier one had recorded for the GPU (CUDA graphs); 0 where there is no such thing."""
        return 0

    @property
    def max_rows(self) -> int:
        """How many rows one run takes at most: any number where the first axis of all inputs is free, else one. An engine of
        TensorRT has a limit that it was built with."""
        return MANY if all(spec.shape[:1] == (-1,) for spec in self.inputs) else 1

    @abstractmethod
    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        """Run the network once; the result holds one array for each of `outputs`, by name.

        Raises `EngineError` when an input is missing, unknown or of another shape or dtype, when the runtime fails, and
        when the engine is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds. Closing twice is harmless."""

    def warm_up(self) -> None:
        """Run the network on made-up inputs, so that what a first run sets up is not left to the first frame."""
        feeds = self.made_up_feeds()
        for _ in range(self.runs_to_warm_up):
            self.infer(feeds)

    def made_up_feeds(self) -> dict[str, AnyArray]:
        """Ones for all inputs."""
        return {spec.name: np.ones([abs(size) for size in spec.shape], spec.dtype) for spec in self.inputs}

    def check_feeds(self, feeds: Arrays) -> None:
        """Raise `EngineError` when ``feeds`` does not fit `inputs`."""
        names = {spec.name for spec in self.inputs}
        if feeds.keys() != names:
            missing, unknown = sorted(names - feeds.keys()), sorted(feeds.keys() - names)
            raise EngineError(f"wrong inputs: missing {missing}, unknown {unknown}")
        for spec in self.inputs:
            spec.check(feeds[spec.name])

    def __enter__(self) -> Engine:
        """The engine itself, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine."""
        self.close()
