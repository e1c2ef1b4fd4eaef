"""The real program with something broken in it.

python -m tests.faults.driver '{"model": "motion", "kind": "nan", "at": 20}' --source VIDEO

``kind`` is one of `tests.faults.engines.Fault` for ``model`` a network's name or "flow", "capture", "record", "save".
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import run_camera
from common.errors import UserError
from engines.engine import Engine
from realtime import networks
from realtime.outputs.motion_writer import MotionWriter
from realtime.outputs.video import VideoRecorder
from realtime.sources.file import FileSource
from realtime.stages.flow.crop_flow import DisFlow
from tests.faults.engines import Fault, FaultyEngine

_METHODS: dict[str, tuple[type[Any], str]] = {
    "flow": (DisFlow, "__call__"),
    "capture": (FileSource, "_advance"),
    "record": (VideoRecorder, "write"),
    "save": (MotionWriter, "write"),
}


def break_method(fault: Fault) -> None:
    """Make one method of the program fail from its call ``at`` on."""
    owner, name = _METHODS[fault.model]
    real, calls = getattr(owner, name), [0]

    def broken(*arguments: Any) -> Any:
        calls[0] += 1
        if fault.at <= calls[0] <= fault.until:
            if fault.kind == "raise":
                raise UserError(f"{fault.model} fails, as it was told")
            if fault.kind == "crash":
                raise ZeroDivisionError("a fault of the program, as it was told")
            if fault.kind == "hang":
                time.sleep(10**6)
            time.sleep(0.3)
        return real(*arguments)

    setattr(owner, name, broken)


def break_network(fault: Fault) -> None:
    """Make one network fail."""
    real = networks.open_engine

    def open_faulty(model: str | Path, *arguments: Any, **more: Any) -> Engine:
        engine = real(model, *arguments, **more)
        return FaultyEngine(engine, fault) if fault.model in Path(model).name else engine

    networks.open_engine = open_faulty  # type: ignore[assignment]


def main() -> None:
    """Run the program with the fault that the first argument describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", type=lambda text: Fault(**json.loads(text)), help="JSON with the fields of Fault")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of run_camera.py")
    given = parser.parse_args()
    break_method(given.fault) if given.fault.model in _METHODS else break_network(given.fault)
    sys.argv = ["run_camera.py", *given.options]
    run_camera.main()


if __name__ == "__main__":
    main()
