"""Motion files shown or rendered again, without networks: over their video, or the bodies alone on the world's floor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from body.lbs import NumpyBody
from common.arrays import FloatArray, ImageArray, Int64Array
from common.camera import Camera
from common.errors import UserError
from common.files import check_apart
from formats.motion import Motion, body_of
from formats.save import open_motion
from realtime.draw.annotated_frame import AnnotatedFramePainter
from realtime.draw.floor import SOLE_M
from realtime.draw.mannequin import Mannequin, mannequin_for
from realtime.draw.side_view import SideView
from realtime.options import Look, Options, PaneLayout
from realtime.outputs.video import VideoRecorder
from realtime.records import BodyEstimate, Flow, Frame, Keypoints, Result, WorldFrame
from realtime.replay_frames import OwnFrames, ReplayFrames, VideoFrames
from realtime.sources import Source, is_live_source, open_source_of, path_of_source
from realtime.stages.flow.crop_flow import DisFlow
from realtime.stages.tracking.regions import region_of
from realtime.views.commands import Annotate
from realtime.views.replay_window import ReplayWindow
from realtime.window.controller import MeshWindow
from realtime.window.view_state import help_without

_LOG = logging.getLogger(__name__)

SIZE_ALONE: Final = (1280, 720)
"""Width and height, pixels, of images without a video."""
_KEYS: Final = help_without("i")  # nothing is measured
_KEYS_ALONE: Final = help_without("v", "m", "k", "f", "i", "1-9", "0")  # it is one image
_SAME_SHAPE: Final = 0.02  # a video may be of another size than the motion's, but not of another aspect ratio

Shown = Callable[[int], None]
"""Called after each image with the number so far."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was shown."""

    frames: int
    """Images of the video."""
    matched: int
    """How many of them have rows in the motion."""
    recorded: int
    """How many were written to a video."""


class MotionReplay:
    """The rows of a motion as results, frame by frame. One thread may use it."""

    def __init__(self, motion: Motion, body: Path | None = None) -> None:
        """``body``: the file of the body it was made with, where no shipped one is. Raises `UserError`."""
        self.motion = motion
        self.arrays = body_of(motion, body)
        self._body = NumpyBody(self.arrays)
        self.frames, self._starts = np.unique(motion.frame, return_index=True)
        self.times_s = motion.time_s[self._starts]
        self._world: WorldFrame | None = None  # the last one that was known: rows of nobody have none
        self._turned = _has_several(motion.world_from_camera)
        self._half_step_s = 0.5 / motion.fps if motion.fps > 0 else 0.02

    def place_of(self, index: int, time_s: float) -> int | None:
        """Which of the motion's frames was taken of the video's frame ``index`` at ``time_s`` seconds: the one with that index,
        and where its time is another one (a recording of a live source leaves frames out), the one with that time; else None.
        """
        place = int(np.searchsorted(self.frames, index))
        if place < len(self.frames) and self.frames[place] == index and self._is_at(place, time_s):
            return place
        nearest = int(np.abs(self.times_s - time_s).argmin())
        return nearest if self._is_at(nearest, time_s) else None

    def _is_at(self, place: int, time_s: float) -> bool:
        return bool(abs(self.times_s[place] - time_s) <= self._half_step_s)

    def result(self, place: int | None, frame: Frame, camera: Camera, scale: float = 1.0) -> Result:
        """Everybody in the motion's frame number ``place`` as a result on ``frame``; nobody for None.

        ``scale`` is the size of the video's images over those that the motion's pixels are of.
        """
        rows: Int64Array = np.empty(0, np.int64)
        if place is not None:
            end = self._starts[place + 1] if place + 1 < len(self._starts) else len(self.motion.frame)
            rows = np.arange(self._starts[place], end)
            rows = rows[self.motion.person[rows] >= 0]
        people = tuple(self._person(row, frame.sequence, scale) for row in rows.tolist())
        self._world = next((known for row in rows.tolist() if (known := self._world_of(row)) is not None), self._world)
        return Result(frame, camera, people, frame.captured_ns, world=self._world)

    def floor(self) -> WorldFrame:
        """The world of a motion that has none: the image's vertical is upright, and the lowest feet are on the floor."""
        turn = np.diag(np.array([1, -1, -1, 1], np.float32))
        seen = self.motion.joints_m[self.motion.person >= 0]
        if len(seen):
            turn[1, 3] = np.percentile(seen[..., 1].max(1), 90) + SOLE_M
        return WorldFrame(turn, float("nan"), float("nan"))

    def _person(self, row: int, sequence: int, scale: float) -> BodyEstimate:
        motion, person = self.motion, int(self.motion.person[row])
        orient, pose, transl = motion.global_orient[row], motion.body_pose[row], motion.transl[row]
        self._body.set_shape(motion.betas[row])
        vertices, joints = self._body.pose(orient, pose, transl)
        points = np.asarray((motion.keypoints_px[row] + 0.5) * scale - 0.5, np.float32)
        keypoints = Keypoints(sequence, person, points, motion.keypoint_confidence[row])
        betas, coco = motion.betas[row], self._body.coco(vertices)
        return BodyEstimate(sequence, person, orient, pose, betas, transl, joints, coco, vertices, keypoints)

    def _world_of(self, row: int) -> WorldFrame | None:
        known = self.motion.world_from_camera
        if known is None or not np.isfinite(known[row]).all():
            return None
        return WorldFrame(known[row], float("nan"), float("nan"), camera_turned=self._turned)


def _has_several(matrices: FloatArray | None) -> bool:
    """Whether ``matrices`` (N, 4, 4) that are known differ."""
    known = np.empty((0, 4, 4)) if matrices is None else matrices[np.isfinite(matrices).all((1, 2))]
    return bool((known != known[:1]).any())


class FloorPainter:
    """Paints the bodies of a motion alone: upright on the floor, seen from where the camera first looked from."""

    def __init__(self, mannequin: Mannequin, floor: WorldFrame | None, *, camera: bool = True) -> None:
        """``floor`` is the world of results that have none; None: of those nobody is shown. ``camera``: whether one took the
        motion."""
        self._mannequin, self._floor = mannequin, floor
        self._side = SideView(mannequin, SIZE_ALONE[1], SIZE_ALONE[0], front=True, camera=camera)
        self._image: ImageArray = np.empty((SIZE_ALONE[1], SIZE_ALONE[0], 3), np.uint8)

    def paint(self, result: Result) -> ImageArray:
        """The image, uint8 (720, 1280, 3) BGR; the next call overwrites it."""
        world = result.world or self._floor
        people = self._mannequin.dress(result.people) if world is not None else []
        self._side.paint(self._image, people, world)
        return self._image


def replay_motion(
    path: Path,
    source: Options | None = None,
    *,
    record: Path | None = None,
    look: Look = "suit",
    layout: PaneLayout = "overlay",
    window: bool = False,
    body: Path | None = None,
    shown: Shown = lambda count: None,
) -> Replayed:
    """Show a motion file in a window, write it as an annotated video, or both.

    Args:
        path: the motion file, of any format that `formats.save.open_motion` reads.
        source: says which video to show it on, the one that it was made from; None: the bodies alone.
        record: the video to write.
        look: how bodies are drawn.
        layout: of the video that is written.
        window: whether to show it on the screen, at the speed it was taken.
        body: the body's file, where it was made with a licensed one.
        shown: is told after each image.

    Raises:
        UserError: for files that cannot be read or written, and for a video that the motion is not of.
    """
    if record is not None:
        video_path = None if source is None else path_of_source(source.source)
        check_apart({f"--record {record}": record}, {"the motion": path, "the source": video_path})
        if record.suffix.lower() != ".mp4":
            raise UserError(f"--record {record}: give a file name that ends in .mp4")
    motion = _open(path, body, source, layout)
    replay = MotionReplay(motion, body)
    mannequin = mannequin_for(replay.arrays, look)
    count = matched = 0
    with ExitStack() as stack:
        video = None if source is None else stack.enter_context(open_source_of(source))
        size, keys = (SIZE_ALONE, _KEYS_ALONE) if video is None else (video.size, _KEYS)
        camera, scale = _camera(motion, size, video is not None)
        frames = _frames(video, replay)
        new_annotator = _annotators(mannequin, layout, video is not None)
        screen = None
        if window:
            _LOG.info("the window is being opened")
            wire = mannequin_for(replay.arrays, "wire")
            try:
                opened = stack.enter_context(MeshWindow(mannequin, size, camera, wire=wire, keys=keys))
            except UserError as error:
                raise UserError(f"{error} with --record OUT.mp4") from None  # a replay has no other view
            # One track, one recording: --record has it already.
            open_audio = frames.open_audio if record is None else lambda: None
            screen = stack.enter_context(closing(ReplayWindow(opened, new_annotator, frames.wind, open_audio)))
        recorder = None if record is None else stack.enter_context(_open_recorder(record, replay, frames))
        annotate = new_annotator()
        flow = _FlowBetween()
        taken = bool(np.isfinite(motion.camera_matrix).all())
        floor = None if motion.has_world else replay.floor()
        alone = FloorPainter(mannequin, floor, camera=taken) if video is None else None
        was_left = False
        while not was_left:
            step = frames.read()
            if step is None:
                if screen is None or not screen.hold_the_end():
                    break
                continue
            place, frame = step
            result = replay.result(place, frame, camera, scale)
            if alone is not None:
                image = alone.paint(result)
                result = Result(replace(frame, image=image), camera, (), frame.captured_ns)
            elif layout == "grid" or (screen is not None and screen.shows_flow):
                result = replace(result, flows=flow(result))
            else:
                flow.forget()
            if recorder is not None:
                recorder.write(annotate(result), frame.time_s)
            count, matched = count + 1, matched + (place is not None)
            shown(count)
            was_left = screen is not None and not screen.show(result)
    if not matched and not was_left:
        raise UserError(f"{path} fits no frame of the video: give the one it was made from, with the same --fps")
    return Replayed(count, matched, 0 if recorder is None else recorder.frames)


def _frames(video: Source | None, replay: MotionReplay) -> ReplayFrames:
    if video is not None:
        return VideoFrames(video, replay.place_of)
    return OwnFrames(replay.frames, replay.times_s, np.empty((SIZE_ALONE[1], SIZE_ALONE[0], 3), np.uint8))


def _annotators(mannequin: Mannequin, layout: PaneLayout, has_video: bool) -> Callable[[], Annotate]:
    """What makes the drawers of recordings and snapshots; bodies alone are drawn already."""
    if not has_video:
        return lambda: lambda result: result.frame.image
    return lambda: AnnotatedFramePainter(mannequin, layout, side_view=True).paint


def _open(path: Path, body: Path | None, source: Options | None, layout: PaneLayout) -> Motion:
    """The motion of the file ``path``. Raises `UserError` for what cannot be shown."""
    motion = open_motion(path, body)
    if not motion.people:
        raise UserError(f"nobody is in the motion of {motion.source}: there is nothing to show")
    if source is not None and is_live_source(source):
        raise UserError(f"--source {source.source} is live: give the video that the motion was made from")
    if source is None and layout != "overlay":
        raise UserError(f"--layout {layout} shows the video, too: give it with --source")
    return motion


def _open_recorder(path: Path, replay: MotionReplay, frames: ReplayFrames) -> VideoRecorder:
    """The recorder, with the sound of the ``frames``; without a video, time starts at the motion's first frame."""
    zero_s = 0.0 if isinstance(frames, VideoFrames) else float(replay.times_s[0])
    recorder = VideoRecorder(path, replay.motion.fps if replay.motion.fps > 0 else 30.0, zero_s)
    recorder.add_audio(frames.open_audio())
    return recorder


def _camera(motion: Motion, size: tuple[int, int], is_video: bool) -> tuple[Camera, float]:
    """The camera of images of ``size`` (width, height), and how much larger they are than those of the motion."""
    width, height = size
    if not is_video:
        return Camera(width, width, (width - 1) / 2, (height - 1) / 2), 1.0
    if not np.isfinite(motion.camera_matrix).all():
        raise UserError(f"no camera took the motion of {motion.source}: replay it without --source")
    taken = Camera.from_matrix(motion.camera_matrix)
    own = 2 * taken.cx + 1, 2 * taken.cy + 1  # the principal point is in the middle
    scale = width / own[0]
    if abs(height / own[1] / scale - 1) > _SAME_SHAPE:
        raise UserError(
            f"the motion is of images of {own[0]:.0f}x{own[1]:.0f}, the video has {width}x{height}: give the one it was made "
            "from, with the same --rotate"
        )
    return Camera(taken.fx * scale, taken.fy * scale, (width - 1) / 2, (height - 1) / 2), scale


class _FlowBetween:
    """The optical flow of everybody since the frame before, which motion files do not keep: found again in the video."""

    def __init__(self) -> None:
        self._flow = DisFlow()
        self._last: Result | None = None

    def forget(self) -> None:
        """Nothing is known of the frame before the next one."""
        self._last = None

    def __call__(self, result: Result) -> tuple[Flow, ...]:
        last, self._last = self._last, result
        if last is None or last.frame.piece != result.frame.piece:
            return ()
        height, width = result.frame.image.shape[:2]
        found = []
        for body in last.people:
            box = region_of(body.keypoints.points, body.keypoints.confidence, width, height)
            if box is not None:
                found.append(self._flow(last.frame, result.frame, box))
        return tuple(found)
