"""The pipeline as a library."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from realtime.options import Options
from realtime.stream import stream

ROOT = Path(__file__).resolve().parents[2]
CLIP = str(ROOT / "assets" / "synthetic_walk.mp4")


def test_every_frame_of_a_file_comes_in_order_with_its_bodies() -> None:
    seen = [
        (result.frame.sequence, [body.vertices.shape for body in result.people])
        for result in stream(Options(source=CLIP, frames=12))
    ]
    assert [sequence for sequence, _ in seen] == list(range(12))
    assert seen[-1][1] == [(6890, 3)]


def test_leaving_the_loop_ends_all_threads() -> None:
    before = threading.active_count()
    for result in stream(Options(source=CLIP)):
        assert np.isfinite([body.transl for body in result.people]).all()
        break
    assert threading.active_count() <= before


def test_what_the_user_can_put_right_is_raised_as_it_is() -> None:
    with pytest.raises(UserError, match="nowhere"):
        next(stream(Options(source="nowhere.mp4")))
    with pytest.raises(UserError, match="focal"):
        next(stream(Options(source=CLIP, focal=1.0)))


def test_the_readme_s_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 25
    assert re.fullmatch(r"\d\.\d{3} s  person 0  \d\.\d\d m away  6890 vertices", lines[-1])
