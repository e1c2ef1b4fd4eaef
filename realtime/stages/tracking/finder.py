"""Running the person detector, in the caller's thread or in one of its own.

The detector takes four times as long as the keypoints of one person. In a thread of its own it delays nobody who is
followed: the keypoint thread starts a search, continues with the next frames, and takes the answer later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.arrays import ImageArray
from realtime.queues import Closed
from realtime.records import Box, Frame
from realtime.stages.tracking.detection import Detection
from realtime.stages.tracking.regions import is_believable, region_of
from realtime.stages.tracking.track import Sighting, same_body, sighting_of

Detector = Callable[[ImageArray, Box], list[Detection]]
"""`realtime.stages.tracking.detection.PersonDetector`, or a replacement: finds the people in a region of a BGR image."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Where to search for people."""

    frame: Frame
    """The frame to search."""
    regions: Sequence[Box]
    """Parts of it, image pixels, searched one after the other."""
    enough: int
    """Number of people after which the search ends."""
    close_up: bool = False
    """After ``regions``, search the region of each person who was found, too: somebody half hidden behind them is found only
    there."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Who was found."""

    sequence: int
    """The number of the frame that was searched."""
    time_s: float
    """When that frame was taken, seconds of the source's clock."""
    people: tuple[Sighting, ...]
    """Each person once, in no particular order."""


class Finder:
    """Runs the detector at once, in the caller's thread."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._answer: SearchAnswer | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being searched and no answer waits to be taken."""
        return self._answer is None

    def ask(self, request: SearchRequest) -> None:
        """Begin a search. Only while `is_idle`."""
        self._answer = self.search(request)

    def take(self, wait: bool) -> SearchAnswer | None:
        """The answer to the last request; each is given once. None if there was no request, or if it is not ready and
        ``wait`` is false."""
        answer, self._answer = self._answer, None
        return answer

    def search(self, request: SearchRequest) -> SearchAnswer:
        """Run the detector now."""
        frame, found = request.frame, list[Sighting]()
        self._search(frame.image, request.regions, request.enough, found)
        if request.close_up:
            self._search(frame.image, [one.box for one in found], request.enough, found)
        return SearchAnswer(frame.sequence, frame.time_s, tuple(found))

    def _search(self, image: ImageArray, regions: Sequence[Box], enough: int, found: list[Sighting]) -> None:
        """Add the people in ``regions`` to ``found``, nobody twice, until there are ``enough``."""
        height, width = image.shape[:2]
        for region in regions:
            if len(found) >= enough:
                return
            for one in self._detector(image, region):
                if not is_believable(one.confidence):
                    continue
                box = region_of(one.points, one.confidence, width, height)
                sighting = sighting_of(one.points, one.confidence, box, fine=False)
                if sighting is not None and not any(same_body(sighting, other) for other in found):
                    found.append(sighting)


class FinderThread(Finder):
    """Runs the detector in another thread, which calls `next_request` and `finish` in turn.

    Set ``hold`` to what keeps a frame's image valid until `finish`; whoever calls that gives the hold back.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        self.hold: Callable[[Frame], None] = lambda frame: None
        self._condition = threading.Condition()
        self._request: SearchRequest | None = None
        self._is_busy = False
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        """See `Finder.is_idle`."""
        with self._condition:
            return not self._is_busy and self._answer is None

    def ask(self, request: SearchRequest) -> None:
        """See `Finder.ask`. Raises `Closed` after `close`."""
        with self._condition:
            if self._is_closed:
                raise Closed
            if self._is_busy or self._answer is not None:
                raise RuntimeError("the detector was asked again before its last answer was taken")
            self.hold(request.frame)
            self._request, self._is_busy = request, True
            self._condition.notify_all()

    def take(self, wait: bool) -> SearchAnswer | None:
        """See `Finder.take`. Raises `Closed` if the finder is closed before the answer is ready."""
        with self._condition:
            while wait and self._is_busy:
                if self._is_closed:
                    raise Closed
                self._condition.wait()
            answer, self._answer = self._answer, None
            return answer

    def next_request(self) -> SearchRequest:
        """Wait for a request. Raises `Closed` after `close`."""
        with self._condition:
            while self._request is None:
                if self._is_closed:
                    raise Closed
                self._condition.wait()
            request, self._request = self._request, None
            return request

    def finish(self, answer: SearchAnswer) -> None:
        """Store the answer to the request that `next_request` gave last."""
        with self._condition:
            self._answer, self._is_busy = answer, False
            self._condition.notify_all()

    def close(self) -> SearchRequest | None:
        """End all searches. Returns the request that was not begun, if any: its frame is still held."""
        with self._condition:
            self._is_closed = True
            left, self._request = self._request, None
            self._condition.notify_all()
            return left
