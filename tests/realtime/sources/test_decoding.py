"""Decoding on a GPU: there is none here, so what is tested is that it is asked for, and done without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from realtime.sources import decoding, open_source
from realtime.sources.decoding import open_video
from tests.conftest import Remarks
from tests.realtime.clips import number, write_video


def test_without_a_gpu_the_cpu_decodes_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks
) -> None:
    monkeypatch.setattr(decoding, "gpu_decoder", lambda: "")
    path = write_video(tmp_path / "clip.mp4", 4)
    with open_source(str(path), decoder="gpu") as source:
        buffer = source.new_buffer()
        assert [number(buffer) for _ in iter(lambda: source.read_into(buffer), None)] == [0, 1, 2, 3]
    assert remarks.warnings == [f"{path}: no GPU decodes video here (--decoder gpu): the CPU does"]


@pytest.mark.parametrize("decoder", ["cpu", "gpu"])
def test_a_gpu_is_asked_only_when_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: Any) -> None:
    asked: dict[str, Any] = {}
    opened, path = av.open, write_video(tmp_path / "clip.mp4", 2)

    def spy(address: str, **arguments: Any) -> Any:
        asked.update(arguments)
        return opened(address)

    monkeypatch.setattr(decoding, "gpu_decoder", lambda: "cuda")
    monkeypatch.setattr(av, "open", spy)
    open_video(str(path), decoder, "clip").close()
    assert ("hwaccel" in asked) == (decoder == "gpu")


def test_the_probe_tells_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it names decodes: the frames of a real file come out of it."""
    decoding.gpu_decoder.cache_clear()
    if kind := decoding.gpu_decoder():
        clip = Path(__file__).parents[3] / "assets" / "synthetic_walk.mp4"
        with open_video(str(clip), "gpu", "clip") as container:
            assert next(container.decode(video=0)).width == 640, kind
            assert container.streams.video[0].codec_context.is_hwaccel
    else:
        assert all(not _starts(kind) for kind in ("cuda", "vaapi"))


def _starts(kind: str) -> bool:
    try:
        decoding.HWAccel(kind).create(av.Codec("h264", "r"))
    except (OSError, av.FFmpegError, NotImplementedError, ValueError, RuntimeError):
        return False
    return True
