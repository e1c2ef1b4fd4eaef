"""Playing a clip again, winding it back and on: frames jump, indexes and times only ever go on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
from typing_extensions import override

from common.arrays import ImageArray
from realtime.sources import open_source
from realtime.sources.clip import ClipSource
from realtime.sources.clip_player import ClipPlayer
from tests.conftest import Remarks
from tests.realtime.clips import numbered_image

FPS, FRAMES = 10.0, 40


class Counted(ClipSource):
    """Frames whose pixels say their number; the third index is missing, as after an unreadable image."""

    opened = 0

    def __init__(self) -> None:
        super().__init__("counted")
        self._at = -1

    @override
    def _open(self) -> None:
        type(self).opened += 1
        self.size, self.fps, self.frame_count = (4, 2), FPS, FRAMES

    @override
    def _release(self) -> None:
        pass

    @override
    def _advance(self) -> tuple[int, float] | None:
        self._at += 2 if self._at == 1 else 1
        return (self._at, self._at / FPS) if self._at < FRAMES else None

    @override
    def _render(self, buffer: ImageArray) -> None:
        buffer[...] = self._at


def frames(player: ClipPlayer, count: int) -> list[tuple[int, int, float]]:
    """Pixel, index and time of the next ``count`` frames."""
    buffer, seen = player.new_buffer(), []
    for _ in range(count):
        timestamp = player.read_into(buffer)
        if timestamp is None:
            break
        seen.append((int(buffer[0, 0, 0]), timestamp.index, round(timestamp.time_s, 6)))
    return seen


def test_a_clip_that_is_only_played_is_as_it_was() -> None:
    with ClipPlayer(Counted) as player:
        assert player.frame_count == FRAMES
        seen = frames(player, 100)
    assert [pixel for pixel, _, _ in seen] == [0, 1, *range(3, FRAMES)]
    assert [(index, time) for _, index, time in seen] == [(n, n / FPS) for n in (0, 1, *range(3, FRAMES))]


def test_a_loop_begins_again_and_time_goes_on() -> None:
    with ClipPlayer(Counted, loop=True) as player:
        assert player.frame_count is None
        seen = frames(player, FRAMES + 10)
    assert [pixel for pixel, _, _ in seen][FRAMES - 2 : FRAMES + 2] == [FRAMES - 1, 0, 1, 3]
    times = [time for _, _, time in seen]
    assert all(0 < later - earlier < 0.21 for earlier, later in pairwise(times))
    indexes = [index for _, index, _ in seen]
    assert indexes == sorted(set(indexes))
    assert indexes[FRAMES - 1] == FRAMES  # the index after the last one


def test_winding_jumps_in_the_clip_alone() -> None:
    with ClipPlayer(Counted) as player:
        assert frames(player, 5)[-1][0] == 5
        assert player.wind(2.0)
        on = frames(player, 2)
        assert [pixel for pixel, _, _ in on] == [25, 26]
        assert on[0][1:] == (6, 0.6)
        player.wind(-1.0)
        player.wind(-0.5)
        back = frames(player, 2)
        assert [pixel for pixel, _, _ in back] == [11, 12]
        assert back[0][1:] == (8, 0.8)
        player.wind(-100)
        assert frames(player, 1)[0][:2] == (0, 10)
        player.wind(100)
        assert frames(player, 1) == []  # past the end


def test_frames_after_a_jump_are_of_another_piece_and_know_their_place_in_the_clip() -> None:
    with ClipPlayer(Counted) as player:
        buffer, seen = player.new_buffer(), []
        for jump in (0, 0, 2.0, 0, -1.0, 0):
            if jump:
                player.wind(jump)
            timestamp = player.read_into(buffer)
            assert timestamp is not None
            index, time_s = player.place_in_clip(timestamp)
            assert index == buffer[0, 0, 0]
            assert abs(time_s - index / FPS) < 1e-9
            seen.append(timestamp.piece)
    assert seen == [0, 0, 1, 1, 2, 2]


def test_nothing_opens_again_once_closed() -> None:
    player = ClipPlayer(Counted, loop=True)
    player.open()
    frames(player, 3)
    player.close()
    before = Counted.opened
    assert frames(player, 3) == []
    assert Counted.opened == before


def test_a_clip_that_is_played_again_says_everything_once(tmp_path: Path, remarks: Remarks) -> None:
    for name, data in (("0.png", None), ("1.png", b"no image"), ("2.png", b"nor this")):
        image = cv2.imencode(".png", numbered_image(1))[1].tobytes()
        (tmp_path / name).write_bytes(image if data is None else data)
    with open_source(str(tmp_path), loop=True) as source:
        buffer = source.new_buffer()
        for _ in range(4):
            assert source.read_into(buffer) is not None
    assert ["1.png is damaged" in remarks[0], "2 images in" in remarks[1], len(remarks)] == [True, True, 2]
