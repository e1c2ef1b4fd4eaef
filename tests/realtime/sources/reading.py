"""Read a source to its end."""

from __future__ import annotations

from common.arrays import ImageArray
from realtime.sources import FrameTimestamp, Source


def read_all(source: Source) -> tuple[list[FrameTimestamp], list[ImageArray]]:
    timestamps: list[FrameTimestamp] = []
    images: list[ImageArray] = []
    while True:
        buffer = source.new_buffer()
        timestamp = source.read_into(buffer)
        if timestamp is None:
            return timestamps, images
        timestamps.append(timestamp)
        images.append(buffer)


def times_of(timestamps: list[FrameTimestamp]) -> list[float]:
    return [timestamp.time_s for timestamp in timestamps]
