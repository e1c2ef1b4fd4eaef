"""Reads videos that may bring their decoder down, in a process of its own: python -m tests.realtime.sources.video_reader

For each path on standard input it answers with a line of JSON: what became of it, how many frames it had, and the most memory
that this process has had since its beginning, MB.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from common.errors import UserError
from realtime.sources import open_source

_MAX_FRAMES = 200
_ADDRESS_SPACE = 4 << 30  # a video that wants more ends with an error, and does not bring the machine down
_TIMEOUT_S = 60.0


class VideoReader:
    """The process, seen from a test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.realtime.sources.video_reader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self, path: Path) -> dict[str, Any]:
        """Read ``path`` to its end. Fails where the process dies or does not answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(_TIMEOUT_S, self._process.kill)
        watchdog.start()
        try:
            print(path, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, f"the process that reads ended ({self._process.wait()})"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _read(path: str) -> dict[str, Any]:
    frames, outcome = 0, "read"
    try:
        with open_source(path) as source:
            buffer = source.new_buffer()
            while frames < _MAX_FRAMES and source.read_into(buffer) is not None:
                frames += 1
    except UserError as error:
        outcome = str(error)
    except BaseException as error:
        outcome = f"fault: {error!r}"
    return {"outcome": outcome, "frames": frames, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    for line in sys.stdin:
        print(json.dumps(_read(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
