"""Small videos with a tone, and what of it a file holds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from tests.realtime.clips import numbered_image

RATE = 48_000
FPS = 30
_TYPES = {"s16": "i2", "s16p": "i2", "s32": "i4", "s32p": "i4", "u8p": "u1"}
_BASE = Fraction(1, 1000)


def write_tone_video(
    path: Path,
    frames: int = 60,
    *,
    video_from_s: float = 0.0,
    tone_from_s: float = 0.0,
    tone_s: float | None = None,
    codec: str = "aac",
) -> Path:
    """Numbered frames at 30 fps that begin at ``video_from_s``, and a tone of 440 Hz with ``codec`` that begins at
    ``tone_from_s`` and lasts ``tone_s`` (as long as the frames)."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = _BASE
        audio = out.add_stream(codec, rate=RATE, layout="mono")
        assert isinstance(audio, AudioStream)
        kind = audio.codec_context.format.name
        seconds = frames / FPS if tone_s is None else tone_s
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
        size = audio.codec_context.frame_size or 1024
        done = 0
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_image(index % 256), "bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(1000 * (video_from_s + index / FPS)), _BASE
            out.mux(video.encode(frame))
            while done + size <= len(tone) and tone_from_s + done / RATE <= video_from_s + (index + 1) / FPS:
                part = tone[None, done : done + size]
                samples = part * np.iinfo(np.dtype(_TYPES[kind])).max if kind in _TYPES else part
                sound = av.AudioFrame.from_ndarray(samples.astype(_TYPES.get(kind, "f4")), kind, "mono")
                sound.sample_rate, sound.time_base = RATE, Fraction(1, RATE)
                sound.pts = round(tone_from_s * RATE) + done
                out.mux(audio.encode(sound))
                done += size
        out.mux(audio.encode(None))
        out.mux(video.encode(None))
    return path


def with_sound_of(clip: Path, tone: Path, path: Path, later_s: float) -> Path:
    """The frames of ``clip``, which begin at ``later_s``, with the sound of ``tone``, packets as they are."""
    with av.open(str(clip)) as frames, av.open(str(tone)) as sound, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(frames.streams.video[0])
        audio = out.add_stream_from_template(sound.streams.audio[0])
        for packet in frames.demux(video=0):
            if packet.pts is not None and packet.dts is not None and packet.time_base is not None:
                shift = round(later_s / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, video
                out.mux(packet)
        for heard in sound.demux(audio=0):
            if heard.pts is not None:
                heard.stream = audio
                out.mux(heard)
    return path


def sound_of(path: Path) -> list[tuple[float, bytes]]:
    """Time in seconds and content of every packet of sound; empty where there is none."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        packets = list(container.demux(container.streams.audio[0]))
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets if packet.pts is not None]


def times_of(path: Path) -> list[float]:
    """Times in seconds of all frames that can be decoded."""
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)]
