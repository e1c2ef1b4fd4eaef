"""What the window says about the run: one line for each thing that the user should know now."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from realtime.sources.source import State

_DROPPED_S: Final = 1.0  # how long a dropped frame is shown


class Status:
    """Describes the state of a run. ``clock`` gives seconds; tests replace it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recording_since: float | None = None
        self._dropped, self._dropped_at, self._told = 0, -_DROPPED_S, 0

    def lines(
        self,
        state: State,
        *,
        people: int | None,
        paused: bool = False,
        recording: bool = False,
        dropped: int = 0,
        ended: bool = False,
    ) -> str:
        """Lines, most important first, joined by line feeds.

        ``state`` of the source; ``people`` in the newest result, None before the first; ``dropped`` frames so far; ``ended``:
        the source has no more frames.
        """
        now, lines = self._clock(), []
        if not recording:
            self._recording_since = None
        else:
            self._recording_since = now if self._recording_since is None else self._recording_since
            seconds = int(now - self._recording_since)
            lines.append(f"REC {seconds // 60}:{seconds % 60:02d}")
        if dropped > self._dropped:
            self._told = dropped - self._dropped if now - self._dropped_at >= _DROPPED_S else self._told + 1
            self._dropped, self._dropped_at = dropped, now
        if ended:
            lines.append("the end: q closes, --loop plays it again")
        elif paused:
            lines.append("paused: space goes on")
        elif state == "connecting":
            lines.append("connecting")
        elif state == "lost":
            lines.append("signal lost: trying again")
        elif state == "stalled":
            lines.append("stalled: no frames are coming")
        elif people is None:
            lines.append("starting")
        elif not people:
            lines.append("looking for a person")
        if now - self._dropped_at < _DROPPED_S and not (paused or ended):
            lines.append("frame dropped" if self._told == 1 else f"{self._told} frames dropped")
        return "\n".join(lines)


def stage_lines(stages: Mapping[str, float], person_ms: float) -> str:
    """One line a stage with its recent median, ms, and what a person costs: columns parted by tabs, lines by line feeds. What
    rounds to nothing is left out."""
    known = sorted(stages.items(), key=lambda item: -item[1])
    known += [("a person", person_ms)] if person_ms else []
    return "\n".join(f"{name}\t{took:.1f} ms" for name, took in known if took >= 0.05)
