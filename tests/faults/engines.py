"""Networks that fail at a moment of the test's choice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.arrays import AnyArray
from engines.engine import Arrays, Engine, EngineError
from engines.registry import open_engine
from realtime.networks import EngineOpener


@dataclass
class Fault:
    """What goes wrong: ``kind`` is nan, huge, raise, crash, hang or slow; from call ``at`` to call ``until`` of every network
    whose name contains ``model``. A hanging call ends when ``release`` is set; ``reached`` is set when the fault begins."""

    model: str
    kind: str
    at: int
    until: int = 10**9
    release: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)


class FaultyEngine(Engine):
    """``engine`` with ``fault``."""

    def __init__(self, engine: Engine, fault: Fault) -> None:
        self._engine, self._fault, self.calls = engine, fault, 0
        self.runtime, self.device, self.inputs, self.outputs = (
            engine.runtime, engine.device, engine.inputs, engine.outputs
        )  # fmt: skip

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        self.calls += 1
        fault = self._fault
        if not fault.at <= self.calls <= fault.until:
            return self._engine.infer(feeds)
        fault.reached.set()
        actions: dict[str, Callable[[], object]] = {
            "raise": self._refuse,
            "crash": self._crash,
            "hang": fault.release.wait,
            "slow": lambda: time.sleep(0.5),
        }
        actions.get(fault.kind, lambda: None)()
        answer = self._engine.infer(feeds)
        bad = {"nan": np.nan, "huge": 1e30}.get(fault.kind)
        return answer if bad is None else {name: np.full_like(array, bad) for name, array in answer.items()}

    def warm_up(self) -> None:
        self._engine.warm_up()  # not one of the calls that count

    def close(self) -> None:
        self._engine.close()

    def _refuse(self) -> None:
        raise EngineError("the network fails, as it was told")

    def _crash(self) -> None:
        raise ZeroDivisionError("a fault of the program, as it was told")


def opener(fault: Fault, runtime: str = "onnxruntime") -> EngineOpener:
    """Opens engines as the program does, those that ``fault`` names with it."""

    def open_faulty(model: str | Path) -> Engine:
        engine = open_engine(model, runtime)
        return FaultyEngine(engine, fault) if fault.model in Path(model).name else engine

    return open_faulty
