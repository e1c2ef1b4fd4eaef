"""Peers run in an interpreter of their own; whatever is wrong with it is one line that says what to install."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tools.bench import bench_page, peer_rows
from tools.peers import PEERS, PeerError, PeerRun, run_peer, why_no_peer

CLIP = Path(__file__).resolve().parents[2] / "assets" / "synthetic_walk.mp4"
MEDIAPIPE = """
from types import SimpleNamespace

class Pose:
    def __init__(self, model_complexity):
        self.frames = 0
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass
    def process(self, image):
        assert image.shape[2] == 3
        self.frames += 1
        return SimpleNamespace(pose_world_landmarks=None if self.frames in {lost} else [0])

__version__ = "0.0"
solutions = SimpleNamespace(pose=SimpleNamespace(Pose=Pose))
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """A package that answers as MediaPipe does, but for the frames ``lost``."""
    (folder / "mediapipe.py").write_text(MEDIAPIPE.replace("{lost}", lost))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def test_results_are_counted_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "(3, 4)")
    run = run_peer("mediapipe-full", sys.executable, CLIP, 20)
    assert (run.version, run.frames_lost) == ("0.0", 2)
    assert run.rate_hz > 0
    assert run.cpu_s > run.first_s * 0.01 > 0
    assert why_no_peer("mediapipe-heavy", sys.executable, CLIP) == ""


def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerError, match=r"there is no peer 'x': choose from mediapipe-full, mediapipe-heavy"):
        run_peer("x", sys.executable, CLIP, 5)
    with pytest.raises(PeerError, match=r"cannot start .*nowhere .*pip install mediapipe"):
        run_peer("mediapipe-full", str(tmp_path / "nowhere"), CLIP, 5)
    (tmp_path / "mediapipe.py").write_text("raise ModuleNotFoundError(\"No module named 'mediapipe'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PeerError, match=r"No module named 'mediapipe'\): python3 -m venv") as caught:
        run_peer("mediapipe-full", sys.executable, CLIP, 5)
    assert "\n" not in str(caught.value)
    assert why_no_peer("mediapipe-full", sys.executable, CLIP) == str(caught.value)
    install(tmp_path, monkeypatch, "range(99)")
    with pytest.raises(PeerError, match=r"mediapipe-heavy found nobody in synthetic_walk.mp4"):
        run_peer("mediapipe-heavy", sys.executable, CLIP, 10)


def test_the_table_holds_medians() -> None:
    runs = [PeerRun("1.0", rate, 0.5, 0, 3.0) for rate in (10.0, 30.0, 11.0)]
    rows = peer_rows({"mediapipe-full": runs, "mediapipe-heavy": []})
    assert rows == [["mediapipe-full 1.0", "11.0", "0.50", "0", "3.0"]]
    assert "| mediapipe-full 1.0 | 11.0 | 0.50 | 0 | 3.0 |" in bench_page({}, "about", rows)
    assert list(PEERS) == ["mediapipe-full", "mediapipe-heavy"]
