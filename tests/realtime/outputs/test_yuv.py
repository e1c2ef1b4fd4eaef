"""The converter for encoders against FFmpeg's own."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from common.arrays import ImageArray
from realtime.outputs.yuv import YuvFrame


def planes(frame: av.VideoFrame) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int16]]]:
    rows = [np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size) for plane in frame.planes]
    return [row[:, : plane.width].astype(np.int16) for row, plane in zip(rows, frame.planes, strict=True)]


@pytest.mark.parametrize("size", [(64, 48), (254, 98), (1282, 16)])
def test_it_agrees_with_ffmpeg(size: tuple[int, int]) -> None:
    width, height = size
    noise = np.random.default_rng(4).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    image: ImageArray = np.asarray(cv2.resize(noise, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    wanted = av.VideoFrame.from_ndarray(image, "bgr24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    found = YuvFrame(width, height)
    found.fill(np.zeros_like(image))
    found.fill(image)
    for own, other in zip(planes(found.frame), planes(wanted), strict=True):
        assert np.abs(own - other).max() <= 2
        assert np.abs(own - other).mean() <= 0.6


def test_extremes_stay_in_range() -> None:
    frame = YuvFrame(2, 2)
    for colour, luma in (((0, 0, 0), 16), ((255, 255, 255), 235)):
        frame.fill(np.full((2, 2, 3), colour, np.uint8))
        y, u, v = planes(frame.frame)
        assert (y == luma).all()
        assert u[0, 0] == v[0, 0] == 128
    frame.fill(np.full((2, 2, 3), (255, 0, 0), np.uint8))
    assert planes(frame.frame)[1][0, 0] == 240
    frame.fill(np.full((2, 2, 3), (0, 0, 255), np.uint8))
    assert planes(frame.frame)[2][0, 0] == 240


def test_a_part_of_a_wider_image_is_taken_as_it_is() -> None:
    wide = np.random.default_rng(1).integers(0, 256, (16, 64, 3), np.uint8)
    part, whole = YuvFrame(32, 16), YuvFrame(32, 16)
    part.fill(wide[:, 32:])
    whole.fill(np.ascontiguousarray(wide[:, 32:]))
    for one, other in zip(planes(part.frame), planes(whole.frame), strict=True):
        np.testing.assert_array_equal(one, other)
