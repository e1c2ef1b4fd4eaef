"""The browser's counterpart of a window: results go to all viewers, and their key presses come back."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Final

from body.model import BodyArrays
from realtime.browser.protocol import body_message, hello_message, pose_message, video_message
from realtime.browser.qr import qr_text
from realtime.browser.server import ViewerServer
from realtime.browser.video import VideoEncoder
from realtime.draw.mannequin import Mannequin
from realtime.records import Result

_LOG = logging.getLogger(__name__)

COMMANDS: Final = ("space", "r", "s", "left", "right", "q")
"""Commands that every viewer may give: pause, record, snapshot, seek, end the program."""
_STATE_EVERY_S: Final = 0.25
_WAITING: Final = 32
"""So many commands wait to be obeyed; more are dropped."""


@dataclass(frozen=True, slots=True)
class BrowserState:
    """The state of the run, which the page shows beside the bodies."""

    source: str
    """How the source is doing, see `realtime.sources.Source.state`; "ended" after the last frame."""
    paused: bool = False
    """No new frames are processed."""
    recording: bool = False
    """What is seen is being recorded."""
    mesh_rate: float = 0.0
    """New meshes a second."""
    frames: int = 0
    """That the source has delivered."""
    dropped: int = 0
    """Number of these frames that were dropped."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """How long each stage took lately, ms."""


class BrowserView:
    """Shows results in web browsers: a page on ``host:port``, for any number of viewers.

    `show` costs the same for one viewer as for many, next to nothing without any, and never waits for one.

    Args:
        host, port: where to listen, see `realtime.browser.access.Access`.
        arrays: the body of everybody.
        mannequin: how it is drawn.
        source, fps, live, size: the source's name, its nominal rate, whether it drops frames, and the frames' size in pixels.

    Raises `common.errors.UserError` when it cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        arrays: BodyArrays,
        mannequin: Mannequin,
        source: str,
        fps: float,
        live: bool,
        size: tuple[int, int],
    ) -> None:
        self._commands: queue.Queue[str] = queue.Queue(_WAITING)
        hello = hello_message(source, fps, live, size, arrays.sha256, mannequin)
        self._server = ViewerServer(host, port, body_message(arrays, mannequin), hello, self._take)
        self._encoder = VideoEncoder()
        self._remarks = _RemarkForwarder(self._server)
        logging.getLogger("realtime").addHandler(self._remarks)
        self._state: BrowserState | None = None
        self._state_due_s = 0.0
        self._seen_s = time.monotonic()

    def announce(self) -> None:
        """Tell the user the link, with a QR code where other devices may look."""
        extra = {} if self._server.access.token is None else {"block": qr_text(self.link)}
        _LOG.info(f"view: {self.link}", extra=extra)

    @property
    def link(self) -> str:
        """What to open in a browser."""
        return self._server.link

    @property
    def viewers(self) -> int:
        """Number of viewers."""
        return self._server.viewers

    def wait_for_viewer(self, timeout: float) -> bool:
        """Wait for the first viewer, for at most ``timeout`` seconds. Returns whether there has been one."""
        return self._server.wait_for_viewer(timeout)

    def left_for(self) -> float:
        """Seconds since the last viewer left. One thread may ask."""
        if self.viewers:
            self._seen_s = time.monotonic()
        return time.monotonic() - self._seen_s

    def show(self, result: Result) -> None:
        """Send a result to all viewers, and its image where it is time for one. One thread may call."""
        server = self._server
        pose = pose_message(result, server.clock_ns, time.monotonic_ns())
        server.send("pose", pose)
        if server.wants_video and self._encoder.due:
            server.send("video", video_message(result, pose, *self._encoder.encode(result.frame.image)))

    def tell(self, state: BrowserState) -> None:
        """Send ``state`` to all viewers: at once where something has begun or ended, else a few times a second."""
        last, now = self._state, time.monotonic()
        new = last is None or (last.source, last.paused, last.recording) != (
            state.source,
            state.paused,
            state.recording,
        )
        if new or now >= self._state_due_s:
            self._state, self._state_due_s = state, now + _STATE_EVERY_S
            self._server.send("state", json.dumps({"type": "state", "viewers": self.viewers, **_plain(state)}))

    def events(self, timeout: float = 0.0) -> Iterator[str]:
        """Commands since the last call, oldest first: those of `COMMANDS`. Waits for one at most ``timeout`` seconds. One
        thread may ask."""
        with contextlib.suppress(queue.Empty):
            yield self._commands.get(timeout=timeout) if timeout else self._commands.get_nowait()
            while True:
                yield self._commands.get_nowait()

    def _take(self, command: str) -> None:
        if command in COMMANDS and not self._commands.full():  # only the server's thread puts
            self._commands.put(command)

    def close(self) -> None:
        """End the server. May be called twice."""
        logging.getLogger("realtime").removeHandler(self._remarks)
        self._server.close()

    def __enter__(self) -> BrowserView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(state: BrowserState) -> dict[str, Any]:
    """As JSON can hold it."""
    fields = asdict(state)
    fields["mesh_rate"] = round(state.mesh_rate, 1) if state.mesh_rate > 0 else None
    fields["stages"] = {name: round(ms, 2) for name, ms in state.stages.items()}
    return fields


class _RemarkForwarder(logging.Handler):
    """Shows viewers what the program tells its user, but not the link."""

    def __init__(self, server: ViewerServer) -> None:
        super().__init__(logging.INFO)
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        """Send ``record``'s line."""
        if record.name != __name__:
            self._server.remark(record.getMessage())
