"""The sending bench measures the program's own senders: every frame is heard, whole."""

from __future__ import annotations

import pytest

from body.model import load_body
from realtime.outputs.live_messages import frame_message
from tools.bench_sending import SCHEMES, bench_sending, measure
from tools.waving import POSES, waving_results


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_frame_is_heard_and_takes_some_time(scheme: str) -> None:
    arrays = load_body("body_1722")
    results = waving_results(arrays, 2)[:3]
    heard = measure(scheme, results, arrays, 0.5)
    assert heard.sent == 15
    assert 10 <= len(heard.delay_ms) <= 15  # a busy machine may skip one on a WebSocket: the newest wins
    assert (heard.delay_ms > 0).all()
    assert heard.packets == len(heard.delay_ms) * (2 if scheme == "vmc" else 1)
    least = 1400 if scheme == "vmc" else 4000  # 22 bones; JSON of two people
    assert heard.size > least * len(heard.delay_ms)


def test_it_prints_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    bench_sending(1, 1.0)
    rows = [line for line in capsys.readouterr().out.splitlines() if "://" in line]
    assert [row.split(":")[0] for row in rows] == [f"| {scheme}" for scheme in SCHEMES]


def test_waving_people_move_and_come_again() -> None:
    results = waving_results(load_body("body_1722"), 1)
    assert len(results) == POSES
    first, later = (frame_message(results[index])["people"][0]["body_pose"] for index in (0, 15))
    assert first != later
