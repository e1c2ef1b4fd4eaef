"""Real video as a network receives it in real time: regions, flow, detections and crops of the tracked person.

For evaluation only; it is never used in training: the shipped networks have seen no real person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.arrays import FloatArray, Int64Array
from common.camera import Camera
from engines.registry import open_engine
from realtime.intrinsics import camera_for
from realtime.records import Box, Frame
from realtime.sources import open_source
from realtime.sources.source import Source
from realtime.stages.crops import Cropper
from realtime.stages.flow.crop_flow import DisFlow, cell_means
from realtime.stages.keypoints.movenet import MoveNet
from realtime.stages.tracking.detection import PersonDetector
from realtime.stages.tracking.finder import Finder
from realtime.stages.tracking.regions import region_of
from realtime.stages.tracking.tracker import Tracker
from training.networks.inputs import FLOW_CELLS, IMAGE_SIDE, Observation


@dataclass(frozen=True, slots=True)
class RealClip:
    """T consecutive frames of a video with one tracked person."""

    name: str
    """Stem of the video's file name."""
    camera: Camera
    """Intrinsics, px."""
    fps: float
    """Frames per second."""
    frames: Int64Array
    """(T,) int64, indices in the video."""
    seen: Observation
    """Inputs of the network, B = 1."""


@dataclass(slots=True)
class _Row:
    """What was observed of the person in one frame."""

    frame: int
    """Index in the video."""
    time_s: float
    """Seconds of the video."""
    points: FloatArray
    """float32 (17, 2), COCO order, image pixels."""
    confidence: FloatArray
    """float32 (17,), confidences, 0..1."""
    box: Box
    """The person's region, image pixels."""
    flow: FloatArray | None
    """float32 (cells, cells, 2) cell means since the frame before, in sides of the region; None where there is none."""
    image: NDArray[np.uint8]
    """uint8 (side, side, 3) RGB, the region's crop."""


def observe_video(
    path: Path, focal: float | None = None, max_frames: int | None = None, min_frames: int = 8
) -> list[RealClip]:
    """Run the real-time observation on a video, and split it into clips of at least ``min_frames`` frames.

    Args:
        path: The video.
        focal: Focal length, px; estimated where None.
        max_frames: Largest number of frames to read.
        min_frames: Shortest clip that is kept.

    Raises:
        UserError: The video cannot be read.
        EngineError: A network cannot be loaded.
    """
    crop, flow = Cropper(IMAGE_SIDE), DisFlow()
    stretches: list[list[_Row]] = []
    with (
        open_engine("movenet-lightning") as keypoints,
        open_engine("movenet-multipose") as detector,
        open_source(str(path)) as source,
    ):
        camera = camera_for(source.size, None, focal)
        tracker = Tracker(MoveNet(keypoints), Finder(PersonDetector(detector)))
        previous: Frame | None = None
        last = -1
        for frame in _frames(source, max_frames):
            boxes = dict(tracker.regions(frame))
            people = tracker.update(frame)
            if not people:
                previous, last = frame, -1
                continue
            person = people[0]
            # A newly detected person has no earlier region, hence no flow yet.
            box = boxes.get(person.person) or region_of(person.points, person.confidence, *source.size)
            assert box is not None, "somebody was seen there"
            motion = None
            if previous is not None and person.person == last and person.person in boxes:
                motion = cell_means(flow(previous, frame, box), FLOW_CELLS)
            else:
                stretches.append([])
            rgb = cv2.cvtColor(crop(frame.image, box), cv2.COLOR_BGR2RGB)
            stretches[-1].append(
                _Row(frame.sequence, frame.time_s, person.points, person.confidence, box, motion, np.asarray(rgb))
            )
            previous, last = frame, person.person
    return [_clip(rows, path.stem, camera, source.fps) for rows in stretches if len(rows) >= min_frames]


def _frames(source: Source, max_frames: int | None) -> Iterator[Frame]:
    """The frames of a source, each in its own memory, because the previous one is still needed for the flow."""
    count = 0
    while max_frames is None or count < max_frames:
        buffer = source.new_buffer()
        timestamp = source.read_into(buffer)
        if timestamp is None:
            return
        count += 1
        yield Frame(timestamp.index, timestamp.captured_ns, timestamp.time_s, buffer)


def _clip(rows: list[_Row], name: str, camera: Camera, fps: float) -> RealClip:
    times = np.array([row.time_s for row in rows])
    dt = np.diff(times, prepend=times[0] - 1 / fps)
    none = np.zeros((FLOW_CELLS, FLOW_CELLS, 2), np.float32)

    def stack(values: list[FloatArray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(values).astype(np.float32))[None]

    images = np.stack([row.image for row in rows]).transpose(0, 3, 1, 2)
    intrinsics = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    seen = Observation(
        stack([row.points for row in rows]),
        stack([row.confidence for row in rows]),
        stack([intrinsics] * len(rows)),
        torch.from_numpy(dt.astype(np.float32))[None],
        stack([none if row.flow is None else row.flow for row in rows]),
        stack([np.array(row.box, np.float32) for row in rows]),
        torch.tensor([[float(row.flow is not None) for row in rows]]),
        torch.from_numpy(np.ascontiguousarray(images))[None].float() / 255,
    )
    return RealClip(name, camera, fps, np.array([row.frame for row in rows], np.int64), seen)
