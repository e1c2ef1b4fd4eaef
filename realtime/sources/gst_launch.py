"""A child process that runs ``gst-launch-1.0`` and sends the frames of a pipeline through a pipe.

Through one pipe frames come as BGR, and through another what an ``identity`` element says of each of them before it is handed
on: its size in bytes and its timestamp. One thread can read both in turn. It never waits longer for a frame than it is told to:
a camera's driver that hangs does not end, and says nothing.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from common.arrays import ImageArray
from common.errors import UserError
from realtime.sources.address import public_name

PROGRAM: Final = "gst-launch-1.0"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"']+")
_NAME: Final = "motionmesh"
_CAPS = re.compile(
    rf"{_NAME}\.GstPad:src: caps = .*\bwidth=\(int\)(\d+), height=\(int\)(\d+)(?:.*\bframerate=\(fraction\)(\d+)/(\d+))?"
)
_BUFFER = re.compile(rf"chain.*\({_NAME}:sink\) \((\d+) bytes, dts: [^,]*, pts: (none|(\d+):(\d+):([\d.]+))")
_ERROR = re.compile(
    r"(?:(?:ERROR|WARNING: erroneous pipeline): (?:from element \S+: )?|Error generated\. [^,]*, \w+:\d+ )(.*)"
)
"""How GStreamer names an error; NVIDIA's camera element prints its own with file, function and line."""
_NO_DETAIL = re.compile(r"ERROR: |WARNING: |Execution ended after |Setting pipeline to |Freeing pipeline ")
"""What comes instead of an error's details where it has none."""
_EXIT_S: Final = 2.0
_LAST_WORDS_S: Final = 0.5
_BLOCK_BYTES: Final = 1 << 16
_PIPE_BYTES: Final = 1 << 20
_SET_PIPE_SIZE: Final = 1031  # fcntl.F_SETPIPE_SZ, which Python 3.9 and macOS do not name
_KEPT_PROBLEMS: Final = 8


class FrameHeader(NamedTuple):
    """What is known of a frame before its pixels come."""

    size: int
    """Bytes that follow."""
    width: int
    """Width of the image, pixels."""
    height: int
    """Height of the image, pixels."""
    pts_s: float | None
    """Presentation time, seconds; None where the pipeline gives none."""
    fps: float | None
    """Frames/s as the pipeline announces it; None where it does not."""


class GstLaunch:
    """One run of ``gst-launch-1.0`` with ``elements`` as its pipeline. Used by one thread, but for `interrupt` and `kill`.
    Raises UserError."""

    def __init__(self, elements: list[str]) -> None:
        frames, into = os.pipe()
        tail = (
            f"videoconvert ! video/x-raw,format=BGR ! identity name={_NAME} silent=false ! fdsink fd={into} sync=false"
        )
        try:
            with suppress(ImportError, OSError):  # a pipe of one page costs a change of process for every page
                from fcntl import fcntl

                fcntl(frames, _SET_PIPE_SIZE, _PIPE_BYTES)
            self._process = subprocess.Popen(
                [PROGRAM, "-v", *elements, "!", *tail.split()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                pass_fds=(into,),
                env={**os.environ, "LC_ALL": "C"},  # its messages are read here
                start_new_session=True,  # Ctrl-C is for this program, which ends the child itself
            )
        except OSError as error:
            os.close(frames)
            raise UserError(f"{PROGRAM} does not start ({error.strerror})") from None
        finally:
            os.close(into)
        assert self._process.stdout is not None
        self._frames = os.fdopen(frames, "rb", buffering=0)
        self._said = self._process.stdout
        self._frames_come, self._lines_come = select.poll(), select.poll()
        self._frames_come.register(self._frames, select.POLLIN)
        self._lines_come.register(self._said, select.POLLIN)
        self._lines: deque[bytes] = deque()
        self._unfinished_line = b""
        self._format: tuple[int, int, float | None] = (0, 0, None)
        self._padded: ImageArray = np.empty((0, 0), np.uint8)
        self._problems: list[str] = []
        self._detail = 0
        self._broke_off = ""
        self._ended = False
        self._within_s = 0.0
        self._deadline_s = 0.0

    def next_header(self, within_s: float) -> FrameHeader | None:
        """What is said of the next frame, which must be read then. None where there is none: the process has ended, or
        header and frame do not come within ``within_s`` seconds."""
        self._within_s, self._deadline_s = within_s, time.monotonic() + within_s
        is_overdue = False
        while True:
            while self._lines:
                header = self._understand(self._lines.popleft())
                if header is not None:
                    return header
            # A flood of messages is no frame. But what has come meanwhile counts: this program may have been stopped.
            if is_overdue or not self._wait(self._lines_come):
                self._is_silent()
                return None
            is_overdue = time.monotonic() > self._deadline_s
            if not self._take_lines():
                return None

    def read(self, header: FrameHeader, spare: ImageArray | None) -> ImageArray | None:
        """The frame of ``header``, uint8 (height, width, 3), in ``spare`` where it fits; None where it does not come.
        Raises UserError."""
        width, height = header.width, header.height
        row, rest = divmod(header.size, max(height, 1))
        if not width or rest or row < 3 * width:
            raise UserError(f"{PROGRAM} says {header.size} bytes of a frame of {width}x{height}: end it with raw video")
        fits = spare is not None and spare.shape == (height, width, 3) and spare.flags.c_contiguous
        image = spare if fits and spare is not None else np.empty((height, width, 3), np.uint8)
        if row == 3 * width:
            return image if self._fill(image) else None
        if self._padded.shape != (height, row):  # rows are padded to whole words
            self._padded = np.empty((height, row), np.uint8)
        if not self._fill(self._padded):
            return None
        np.copyto(image, self._padded[:, : 3 * width].reshape(height, width, 3))
        return image

    def interrupt(self) -> None:
        """Ask the pipeline to stop: it lets go of its camera."""
        self._send(signal.SIGINT)

    def kill(self) -> None:
        """End the process."""
        self._send(signal.SIGKILL)

    def finish(self) -> bool:
        """Let go of the process, stopped where it still runs. Returns whether it has failed."""
        self._frames.close()
        if not self._ended:
            self.interrupt()
        try:
            code = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._deadline_s = time.monotonic() + _LAST_WORDS_S
        while not self._ended and time.monotonic() < self._deadline_s and self._wait(self._lines_come):
            self._take_lines()
        if not self._ended:
            # The program was a script: what it had started holds the pipe, and may hold the camera.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        while self._lines:
            self._understand(self._lines.popleft())
        self._said.close()
        return code != 0 or bool(self._problems) or bool(self._broke_off)

    def reason(self) -> str:
        """Why it failed, one line without secrets."""
        if self._broke_off:
            return self._broke_off
        if not self._problems:
            code = self._process.returncode
            return f"{PROGRAM} ended with code {code}" if code else "the camera stopped delivering frames"
        text = self._problems[0]
        if 'no element "nvarguscamerasrc"' in text:
            return "no CSI camera can be read here: NVIDIA's element nvarguscamerasrc comes with JetPack"
        return _ADDRESS.sub(lambda found: public_name(found[0]), text)

    def _send(self, what: signal.Signals) -> None:
        """To all processes of the child: a script of the program's name may have started it in one of its own."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, what)

    def _wait(self, comes: select.poll) -> bool:
        """Whether something ``comes`` before the deadline, or has come."""
        left_s = max(0.0, self._deadline_s - time.monotonic())
        return bool(comes.poll(1000 * left_s))

    def _is_silent(self) -> None:
        self._broke_off = f"no frame came for {self._within_s:g} s"

    def _fill(self, array: ImageArray) -> bool:
        left = memoryview(array.data).cast("B")
        while left:
            if not self._wait(self._frames_come):
                self._is_silent()
                return False
            count = self._frames.readinto(left)
            if not count:
                if not self._problems:
                    self._broke_off = f"{PROGRAM} ended within a frame"
                return False
            left = left[count:]
        return True

    def _take_lines(self) -> bool:
        """Read what has been said so far. Returns False at its end."""
        block = os.read(self._said.fileno(), _BLOCK_BYTES)
        *lines, self._unfinished_line = (self._unfinished_line + block).split(b"\n")
        self._lines.extend(lines)
        if not block or len(self._unfinished_line) > _BLOCK_BYTES:
            self._lines.append(self._unfinished_line)
            self._unfinished_line = b""
        self._ended = not block
        return bool(block)

    def _understand(self, line: bytes) -> FrameHeader | None:
        text = line.decode(errors="replace").rstrip()
        if found := _BUFFER.search(text):
            size, pts, hours, minutes, seconds = found.groups()
            pts_s = None if pts == "none" else int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            width, height, fps = self._format
            return FrameHeader(int(size), width, height, pts_s, fps)
        if found := _CAPS.search(text):
            fps = int(found[3]) / int(found[4]) if found[3] and int(found[4]) else None
            self._format = (int(found[1]), int(found[2]), fps)
        else:
            self._note(text)
        return None

    def _note(self, line: str) -> None:
        """Remember errors, each with the most telling line of its details, the second one."""
        if line.startswith("Additional debug info") and self._problems:
            self._detail = 2
        elif self._detail > 0 and not _NO_DETAIL.match(line):
            self._detail -= 1
            if self._detail == 0 and line and len(self._problems) == 1:
                self._problems[0] += f" ({line})"
        elif len(self._problems) < _KEPT_PROBLEMS and (found := _ERROR.match(line)):
            self._problems.append(found[1].rstrip("."))
