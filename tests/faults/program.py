"""Running the real program in a process of its own, and looking at what it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from common.errors import UserError
from formats.motion import load_motion

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "assets" / "synthetic_walk.mp4"
TIMEOUT_S = 240.0


class Failed(AssertionError):
    """A case did not end as it must."""


def must(holds: object, what: str) -> None:
    """Raise `Failed` with ``what`` unless it holds."""
    if not holds:
        raise Failed(what)


class Run:
    """One run in the new, empty folder ``folder``. Its outputs, when asked for, are out.npz, out.mp4 and out.json there."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        fault: dict[str, object] | None = None,
        outputs: str = "save record report",
        engine: str = "onnxruntime",
        prefix: tuple[str, ...] = (),
        environment: dict[str, str | None] | None = None,
        stderr_closed: bool = False,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        program = [str(ROOT / "run_camera.py")] if fault is None else ["-m", "tests.faults.driver", json.dumps(fault)]
        names = {"save": "out.npz", "record": "out.mp4", "report": "out.json"}
        asked = [part for kind in outputs.split() for part in (f"--{kind}", str(folder / names[kind]))]
        command = [*prefix, sys.executable, *program, "--view", "none", "--engine", engine, *options, *asked]
        variables = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
        for name, value in (environment or {}).items():
            variables.pop(name, None)
            if value is not None:
                variables[name] = value
        self._log = (folder / "stderr.txt").open("wb")
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=None if stderr_closed else self._log,
            preexec_fn=lambda: _as_from_a_terminal(stderr_closed),
            start_new_session=True,
        )

    @property
    def said(self) -> str:
        """All that was printed so far."""
        return (self.folder / "stderr.txt").read_text(errors="replace")

    @property
    def last_line(self) -> str:
        """The last line that was printed."""
        return (self.said.strip().splitlines() or [""])[-1]

    def send(self, number: int) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def wait_for(self, condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until ``condition``; `Failed` when the program ends or time is over before."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            must(self.process.poll() is None, f"ended before {what}: {self.last_line}")
            must(time.monotonic() < deadline, f"no {what} in time: {self.last_line}")
            time.sleep(0.02)

    def wait_for_first_line(self) -> None:
        """Wait until the program's first line has been executed: from there on it decides what a signal does."""

        def catches() -> bool:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = int(status.split("SigCgt:")[1].split()[0], 16)
            return bool(caught >> (signal.SIGTERM - 1) & 1)

        self.wait_for(catches, "first line")

    def wait_for_rows(self) -> None:
        """Wait until the first results are on the disk."""
        self.wait_for(lambda: any(self.folder.glob("out*.part")), "first result")

    def wait_for_line(self, text: str, count: int = 1) -> None:
        """Wait until ``text`` has been printed ``count`` times."""
        self.wait_for(lambda: self.said.count(text) >= count, f"line '{text}'")

    def end(self, code: int, last_line: str = "", timeout_s: float = TIMEOUT_S) -> None:
        """Wait for the end; check the exit code, that ``last_line`` is in the last line, and that there is no traceback."""
        try:
            got = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise Failed(f"hangs: {self.last_line}") from None
        must(got == code, f"exit code {got}, not {code}: {self.last_line}")
        must("Traceback" not in self.said, "a traceback was printed")
        must(last_line in self.last_line, f"last line is '{self.last_line}', wanted '{last_line}'")

    def kill(self) -> None:
        """End it, however it ended before."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def saved_frames(self, name: str = "out.npz") -> int:
        """How many frames the motion file holds; all numbers in it are finite where somebody was seen."""
        try:
            motion = load_motion(self.folder / name)
        except UserError as error:
            raise Failed(str(error)) from None
        must(np.isfinite(motion.transl[motion.person >= 0]).all(), "numbers that are not finite were saved")
        return len(np.unique(motion.frame))

    def recorded_frames(self) -> int:
        """How many frames the video plays."""
        try:
            with av.open(str(self.folder / "out.mp4")) as video:
                return sum(1 for _ in video.decode(video=0))
        except (av.FFmpegError, OSError) as error:
            raise Failed(f"the video does not play ({error})") from None

    def report(self) -> dict[str, float]:
        """The report."""
        try:
            found: dict[str, float] = json.loads((self.folder / "out.json").read_text())
        except (OSError, ValueError) as error:
            raise Failed(f"no report ({error})") from None
        return found

    def rescue(self) -> None:
        """Run tools.rescue on what a killed run left."""
        command = [sys.executable, "-m", "tools.rescue", str(self.folder / "out.npz.part")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        must(done.returncode == 0, f"rescue: {done.stderr}")


def _as_from_a_terminal(stderr_closed: bool) -> None:
    # Shells let what they start in the background ignore some signals, and nohup another.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if stderr_closed:
        os.close(2)


@contextlib.contextmanager
def running(folder: Path, *options: str, **more: object) -> Iterator[Run]:
    """A `Run` that is ended with the block."""
    run = Run(folder, *options, **more)  # type: ignore[arg-type]
    try:
        yield run
    finally:
        run.kill()
