"""Opens a user's model once in a process of its own, whose memory and time are bounded.

What a network needs cannot be told from its file: a handful of operators makes a tensor of terabytes out of a few numbers, a
loop may never end, and a runtime may crash on a graph that it does not expect. In another process that costs one line.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from engines.engine import EngineError

_MAX_BYTES: Final = 6 << 30
_LONGEST_S: Final = 60.0
_OUT_OF_MEMORY, _REFUSED = 3, 4
_SAYS_AT_MOST: Final = 400


def try_model(model: Path, runtime: str = "auto", max_bytes: int = _MAX_BYTES, longest_s: float = _LONGEST_S) -> None:
    """Open the ONNX file ``model`` in ``runtime`` (of the CPU) and run it once on ones.

    Takes about as long as starting Python and the runtime. Raises `EngineError` where it cannot be opened or run within
    ``max_bytes`` of memory and ``longest_s`` seconds.
    """
    root = str(Path(__file__).resolve().parent.parent)
    program = f"import sys; sys.path[:0] = [{root!r}]; from engines.trial import main; main()"
    command = [sys.executable, "-c", program, str(model.absolute()), runtime, str(max_bytes)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=longest_s, check=False)
    except subprocess.TimeoutExpired:
        raise EngineError(f"{model.name} does not answer within {longest_s:.0f} s: export it again") from None
    except OSError:
        return  # no process can be started here
    if done.returncode == _OUT_OF_MEMORY or b"bad_alloc" in done.stderr or b"MemoryError" in done.stderr:
        raise EngineError(f"{model.name} needs more than {max_bytes / (1 << 30):.3g} GB of memory: export it again")
    if done.returncode == _REFUSED:
        raise EngineError(done.stdout.decode(errors="replace").strip()[:_SAYS_AT_MOST])
    if done.returncode < 0:
        raise EngineError(f"{model.name} ends the runtime that opens it (signal {-done.returncode}): export it again")


def main() -> None:
    """The other process: model, runtime and bytes of memory are on the command line."""
    path, runtime, max_bytes = sys.argv[1:]
    _bound_memory(int(max_bytes))
    from engines.registry import open_engine

    try:
        with open_engine(Path(path), "onnxruntime" if runtime in ("auto", "tensorrt") else runtime) as engine:
            engine.infer(engine.made_up_feeds())
    except MemoryError:
        sys.exit(_OUT_OF_MEMORY)
    except EngineError as error:
        said = str(error)
        if any(sign in said.lower() for sign in ("bad_alloc", "allocate", "memory")):
            sys.exit(_OUT_OF_MEMORY)
        print(said)
        sys.exit(_REFUSED)


def _bound_memory(max_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_CORE):
        limit = max_bytes if kind == resource.RLIMIT_DATA else 0
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or hard > limit:
            resource.setrlimit(kind, (limit, hard))
