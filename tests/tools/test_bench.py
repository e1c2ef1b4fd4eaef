"""The bench runs the program with every combination, and draws when its stages worked."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from realtime.options import Options
from tools.bench import Setting, _save, bench_page, figures, main, run_once, values_of, without_effect
from tools.timeline import draw_timeline, save_timeline, way_of_a_frame

CLIP = Path(__file__).resolve().parents[2] / "assets" / "synthetic_walk.mp4"
RUNS = [
    ("capture", 0.0, 1.0),
    ("keypoints", 1.0, 6.0),
    ("flow", 1.5, 4.0),
    ("capture", 5.0, 6.0),
    ("regressor", 6.5, 9.0),
    ("world", 9.0, 9.5),
    ("keypoints", 7.0, 12.0),
    ("flow", 7.1, 10.0),
    ("regressor", 12.5, 14.0),
    ("world", 14.2, 15.0),
]


def test_one_frames_way_is_followed() -> None:
    assert way_of_a_frame(RUNS) == [RUNS[3], *RUNS[6:]]
    assert way_of_a_frame(RUNS[:1]) == []


def test_the_flow_of_a_busy_machine_belongs_to_the_frame_before_the_next_keypoints() -> None:
    """It begins when the keypoints have ended; the regressor that runs meanwhile is that of the frame before."""
    runs = [
        ("capture", 0.0, 10.0),
        ("keypoints", 12.0, 20.0),
        ("regressor", 21.0, 44.0),
        ("capture", 22.0, 50.0),
        ("keypoints", 60.0, 64.0),
        ("regressor", 66.0, 90.0),
        ("flow", 70.0, 72.0),
        ("regressor", 92.0, 99.0),
        ("world", 99.0, 99.5),
        ("keypoints", 110.0, 120.0),
        ("flow", 109.0, 111.0),
    ]
    assert way_of_a_frame(runs) == [runs[3], runs[4], runs[6], runs[7], runs[8]]


def test_bars_lie_where_the_stages_worked(tmp_path: Path) -> None:
    image = draw_timeline(RUNS)
    coloured = (image == (60, 120, 230)).all(-1)
    grey = (image == (190, 190, 190)).all(-1)
    # capture, keypoints, flow, regressor, world
    lanes = [slice(24 + 44 * lane, 24 + 44 * (lane + 1)) for lane in range(5)]
    for lane in lanes:
        assert coloured[lane].any()
        assert grey[lane].any()
    width = (1400 - 130 - 40) / 15
    columns = 130 + np.flatnonzero(grey[lanes[1], 130:].any(0))
    np.testing.assert_allclose([columns[0], columns[-1]], [130 + width, 130 + 6 * width], atol=1)
    save_timeline(RUNS, tmp_path / "timeline.png")
    assert cv2.imread(str(tmp_path / "timeline.png")).shape == image.shape
    with pytest.raises(ValueError, match="nothing"):
        draw_timeline([])


def test_wrong_folders_are_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="choose another --output"):
            main(tmp_path / "no clip.mp4", output=folder)
    with pytest.raises(UserError, match="there is no file"):
        main(tmp_path / "no clip.mp4", output=tmp_path / "a" / "b")


def test_values_are_told_apart_by_commas_and_taken_once() -> None:
    assert values_of("fast, accurate,fast") == ["fast", "accurate"]
    assert values_of("1") == ["1"]


def test_every_choice_is_an_option_of_the_program() -> None:
    assert set(Setting.__dataclass_fields__) <= set(Options.__dataclass_fields__)
    assert str(Setting()) == "--keypoints fast"
    assert str(Setting("accurate", "dis", "auto", "3")) == "--keypoints accurate --flow dis --persons 3"


def test_precisions_that_nothing_runs_in_are_told_once() -> None:
    settings = [Setting(precision=precision, flow=flow) for precision in ("fp32", "int8") for flow in ("dis", "none")]
    (line,) = without_effect(settings, "openvino")
    assert line == "--precision int8 has no effect without TensorRT: the networks run on the CPU in fp32"
    assert without_effect(settings, "tensorrt") == []


def test_a_choice_that_the_program_refuses_ends_with_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"ends with code 2 for --keypoints fast --flow nope --engine auto"):
        run_once(tmp_path / "clip.mp4", Setting(flow="nope"), "auto", 30)
    assert "nope" in capfd.readouterr().err, "the program's own line"


@pytest.mark.timeout(300)
def test_a_run_names_its_device_and_holds_a_timeline(tmp_path: Path) -> None:
    report = run_once(CLIP, Setting(flow="none"), "onnxruntime", 30)
    assert report["meshes"] == 30
    assert report["cpu_s"] > 0
    names = {name for name, _, _ in report["timeline"]}
    assert {"keypoints", "regressor"} <= names
    assert all(begin <= end for _, begin, end in report["timeline"])
    rows = dict(figures({"file": [report]}))
    assert float(rows["unique meshes a second"][0]) > 0
    assert rows["people in a frame at most"] == ["1"]
    assert float(rows["keypoints and regressor for one person, ms"][0]) > 0
    results = {
        title: {"file": [report], "live": [report]} for title in ("--keypoints fast", "--keypoints fast --persons 4")
    }
    page = bench_page(results, "about")
    assert report["device"] in page
    _save(tmp_path, results, {}, "about")
    assert (tmp_path / "bench.md").read_text() == page
    assert json.loads((tmp_path / "bench.json").read_text()) == {**results, "peers": {}}
    for name in ("timeline.png", "timeline-2.png"):
        assert f"({name})" in page
        assert cv2.imread(str(tmp_path / name)) is not None
