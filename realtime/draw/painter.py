"""Paints people over video: shaded bodies, the detected keypoints, a line of figures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from body.joints import COCO_EDGES
from body.suit.parts import PALETTE, Colour
from common.arrays import FloatArray, ImageArray
from common.camera import Camera
from realtime.draw.mannequin import Mannequin
from realtime.draw.raster import Rasteriser
from realtime.records import BodyEstimate, Keypoints, Result

LEFT_COLOUR: Final[Colour] = (90, 200, 255)
RIGHT_COLOUR: Final[Colour] = (255, 200, 90)
MIDDLE_COLOUR: Final[Colour] = (235, 235, 235)

_MIN_TEXT: Final = 0.4  # letters of 8 pixels
_BETWEEN: Final = " " * 4  # parts of a line of text
_TALLEST: Final = 0.25  # of the image's height: a line of text that takes more is left out
_LINE_EVERY: Final = 700  # rows of the image: limbs get a pixel thicker
_SHIFT: Final = 4  # OpenCV draws at 1/16 of a pixel
_FAR: Final = 1 << 14  # beyond this many pixels OpenCV's fixed point would overflow


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures in the corner of an annotated frame."""

    mesh_rate: float
    """New meshes a second; NaN before they can be counted."""
    latency_ms: float
    """Latency from capture to mesh, ms; NaN likewise."""
    people: int
    """People in view."""

    def __str__(self) -> str:
        who = "nobody" if not self.people else "1 person" if self.people == 1 else f"{self.people} people"
        known = np.isfinite(self.mesh_rate) and np.isfinite(self.latency_ms)
        return _BETWEEN.join((f"{self.mesh_rate:.1f} meshes/s", f"{self.latency_ms:.0f} ms", who)) if known else who


class MeshPainter:
    """Paints bodies of one topology over images, in place.

    One thread at a time may use a painter; painters are cheap (2 MB at 640x480), so give each thread its own. The first
    one of a process loads or compiles the loops: see ``warm_up``.
    """

    def __init__(self, mannequin: Mannequin, *, alpha: float = 0.94, outline: float = 0.4) -> None:
        """``mannequin``: how bodies look. ``alpha`` 0..1: how opaque they are. ``outline`` 0..1: how dark their contours are.
        Raises ``ValueError`` for faces of another shape."""
        self._mannequin = mannequin
        self._alpha = alpha
        self._outline = outline
        self._raster = Rasteriser(mannequin.faces)

    @property
    def raster(self) -> Rasteriser:
        """The depth buffer and the box of what was painted last."""
        return self._raster

    def paint(
        self,
        image: ImageArray,
        vertices: FloatArray,
        camera: Camera,
        colour: Sequence[float] = PALETTE[0],
        alpha: float | None = None,
    ) -> None:
        """Paint one body over ``image`` (H, W, 3) uint8 BGR, in place; pixels beside the body keep their value.

        ``vertices`` (V, 3) float32 metres in the camera frame, ``camera`` in pixels of this image, ``colour`` BGR
        0..255, ``alpha`` 0..1 (the painter's own by default). Raises ``ValueError`` for arrays of other shapes.
        """
        self.paint_all(image, [(vertices, colour)], camera, alpha)

    def paint_people(
        self, image: ImageArray, people: Iterable[BodyEstimate], camera: Camera, alpha: float | None = None
    ) -> None:
        """Paint all people, each in the colours of its id; the nearer one hides the other. Their vertices are drawn as
        they are: see ``Mannequin.dress``. Else as ``paint``."""
        bodies = [(body.vertices, self._mannequin.colours(body.person)) for body in people]
        self.paint_all(image, bodies, camera, alpha)

    def paint_all(
        self,
        image: ImageArray,
        bodies: Sequence[tuple[FloatArray, Sequence[float] | FloatArray]],
        camera: Camera,
        alpha: float | None = None,
    ) -> None:
        """Paint pairs of (vertices, colour) that share one depth buffer. Else as ``paint``."""
        if not bodies:
            return
        self._raster.begin(*image.shape[:2])
        for vertices, colour in bodies:
            self._raster.add(vertices, camera, colour, self._mannequin.edges)
        self._raster.blend(image, self._alpha if alpha is None else alpha, self._outline)

    def annotate(self, image: ImageArray, result: Result, min_confidence: float = 0.3) -> None:
        """Paint all of a result, dressed, over ``image`` (H, W, 3) uint8 BGR, a copy of its frame, in place: bodies, and
        on them the keypoints detected with at least ``min_confidence``. Raises ``ValueError`` as ``paint``."""
        self.paint_people(image, self._mannequin.dress(result.people), result.camera)
        for body in result.people:
            skeleton(image, body.keypoints, min_confidence)


def skeleton(image: ImageArray, keypoints: Keypoints, min_confidence: float = 0.3, thick: int | None = None) -> None:
    """Draw detected keypoints and limbs over ``image`` (H, W, 3) uint8 BGR, in place: smooth lines, ``thick`` pixels wide, by
    default as the image's size wants it.

    Keypoints under ``min_confidence`` (0..1), not finite or far outside are left out, and limbs that end at one. The
    person's left is amber, the right is blue.
    """
    points, confidence = keypoints.points, keypoints.confidence
    thick = max(round(image.shape[0] / _LINE_EVERY), 1) if thick is None else thick
    radius = min(1 + 1.5 * thick, max(image.shape[0] / 100, 1.0))  # small images would be hidden
    shown = (confidence >= min_confidence) & np.isfinite(points).all(1) & (np.abs(points) < _FAR).all(1)
    fixed = np.round(np.where(shown[:, None], points, 0) * (1 << _SHIFT)).astype(int).tolist()
    for one, other in COCO_EDGES:
        if shown[one] and shown[other]:
            colour = _side(one) if _side(one) == _side(other) else MIDDLE_COLOUR
            cv2.line(image, fixed[one], fixed[other], colour, thick, cv2.LINE_AA, _SHIFT)
    for joint in np.flatnonzero(shown).tolist():
        cv2.circle(image, fixed[joint], round(radius * (1 << _SHIFT)), _side(joint), -1, cv2.LINE_AA, _SHIFT)


def _side(keypoint: int) -> Colour:
    """COCO lists the nose, then left and right in turn."""
    return MIDDLE_COLOUR if keypoint == 0 else (LEFT_COLOUR, RIGHT_COLOUR)[(keypoint - 1) % 2]


def text_line(image: ImageArray, text: str) -> None:
    """Write one line of ASCII ``text`` on a darkened strip at the top of ``image`` (H, W, 3) uint8, in
    place. Its size follows the image's, and is smaller where it would not fit. At the smallest, parts that four spaces divide
    are left out from the end until the rest fits, and all of it where it would hide much of the image.
    """
    height, width = image.shape[:2]
    size = max(min(height / 960, width / 600), _MIN_TEXT)
    while True:
        (wide, tall), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        pad = max(tall // 2, 4)
        if wide + 3 * pad <= width:
            break
        if size <= _MIN_TEXT and _BETWEEN not in text:
            return
        if size <= _MIN_TEXT:
            text = text.rpartition(_BETWEEN)[0]
        size = max(0.9 * size, _MIN_TEXT)
    strip_height = tall + base + 2 * pad
    if strip_height > _TALLEST * height:
        return
    strip = image[:strip_height, : wide + 3 * pad]
    strip[...] = cv2.convertScaleAbs(strip, alpha=0.42)
    at = (pad + pad // 2, pad + tall)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (245, 245, 245), 1, cv2.LINE_AA)


def warm_up() -> float:
    """Load the compiled loops, or compile them on a machine that has no cache of them yet, and run each once.

    Returns the seconds it took. Call it before the first frame flows: a stage that compiles would stall the pipeline.
    """
    start = time.perf_counter()
    painter = MeshPainter(Mannequin(np.array([[0, 1, 2]], np.int32)))
    corners = np.array([[0, -1, 2], [-1, 1, 2], [1, 1, 2]], np.float32)
    painter.paint(np.zeros((16, 16, 3), np.uint8), corners, Camera(10, 10, 8, 8))
    return time.perf_counter() - start
