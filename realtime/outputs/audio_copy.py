"""Copies a source's sound into a recording, packet by packet as it was encoded."""

from __future__ import annotations

import logging
from typing import Final

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from realtime.sources.audio import AudioPacket, AudioTrack

_LOG = logging.getLogger(__name__)

LATEST_S: Final = 1.0
"""Sound that begins later is left out: until it begins, a killed program would leave no file that plays."""
AUDIO_CONTAINER_OPTIONS: Final = {"movflags": "hybrid_fragmented+delay_moov", "max_interleave_delta": "500000"}
"""What an MP4 with sound needs: a header that waits for the first packet of sound, for it says when that begins; and video that
waits no longer than half a second for sound which has ended."""

_PACKET_S: Final = 0.1  # no packet of sound lasts longer


class AudioCopy:
    """The sound of one recording. Used under the recorder's lock."""

    def __init__(self, audio: AudioTrack) -> None:
        """``audio``: by the clock of the recorded images."""
        self._audio = audio
        self._stream: AudioStream | None = None
        self._early: list[AudioPacket] = []
        self._last_pts: int | None = None

    def begins_at(self, zero_s: float) -> bool:
        """Whether there is sound for a recording that begins at ``zero_s`` seconds. What comes before is left out, but for the
        packet that sounds at that moment, or that a decoder needs to begin: players skip its part before."""
        self._early = [early for early in self._audio.take(zero_s)[-1:] if early.time_s > zero_s - _PACKET_S]
        first_s = zero_s if self._early else self._audio.first_s()
        if first_s is not None and first_s <= zero_s + LATEST_S:
            return True
        when = "never begins" if first_s is None else f"begins only after {first_s - zero_s:.1f} s"
        _LOG.info(f"the sound of the source is not recorded: it {when}")
        self.stop()
        return False

    def open(self, container: OutputContainer) -> None:
        """Add the stream to ``container``."""
        self._stream = container.add_stream_from_template(self._audio.template)

    def mux(self, container: OutputContainer, zero_s: float, until_s: float) -> None:
        """Copy what begins before ``until_s`` seconds; 0 of the recording is at ``zero_s``.

        Raises av.FFmpegError, OSError where ``container`` cannot be written.
        """
        if self._stream is None:
            return
        early, self._early = self._early, []
        for packet, time_s in early + self._audio.take(until_s):
            assert packet.time_base is not None
            pts = round((time_s - zero_s) / packet.time_base)
            if self._last_pts is not None and pts <= self._last_pts:  # timestamps that started over
                continue
            packet.pts = packet.dts = self._last_pts = pts
            packet.stream = self._stream
            try:
                container.mux(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError):
                _LOG.warning("the sound of the source is damaged: the recording goes on without")
                self.stop()
                return

    def stop(self) -> None:
        """Take no more."""
        self._stream = None
        self._audio.stop()
