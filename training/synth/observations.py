"""Simulated observations of a scene: detections, tracker boxes, rendered frames and estimated flow.

Only the image region around the person is rendered, at the scale that the crops need. Crops and flow are computed by
the real-time code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch

from body.joints import COCO_NAMES
from common.arrays import FloatArray, ImageArray, Int64Array
from realtime.records import Box, Flow, Frame
from realtime.stages.crops import Cropper
from realtime.stages.flow.crop_flow import FLOW_SIZE, CropFlow, DisFlow
from realtime.stages.tracking.regions import region_of
from training.simulation.detector_noise import NoiseSampler
from training.synth.render import BLOCK, Renderer, Sensor, crop_viewport, region_viewport

_DEPTH: Final = {
    "nose": 0.03, "eye": 0.03, "ear": 0.04, "shoulder": 0.12, "elbow": 0.08, "wrist": 0.06, "hip": 0.18, "knee": 0.10,
    "ankle": 0.09,
}  # fmt: skip
_INSIDE: Final = np.array([_DEPTH[name.split("_")[-1]] for name in COCO_NAMES], np.float32)
"""Metres between a keypoint and the skin in front of it. Surfaces nearer than that hide the keypoint."""
_VISIBILITY: Final = 128
_WIDER: Final = (
    1.15  # the search region grows by this factor while the person is lost, as in realtime.stages.tracking.tracker
)


def rendered_visibility(renderer: Renderer, frame: int) -> Int64Array:
    """State of each COCO keypoint, (17,) int64: 0 visible, 1 hidden by the body or an occluder, 2 outside the image."""
    scene = renderer.scene
    width, height = scene.size
    points, depth = scene.points[frame], scene.coco[frame, :, 2] + scene.pelvis[frame, 2]
    outside = ((points < 0) | (points > [width - 1, height - 1])).any(1) | (depth < 0.1)
    state = np.where(outside, 2, 0)
    inside = points[~outside]
    if not len(inside):
        return state
    low, high = inside.min(0), inside.max(0)
    x, y = ((low + high) / 2).tolist()
    box = Box(x, y, max(float((high - low).max()) * 1.05, 16.0))
    seen = renderer.surface(frame, crop_viewport(scene, box, _VISIBILITY)).inverse_depth
    cell = ((points - [box.x, box.y]) / box.size + 0.5) * _VISIBILITY - 0.5
    column, row = cell.round().astype(int).clip(0, _VISIBILITY - 1).T
    nearest = 1 / np.maximum(seen[row, column], 1e-6)
    state[~outside & (nearest < depth - _INSIDE)] = 1
    return state


@dataclass(frozen=True, slots=True)
class ObservedTrack:
    """Simulated detections and tracker boxes of one person over T frames."""

    points: FloatArray
    """(T, 17, 2) float32, detected COCO keypoints, image px."""
    confidence: FloatArray
    """(T, 17) float32, confidences, 0..1."""
    states: Int64Array
    """(T, 17) int64, true visibility, see `rendered_visibility`."""
    boxes: list[Box]
    """T boxes, each computed from the detections of the frame before."""


def simulate_tracking(renderers: list[Renderer], noise: NoiseSampler) -> list[ObservedTrack | None]:
    """Simulate detection and tracking of the main person of every scene (all of one length).

    Returns:
        One track per scene; None where the tracker would not have found the person.
    """
    scenes = [renderer.scene for renderer in renderers]
    states = np.stack(
        [[rendered_visibility(renderer, frame) for frame in range(renderer.scene.frames)] for renderer in renderers]
    )
    detected, confidence = noise(
        torch.from_numpy(np.stack([scene.points for scene in scenes])),
        torch.from_numpy(states),
        torch.tensor([scene.size for scene in scenes], dtype=torch.float32),
        torch.from_numpy(np.stack([scene.dt for scene in scenes])),
    )
    tracks: list[ObservedTrack | None] = []
    for row, scene in enumerate(scenes):
        points, sure = detected[row].numpy(), confidence[row].numpy()
        box = region_of(points[0], sure[0], *scene.size)
        if box is None or (states[row] == 0).sum(1).min() < 3:
            tracks.append(None)
            continue
        boxes = [box]
        widest = 1.25 * max(scene.size)
        for frame in range(1, scene.frames):
            found = region_of(points[frame - 1], sure[frame - 1], *scene.size, boxes[-1])
            last = boxes[-1]
            boxes.append(found or Box(last.x, last.y, min(last.size * _WIDER, widest)))
        tracks.append(ObservedTrack(points, sure, states[row], boxes))
    return tracks


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """One rendered frame of a tracked person."""

    frame: int
    """Index of the frame in its scene."""
    box: Box
    """The tracker's box, px of the full image."""
    crop: ImageArray
    """(S, S, 3) uint8 BGR, the crop of ``box``."""
    flow: Flow | None
    """Flow from the frame before, inside the same box; None for the first frame."""


class RegionRenderer:
    """Renders the image regions that the crops of ``boxes`` need.

    The scale is reduced so that a typical box covers twice `FLOW_SIZE` pixels, which is enough for its crop. Small people
    are not enlarged: they keep the resolution that the camera gives them.
    """

    def __init__(self, renderer: Renderer, boxes: list[Box], sensor: Sensor) -> None:
        """Choose the scale from ``boxes``, px of the full image, and keep ``sensor`` for all frames."""
        self._renderer, self._sensor = renderer, sensor
        self.scale = min(1.0, 2 * FLOW_SIZE / float(np.median([box.size for box in boxes])))
        width, height = renderer.scene.size
        self.size = max(round(width * self.scale), BLOCK), max(round(height * self.scale), BLOCK)

    def render_region(self, frame: int, boxes: list[Box], rng: np.random.Generator) -> RenderedRegion:
        """Render the region of ``frame`` that covers ``boxes`` (px of the full image) and apply the sensor model."""
        region = covering_region([self.scale_box(box) for box in boxes], *self.size)
        view = region_viewport(self._renderer.scene, *region, self.scale)
        image = self._renderer.render(frame, view, 1 if self.scale < 1 else 2)
        return RenderedRegion(region[0], region[1], self._sensor(image, rng))

    def scale_box(self, box: Box) -> Box:
        """A box of the full image in pixels of the scaled image."""
        shift = (self.scale - 1) / 2
        return Box(box.x * self.scale + shift, box.y * self.scale + shift, box.size * self.scale)


@dataclass(frozen=True, slots=True)
class RenderedRegion:
    """A rendered region of the scaled image, and its position there."""

    left: int
    """Column of the region's left edge, px of the scaled image."""
    top: int
    """Row of the region's top edge, px of the scaled image."""
    image: ImageArray
    """(H, W, 3) uint8, BGR image."""

    def crop(self, left: int, top: int, right: int, bottom: int) -> ImageArray:
        """Columns ``left``..``right`` - 1 and rows ``top``..``bottom`` - 1 of the scaled image, as a contiguous copy.

        All of them must lie in this region.
        """
        return np.ascontiguousarray(
            self.image[top - self.top : bottom - self.top, left - self.left : right - self.left]
        )

    def to_region(self, box: Box) -> Box:
        """A box of the scaled image in pixels of this region."""
        return Box(box.x - self.left, box.y - self.top, box.size)


def render_frames(
    renderer: Renderer, boxes: list[Box], crop: int, rng: np.random.Generator, engine: CropFlow | None = None
) -> Iterator[RenderedFrame]:
    """Render a scene: one `RenderedFrame` per frame, in order.

    Args:
        renderer: The scene.
        boxes: The tracker's box of every frame, px of the full image.
        crop: Side of the crops, px.
        rng: Source of the sensor parameters and noise.
        engine: Flow estimator; DIS where None.
    """
    region_renderer = RegionRenderer(renderer, boxes, Sensor.sample(rng))
    # DIS is initialised with its previous field, so every clip needs an engine of its own.
    engine = DisFlow() if engine is None else engine
    cropper = Cropper(crop, cv2.BORDER_CONSTANT)
    times = np.cumsum(renderer.scene.dt)
    previous: RenderedRegion | None = None
    for frame in range(renderer.scene.frames):
        part, box = (
            region_renderer.render_region(frame, boxes[frame : frame + 2], rng),
            region_renderer.scale_box(boxes[frame]),
        )
        flow = None
        if previous is not None:
            cut = covering_region([box], *region_renderer.size)
            before, now = (
                Frame(number, 0, float(times[number]), one.crop(*cut))
                for number, one in ((frame - 1, previous), (frame, part))
            )
            moved = engine(before, now, Box(box.x - cut[0], box.y - cut[1], box.size))
            flow = Flow(frame, frame - 1, moved.dt_s, boxes[frame], moved.field)
        yield RenderedFrame(frame, boxes[frame], cropper(part.image, part.to_region(box)).copy(), flow)
        previous = part


def covering_region(boxes: list[Box], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a region of whole JPEG blocks that covers ``boxes`` with one pixel of margin."""
    low = np.floor(np.min([[box.x - box.size / 2, box.y - box.size / 2] for box in boxes], 0)).astype(int) - 1
    high = np.ceil(np.max([[box.x + box.size / 2, box.y + box.size / 2] for box in boxes], 0)).astype(int) + 2
    left, top = (int(value) // BLOCK * BLOCK for value in np.clip(low, 0, [width - BLOCK, height - BLOCK]))
    right, bottom = (int(value) for value in np.clip(high, [left + BLOCK, top + BLOCK], [width, height]))
    return left, top, max(right, left + 1), max(bottom, top + 1)
