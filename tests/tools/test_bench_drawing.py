"""The drawing bench draws what a recording shows, and says how long each part takes."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tools.bench_drawing import backdrop, main


def test_every_part_is_drawn_and_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path / "drawn.png", runs=2)
    rows = capsys.readouterr().out.splitlines()[3:]
    assert len(rows) == 8 + 5
    assert all(float(row.split()[-1]) > 0 for row in rows)
    shares = [float(row.split()[-3]) for row in rows[:8]]
    assert 0 < shares[0] < shares[1] < shares[2] < 60  # a person covers more of the image the nearer they stand
    drawn = cv2.imread(str(tmp_path / "drawn.png"))
    assert drawn.shape[0] == 480
    assert (cv2.absdiff(drawn[:, :640], backdrop()).max(axis=2) > 20).mean() > 0.05
