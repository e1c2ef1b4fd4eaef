"""The detector in a thread of its own: one question at a time, every answer once, and an end that leaves nobody waiting."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from common.arrays import ImageArray
from realtime.queues import Closed
from realtime.records import Box, Frame
from realtime.stages.tracking.detection import Detection
from realtime.stages.tracking.finder import Finder, FinderThread, SearchRequest

WHOLE = Box(320, 240, 640)


def frame(sequence: int) -> Frame:
    return Frame(sequence, 0, sequence / 30, np.zeros((480, 640, 3), np.uint8))


def person(x: float, confidence: float = 0.8) -> Detection:
    points = np.random.default_rng(0).uniform(-60, 60, (17, 2)).astype(np.float32) + np.array([x, 240], np.float32)
    return Detection(points, np.full(17, confidence, np.float32), 0.5)


class Shows:
    """Shows a person in every region that it is asked about; notes them. ``gate``: is waited for before each answer."""

    def __init__(self, *people: Detection, gate: threading.Event | None = None) -> None:
        self.people, self.gate, self.asked = list(people), gate, list[Box]()

    def __call__(self, image: ImageArray, region: Box) -> list[Detection]:
        if self.gate is not None:
            assert self.gate.wait(10)
        self.asked.append(region)
        return self.people


def serve(finder: FinderThread) -> threading.Thread:
    def work() -> None:
        try:
            while True:
                finder.finish(finder.search(finder.next_request()))
        except Closed:
            pass

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_search_ends_with_enough_people_and_names_nobody_twice() -> None:
    regions = [WHOLE, Box(100, 100, 200), Box(300, 300, 200)]
    shows = Shows(person(200), person(203), person(450), person(330, confidence=0.2))
    answer = Finder(shows).search(SearchRequest(frame(7), regions, 1))
    assert shows.asked == regions[:1]
    assert (answer.sequence, answer.time_s) == (7, 7 / 30)
    assert [round(one.points[:, 0].mean() - person(0).points[:, 0].mean()) for one in answer.people] == [200, 450]
    Finder(shows).search(SearchRequest(frame(7), regions, 3))
    assert shows.asked[1:] == regions


def test_who_stands_behind_a_person_is_found_close_up() -> None:
    front, behind = person(200), person(300)

    def detector(image: ImageArray, region: Box) -> list[Detection]:
        return [front] if region == WHOLE else [front, behind]

    assert len(Finder(detector).search(SearchRequest(frame(0), [WHOLE], 6)).people) == 1
    close = Finder(detector).search(SearchRequest(frame(0), [WHOLE], 6, close_up=True))
    assert sorted(round(float(one.points[:, 0].mean())) for one in close.people) == [
        round(float(one.points[:, 0].mean())) for one in (front, behind)
    ]
    shows = Shows(front)
    Finder(shows).search(SearchRequest(frame(0), [WHOLE], 1, close_up=True))
    assert shows.asked == [WHOLE], "enough people are known"


@pytest.mark.parametrize("kind", [Finder, FinderThread])
def test_every_answer_is_given_once(kind: type[Finder]) -> None:
    finder = kind(Shows(person(300)))
    thread = serve(finder) if isinstance(finder, FinderThread) else None
    assert finder.take(wait=True) is None, "nothing was asked"
    for sequence in range(20):
        assert finder.is_idle
        finder.ask(SearchRequest(frame(sequence), [WHOLE], 1))
        answer = finder.take(wait=True)
        assert answer is not None
        assert answer.sequence == sequence
        assert len(answer.people) == 1
        assert finder.take(wait=False) is None
    if isinstance(finder, FinderThread) and thread is not None:
        finder.close()
        thread.join(10)
        assert not thread.is_alive()


def test_nobody_waits_for_a_detector_that_is_at_work() -> None:
    gate = threading.Event()
    finder = FinderThread(Shows(person(300), gate=gate))
    held: list[int] = []
    finder.hold = lambda one: held.append(one.sequence)
    thread = serve(finder)
    finder.ask(SearchRequest(frame(3), [WHOLE], 1))
    assert held == [3]
    assert not finder.is_idle
    assert finder.take(wait=False) is None
    with pytest.raises(RuntimeError, match="asked again"):
        finder.ask(SearchRequest(frame(4), [WHOLE], 1))
    gate.set()
    answer = finder.take(wait=True)
    assert answer is not None
    assert answer.sequence == 3
    finder.close()
    thread.join(10)


def test_closing_wakes_whoever_waits() -> None:
    finder = FinderThread(Shows(gate=threading.Event()))
    finder.ask(SearchRequest(frame(0), [WHOLE], 1))
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            finder.take(wait=True)
        except Closed as error:
            caught.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    left = finder.close()
    thread.join(10)
    assert len(caught) == 1
    assert left is not None
    assert left.frame.sequence == 0, "its frame is given back by whoever closes"
    assert finder.close() is None
    with pytest.raises(Closed):
        finder.next_request()
    with pytest.raises(Closed):
        finder.ask(SearchRequest(frame(1), [WHOLE], 1))
