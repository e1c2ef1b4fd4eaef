"""From decoded frames to upright BGR images of one size."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from common.arrays import ImageArray

# The upper-left 2x2 of a display matrix that turns or mirrors by right angles, and how to do the same to an array:
# (x', y') = (a x + c y, b x + d y) with x right and y down. A mirror comes after the turn.
_TURNS: dict[tuple[int, int, int, int], tuple[int | None, int | None]] = {
    (1, 0, 0, 1): (None, None),
    (0, 1, -1, 0): (cv2.ROTATE_90_CLOCKWISE, None),
    (-1, 0, 0, -1): (cv2.ROTATE_180, None),
    (0, -1, 1, 0): (cv2.ROTATE_90_COUNTERCLOCKWISE, None),
    (-1, 0, 0, 1): (None, 1),
    (1, 0, 0, -1): (None, 0),
    (0, 1, 1, 0): (cv2.ROTATE_90_CLOCKWISE, 1),
    (0, -1, -1, 0): (cv2.ROTATE_90_CLOCKWISE, 0),
}
DisplayMatrix = tuple[int, int, int, int]
UPRIGHT: DisplayMatrix = (1, 0, 0, 1)
_BY_ANGLE: dict[int, DisplayMatrix] = {-90: (0, 1, -1, 0), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), -180: (-1, 0, 0, -1)}
"""Degrees, counterclockwise."""


def display_matrix_of(frame: av.VideoFrame) -> DisplayMatrix:
    """How ``frame`` has to be turned or mirrored to stand upright: a phone held on its side says so in its file.

    A matrix that is no multiple of a right angle counts as upright.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside it are data of a kind that PyAV does not know, such as a photo's EXIF
        return _BY_ANGLE.get(round(frame.rotation), UPRIGHT)
    if data is None:
        return UPRIGHT
    numbers = np.frombuffer(data, np.int32)  # type: ignore[call-overload]  # a buffer; its stubs do not say so
    if len(numbers) < 9:
        return UPRIGHT
    a, b, _, c, d = (int(number) for number in numbers[:5])
    turn = (_sign(a), _sign(b), _sign(c), _sign(d))
    return turn if turn in _TURNS else UPRIGHT


def _colours(frame: av.VideoFrame) -> dict[str, Colorspace]:
    """Makes PyAV before 17 heed BT.709, the colours of most videos: it does so where source and target differ."""
    if frame.colorspace != Colorspace.ITU709:
        return {}
    return {"src_colorspace": Colorspace.ITU709, "dst_colorspace": Colorspace.ITU601}


def _sign(value: int) -> int:
    return (value > 1 << 15) - (value < -(1 << 15))


def fit_into(image: ImageArray, buffer: ImageArray) -> None:
    """Write ``image`` (h, w, 3) into ``buffer`` (H, W, 3), as large as it fits, centred, black around it."""
    height, width = buffer.shape[:2]
    h, w = image.shape[:2]
    if (h, w) == (height, width):
        np.copyto(buffer, image)
        return
    scale = min(width / w, height / h)
    inner_w, inner_h = max(1, round(w * scale)), max(1, round(h * scale))
    x, y = (width - inner_w) // 2, (height - inner_h) // 2
    buffer[:] = 0
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    buffer[y : y + inner_h, x : x + inner_w] = cv2.resize(image, (inner_w, inner_h), interpolation=how)


class FrameConverter:
    """Converts decoded frames of any pixel format to upright BGR with square pixels.

    Of interlaced frames, whose lines are of two moments, every second line counts: moving edges would be combs.

    One for each stream: it keeps the scaler's tables. ``pixel_aspect`` is the width of a stored pixel over its height
    (old camcorders store narrow pixels; a body model would see narrow people).
    """

    def __init__(self, pixel_aspect: float = 1.0) -> None:
        self._pixel_aspect = pixel_aspect if 0.1 < pixel_aspect < 10 else 1.0
        self._reformatter = VideoReformatter()
        self._rotation: float | None = None
        self._turn = UPRIGHT

    def size_of(self, frame: av.VideoFrame) -> tuple[int, int]:
        """(width, height) of ``frame`` turned upright, pixels."""
        width, height = self._stored_size(frame)
        return (height, width) if self._turn_of(frame)[0] == 0 else (width, height)

    def convert(self, frame: av.VideoFrame, buffer: ImageArray) -> None:
        """Write ``frame`` into ``buffer``, uint8 (H, W, 3) BGR; black borders where the shapes differ.

        Raises av.FFmpegError for a frame that cannot be converted.
        """
        width, height = self._stored_size(frame)
        bgr = self._reformatter.reformat(frame, width=width, height=height, format="bgr24", **_colours(frame))
        plane = bgr.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(
            height, plane.line_size
        )  # rows are padded, hence no plain view
        image: ImageArray = rows[:, : width * 3].reshape(height, width, 3)
        if frame.interlaced_frame and height > 1:
            image = np.asarray(cv2.resize(image[::2], (width, height)), np.uint8)
        rotation, mirror = _TURNS[self._turn_of(frame)]
        if rotation is None and mirror is None:
            fit_into(image, buffer)
            return
        if rotation is not None:
            turned = (width, height) if rotation == cv2.ROTATE_180 else (height, width)
            in_place = mirror is None and buffer.shape[1::-1] == turned and buffer.flags.c_contiguous
            image = np.asarray(cv2.rotate(image, rotation, dst=buffer if in_place else None), np.uint8)
            if in_place:
                return
        fit_into(image if mirror is None else np.asarray(cv2.flip(image, mirror), np.uint8), buffer)

    def _turn_of(self, frame: av.VideoFrame) -> DisplayMatrix:
        # A frame that was asked for its side data refers to itself: its megabytes wait for Python's cycle collector, and
        # hundreds of them for its next run. The rotation is free to ask, so look closely only when it changes.
        rotation = float(frame.rotation)
        if rotation != self._rotation:
            self._rotation, self._turn = rotation, display_matrix_of(frame)
        return self._turn

    def _stored_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        return max(1, round(frame.width * self._pixel_aspect)), frame.height
