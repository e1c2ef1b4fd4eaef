"""Options that change nothing in a run are told, each in one line, and those that do are not."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from engines.registry import why_no_tensorrt
from realtime import stream as streams
from realtime import unused_options as unused
from realtime.options import Options
from realtime.session import Session
from realtime.unused_options import NEEDS, unused_in_replay, unused_options
from tests.conftest import Remarks

CLIP = str(Path(__file__).parents[2] / "assets" / "synthetic_walk.mp4")
ON_THE_CPU = bool(why_no_tensorrt())
needs_no_gpu = pytest.mark.skipif(not ON_THE_CPU, reason="TensorRT runs here")

ALWAYS_USED = {
    *("source", "resolution", "rotate", "mirror", "frames", "duration", "view", "quiet", "verbose", "record", "save"),
    *(
        "send",
        "virtual_camera",
        "report",
        "persons",
        "keypoints",
        "regressor",
        "body",
        "height",
        "look_ahead",
        "engine",
    ),
    *("fov", "focal", "tilt", "roll", "floor", "no_foot_lock"),
}
"""Options that change every run, and --resolution, of which the source itself says that it keeps its size."""
ELSEWHERE = {"flow"}
"""Told once the network is known."""

FILE, CAMERA, STREAM, PIPELINE = CLIP, "0", "rtsp://camera/live", "gst:videotestsrc"


@pytest.fixture(autouse=True)
def without_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused, "has_display", lambda: False)


def test_every_option_is_used_always_or_has_its_rule() -> None:
    names = [one.name for one in fields(Options)]
    assert sorted(names) == sorted([*ALWAYS_USED, *ELSEWHERE, *NEEDS])


@pytest.mark.parametrize(
    ("given", "says", "useful_with"),
    [
        ({"host": "0.0.0.0"}, "--host 0.0.0.0 has no effect without --view browser", {"view": "browser"}),
        ({"port": 0}, "--port 0 has no effect without --view browser", {"view": "browser"}),
        ({"encoder": "x264"}, "--encoder x264 has no effect without --record", {"record": Path("a.mp4")}),
        ({"encoder": "nvenc"}, "--encoder nvenc has no effect without --record", {"view": "browser"}),
        ({"layout": "side"}, "--layout side has no effect without --record", {"virtual_camera": True}),
        ({"layout": "grid"}, "--layout grid has no effect without --record", {"record": Path("a.mp4")}),
        ({"look": "clay"}, "--look clay has no effect without --record", {"view": "window"}),
        ({"look": "clay"}, "--look clay has no effect without --record", {"save": (Path("a.npz"), Path("a.glb"))}),
        ({"frame": "world"}, "--frame world has no effect without --save or --send", {"save": (Path("a.bvh"),)}),
        ({"frame": "camera"}, "--frame camera has no effect without --save or --send", {"send": ("udp://a:1",)}),
        ({"live": True, "source": CAMERA}, "--live has no effect on a source that is live anyway", {"source": FILE}),
        ({"live": True, "source": STREAM}, "--live has no effect on a source that is live anyway", {"source": "demo"}),
        ({"loop": True, "source": CAMERA}, "--loop has no effect on a camera, stream or address", {"source": FILE}),
        ({"loop": True, "source": PIPELINE}, "--loop has no effect on a camera, stream", {"source": str(Path(CLIP).parent)}),
        ({"retry": 5.0}, "--retry 5 has no effect on a file or folder", {"source": CAMERA}),
        ({"retry": 0.0, "source": "demo"}, "--retry 0 has no effect on a file or folder", {"source": STREAM}),
        ({"decoder": "gpu", "source": CAMERA}, "--decoder gpu has no effect on cameras, pipelines", {"source": FILE}),
        ({"decoder": "gpu", "source": "a.png"}, "--decoder gpu has no effect on cameras", {"source": STREAM}),
        ({"fps": 30.0, "source": PIPELINE}, "--fps 30 has no effect on a pipeline", {"source": "csi:0"}),
        (
            {"quality": "best", "keypoints": "fast", "look_ahead": 0},
            "--quality best has no effect with both --keypoints and --look-ahead",
            {"look_ahead": "auto"},
        ),
        (
            {"precision": "int8", "engine": "openvino"},
            "--precision int8 has no effect without TensorRT: the networks run on the CPU in fp32",
            {"engine": "tensorrt"},
        ),
        ({"precision": "fp16", "engine": "onnxruntime"}, "--precision fp16 has no effect", {"precision": "fp32"}),
        pytest.param({"precision": "int8"}, "--precision int8 has no effect", {"engine": "tensorrt"}, marks=needs_no_gpu),
        pytest.param({"trust_engine": True}, "--trust-engine has no effect", {"engine": "tensorrt"}, marks=needs_no_gpu),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told_and_what_has_is_not(
    given: dict[str, Any], says: str, useful_with: dict[str, Any]
) -> None:
    options = Options(**{"source": FILE, **given})
    (line,) = unused_options(options)
    assert line.startswith(says)
    assert list(unused_options(replace(options, **useful_with))) == []


def test_a_display_is_a_view(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(source=FILE, layout="side", look="clay", encoder="x264")
    assert len(list(unused_options(options))) == 3
    monkeypatch.setattr(unused, "has_display", lambda: True)
    assert list(unused_options(options)) == []
    assert len(list(unused_options(replace(options, view="none")))) == 3


def test_defaults_are_no_remarks() -> None:
    for source in (FILE, CAMERA, STREAM, PIPELINE, "csi:0", "demo"):
        assert list(unused_options(Options(source=source))) == []


def test_a_replay_without_its_video() -> None:
    options = Options(fps=25, rotate=90, mirror=True)
    assert list(unused_in_replay(options, has_video=False)) == [
        "--fps 25 has no effect without --source",
        "--rotate 90 has no effect without --source",
        "--mirror has no effect without --source",
    ]
    assert list(unused_in_replay(options, has_video=True)) == []


def test_a_session_says_it_before_anything_is_opened(remarks: Remarks, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"nothing\.mp4"):
        Session(Options(source=str(tmp_path / "nothing.mp4"), view="none", port=1)).run()
    assert remarks.warnings == ["--port 1 has no effect without --view browser"]


@pytest.mark.parametrize(("regressor", "reads"), [("motion", True), ("keypoints", False)])
def test_flow_that_the_regressor_does_not_read(regressor: str, reads: bool, remarks: Remarks) -> None:
    options = Options(source=CLIP, frames=3, regressor=regressor, flow="dis", persons=1, quality="live")
    assert [result.people for result in streams.stream(options)][-1]
    told = [line for line in remarks.warnings if "--flow" in line]
    assert told == (
        [] if reads else ["--flow dis has no effect on bodies with --regressor keypoints: it reads none"]
    )  # fmt: skip
