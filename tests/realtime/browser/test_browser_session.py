"""A whole run with ``--view browser``, watched by a viewer that is no browser."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from realtime.browser.protocol import POSE
from realtime.measure import Report
from realtime.options import Options
from realtime.session import Session
from tests.conftest import Remarks

CLIP = Path(__file__).parents[3] / "assets" / "synthetic_walk.mp4"


def test_a_video_begins_with_its_first_viewer_who_may_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks
) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(Options(source=str(CLIP), view="browser", port=0, frames=14))
    reports: list[Report] = []
    run = threading.Thread(target=lambda: reports.append(session.run()), daemon=True)
    run.start()
    while not (links := [line for line in remarks if line.startswith("view: ")]):
        assert run.is_alive()
        time.sleep(0.05)
    link = links[0].removeprefix("view: ")
    assert not session._meter.frames_in, "nobody looks on yet"
    poses, states = 0, []
    with connect(link.replace("http", "ws") + "live", compression=None) as viewer:
        try:
            for message in viewer:
                if isinstance(message, bytes):
                    viewer.send('{"drawn": 1}')
                    poses += message[0] == POSE
                    if poses == 1 and message[0] == POSE:
                        viewer.send(json.dumps({"command": "r"}))
                        viewer.send(json.dumps({"command": "s"}))
                elif (said := json.loads(message))["type"] == "state":
                    states.append(said)
        except ConnectionClosed:
            pass
    run.join(60)
    assert reports[0].results == 14
    assert poses > 1
    assert any(state["recording"] for state in states)
    assert len(list(tmp_path.glob("motionmesh-*.png"))) == 1
    assert len(list(tmp_path.glob("motionmesh-*.mp4"))) == 1


def test_ctrl_c_ends_a_run_that_nobody_looks_at(remarks: Remarks) -> None:
    session = Session(Options(source=str(CLIP), view="browser", port=0))
    ended: list[str] = []

    def run() -> None:
        try:
            session.run()
        except KeyboardInterrupt:
            ended.append("interrupted")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not any(line.startswith("view: ") for line in remarks):
        assert thread.is_alive()
        time.sleep(0.05)
    session.interrupt()
    thread.join(60)
    assert ended == ["interrupted"]
