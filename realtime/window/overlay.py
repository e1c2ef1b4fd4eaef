"""The window's image without the window: the video with what is drawn on it, and the block of text of both views."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from body.joints import PARENTS
from body.suit.parts import Colour, colour_of
from common.arrays import FloatArray, ImageArray
from common.camera import Camera
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import MeshPainter, skeleton
from realtime.records import Keypoints
from realtime.window.shared_memory import WindowScene
from realtime.window.view_state import WindowState

_PLAIN: Final[Colour] = (240, 240, 240)
_ALARM: Final[Colour] = (90, 110, 255)
_NOTICE: Final[Colour] = (90, 210, 255)
_FAINT: Final[Colour] = (190, 190, 190)
_ALARMS: Final = ("REC", "signal", "stalled")
_FAR: Final = 1 << 14
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


class VideoPainter:
    """Paints scenes as the video view shows them. One thread at a time may use it."""

    def __init__(self, solid: Mannequin, wire: Mannequin) -> None:
        """``solid`` and ``wire``: how bodies look in these two modes."""
        self._solid, self._wire = MeshPainter(solid), MeshPainter(wire)
        self._looks = solid, wire

    def paint(self, scene: WindowScene, state: WindowState) -> None:
        """Paint bodies and keypoints over the scene's own image, in place."""
        image = scene.image
        if state.mode in ("solid", "wire"):
            wire = state.mode == "wire"
            look = self._looks[wire]
            bodies = [(body.vertices, look.colours(body.person)) for body in scene.bodies]
            (self._wire if wire else self._solid).paint_all(image, bodies, scene.camera)
        elif state.mode == "skeleton":
            for body in scene.bodies:
                paint_joints(image, body.joints, scene.camera, colour_of(body.person))
        if state.keypoints:
            for body in scene.bodies:
                found = Keypoints(0, body.person, body.keypoints[:, :2], body.keypoints[:, 2])
                skeleton(image, found)


def paint_joints(image: ImageArray, joints: FloatArray, camera: Camera, colour: Colour) -> None:
    """Draw the bones between ``joints`` (24, 3), camera frame, metres, over ``image`` (H, W, 3) uint8 BGR, in place."""
    points = camera.project(joints)
    shown = [bool(np.all(np.abs(point) < _FAR)) for point in points]  # not where it is NaN, behind the camera
    fixed = np.round(np.where(np.array(shown)[:, None], points, 0) * 16).astype(int).tolist()
    thick = max(round(image.shape[0] / 240), 2)
    for joint, parent in enumerate(PARENTS):
        if parent >= 0 and shown[joint] and shown[parent]:
            cv2.line(image, fixed[parent], fixed[joint], colour, thick, cv2.LINE_AA, 4)
    for joint in (joint for joint, is_shown in enumerate(shown) if is_shown):
        cv2.circle(image, fixed[joint], (thick + 1) * 16, _PLAIN, -1, cv2.LINE_AA, 4)


def text_lines(scene: WindowScene, state: WindowState, screen_ms: float) -> list[tuple[str, Colour]]:
    """All lines of the moment with their colours. ``screen_ms``: how old the last image was when it reached the screen; not
    finite where that is not known."""
    lines: list[tuple[str, Colour]] = []
    if scene.text:
        lines.append((scene.text + (f"    {screen_ms:.0f} ms to screen" if np.isfinite(screen_ms) else ""), _PLAIN))
    lines += [(line, _ALARM if line.startswith(_ALARMS) else _NOTICE) for line in scene.state.splitlines()]
    if state.followed >= 0 and not state.video:
        persons = sorted(body.person for body in scene.bodies)
        here = state.followed in persons
        who = f"person {persons.index(state.followed) + 1}" if here else "a person who is not in view"
        lines.append((f"following {who}", _FAINT))
    if state.details:
        lines += [(line, _FAINT) for line in scene.details.splitlines()]
    lines += [(line, _PLAIN) for line in (state.keys if state.help else ())]
    if not state.help and not scene.bodies:
        lines.append(("h: keys", _FAINT))
    return lines


def text_block(lines: list[tuple[str, Colour]], size: float) -> ImageArray:
    """An image (h, w, 3) uint8 BGR of ``lines`` (ASCII) on a dark ground; ``size`` 1 is letters of about 20 pixels. What
    follows a tab stands in a second column."""

    def width_of(text: str) -> int:
        return int(cv2.getTextSize(text, _FONT, size, 1)[0][0])

    step, pad = round(34 * size), round(12 * size)
    parts = [(*line.partition("\t"), colour) for line, colour in lines]
    second = max((width_of(first) for first, tab, _, _ in parts if tab), default=0) + 2 * pad
    ends = [second + width_of(rest) if tab else width_of(first) for first, tab, rest, _ in parts]
    block = np.full((step * len(lines) + pad, max(ends, default=0) + 2 * pad, 3), 24, np.uint8)
    for row, (first, _, rest, colour) in enumerate(parts):
        for x, text in ((pad, first), (pad + second, rest)):
            at = (x, pad // 2 + step * row + round(25 * size))
            cv2.putText(block, text, at, _FONT, size, colour, 1, cv2.LINE_AA)
    return block


def text_blocks(lines: list[tuple[str, Colour]], size: float) -> list[ImageArray]:
    """Two of `text_block`, to stand below each other: lines before the first one with a tab, and the narrow table that begins
    there, which hides less than it would with a ground as wide as the lines above. Where one would be empty, the other alone.
    """
    table = next((row for row, (line, _) in enumerate(lines) if "\t" in line), len(lines))
    return [text_block(part, size) for part in (lines[:table], lines[table:]) if part]


def paint_text(image: ImageArray, lines: list[tuple[str, Colour]]) -> None:
    """Lay the blocks of ``lines`` over the top left corner of ``image`` (H, W, 3) uint8 BGR, in place."""
    top = 0
    for block in text_blocks(lines, max(image.shape[0] / 1100, 0.4)):
        part = image[top : top + block.shape[0], : block.shape[1]]
        top += block.shape[0]
        block = block[: part.shape[0], : part.shape[1]]
        ink = block.max(2, keepdims=True) > 60
        part[...] = np.where(ink, block, (part * np.float32(0.35)).astype(np.uint8))
