"""The small immutable records that flow from the camera to the screen.

Every stage turns one record into the next. A record carries the ``sequence`` number and ``captured_ns`` of the frame it
came from, so any two results can be joined and every latency is measured.

Frames of reference: image points are pixels, x right and y down, the centre of the top-left pixel at (0, 0). The camera
frame is OpenCV's (x right, y down, z forward, metres). Rotations are axis-angle in radians.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from common.arrays import AnyArray, FloatArray, ImageArray
from common.camera import Camera
from engines.device_array import DeviceArray


class Box(NamedTuple):
    """A square region of the image. It may extend beyond the image."""

    x: float
    """Centre, pixels from the left."""
    y: float
    """Centre, pixels from the top."""
    size: float
    """Side, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of the source."""

    sequence: int
    """Index in the source, from 0: gaps are frames that were dropped."""
    captured_ns: int
    """Monotonic clock at the grab, nanoseconds."""
    time_s: float
    """The source's own time, seconds: presentation time of a file, time since the first grab of a camera. Motion is
    measured with it."""
    image: ImageArray
    """uint8 (H, W, 3) BGR. Valid for as long as the frame is held in its `realtime.frame_ring.FrameRing`."""
    piece: int = 0
    """Counts jumps of the source: it was wound, or began again, between frames of different pieces."""


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Optical flow of one person's crop between two frames, both cropped to the same box."""

    sequence: int
    """`Frame.sequence` of the later frame."""
    previous_sequence: int
    """`Frame.sequence` of the earlier frame; frames in between were dropped."""
    dt_s: float
    """Time between the two frames, seconds of the source."""
    box: Box
    """Region of the crop, image pixels."""
    field: FloatArray
    """float32 (h, w, 2), pixels of the crop: the point at crop pixel p in the earlier frame is at p + field[p] in the later
    one. Empty (0, 0, 2) if it is not displayed and ``means`` is given."""
    person: int = -1
    """Number of the person in the box; -1 if not known."""
    means: AnyArray | None = None
    """float32 (1, cells, cells, 2), the field's means over a grid of cells, as a share of the crop's side; None if the network
    does not output them, an `engines.device_array.DeviceArray` if they are on the GPU."""

    def release(self) -> None:
        """Free the memory of ``means`` on the GPU, once the regressor has read them."""
        if isinstance(self.means, DeviceArray):
            self.means.release()


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """The keypoints of one person in one frame, as detected."""

    sequence: int
    """`Frame.sequence` of the frame it was found in."""
    person: int
    """The same number for as long as the person is tracked."""
    points: FloatArray
    """float32 (17, 2), COCO order, image pixels."""
    confidence: FloatArray
    """float32 (17,), confidences, 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class PosePrediction:
    """What the regressor network predicts for one person in one frame, before a body is posed."""

    keypoints: Keypoints
    """Detected keypoints."""
    time_s: float
    """The frame's, seconds of the source."""
    rotations: FloatArray
    """float32 (24, 3, 3) rotation matrices in SMPL order: the first takes the body's rest frame to the camera frame, the
    others are relative to their parent joint."""
    betas: FloatArray
    """float32 (10,) shape parameters: the present estimate for the person."""
    pelvis: FloatArray
    """float32 (3,) pelvis joint, camera frame, metres."""
    points: FloatArray
    """float32 (17, 2) the network's own estimate of the COCO keypoints, image pixels."""
    joint_error: FloatArray | None = None
    """float32 (24,) metres, as in `BodyEstimate`."""
    contact: FloatArray | None = None
    """float32 (4,) or (2,) 0..1, as in `BodyEstimate`."""
    up: FloatArray | None = None
    """float32 (3,) unit vector, as in `BodyEstimate`."""
    up_sigma: float | None = None
    """Radians, as in `BodyEstimate`."""
    root_velocity: FloatArray | None = None
    """float32 (3,) m/s, as in `BodyEstimate`."""
    growth: float = 1.0
    """Scale factor as in `BodyEstimate`."""


class Unlocked(NamedTuple):
    """Where a body was before its feet were locked, camera frame, metres."""

    pelvis: FloatArray
    """float32 (3,) pelvis joint."""
    legs: FloatArray
    """float32 (2, 3, 3) hip, knee and ankle of the left and the right leg."""
    soles: FloatArray
    """float32 (4, 3) `body.soles.CONTACTS`, of feet that are turned about their ankles already."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyEstimate:
    """One person's body in one frame."""

    sequence: int
    """`Frame.sequence` of the frame it was found in."""
    person: int
    """The same number for as long as the person is tracked."""
    global_orient: FloatArray
    """float32 (3,) axis-angle, radians: takes the body's rest frame to the camera frame."""
    body_pose: FloatArray
    """float32 (23, 3) axis-angle, radians: each joint relative to its parent, SMPL order without the pelvis."""
    betas: FloatArray
    """float32 (10,) shape parameters."""
    transl: FloatArray
    """float32 (3,) pelvis joint, camera frame, metres."""
    joints: FloatArray
    """float32 (24, 3) SMPL order, camera frame, metres."""
    coco: FloatArray
    """float32 (17, 3) the body's own COCO keypoints, camera frame, metres."""
    vertices: FloatArray
    """float32 (V, 3), camera frame, metres."""
    keypoints: Keypoints
    """Detected keypoints."""
    joint_error: FloatArray | None = None
    """float32 (24,) metres: the error that the regressor expects of each joint; None where it does not predict any."""
    contact: FloatArray | None = None
    """float32 (4,) 0..1: probability that left heel, left toes, right heel and right toes stand on something; (2,), left and
    right foot, from older regressors; None where the regressor does not predict it."""
    up: FloatArray | None = None
    """float32 (3,) unit vector away from the ground, camera frame; None where the regressor does not predict it."""
    up_sigma: float | None = None
    """Expected error of ``up``, radians; None where the regressor does not predict it."""
    root_velocity: FloatArray | None = None
    """float32 (3,) velocity of the pelvis over the ground, in the axes of the pelvis, m/s; None where the regressor does not
    predict it."""
    growth: float = 1.0
    """Factor by which the person was enlarged so that several people stand on one floor; 1: as the network predicts."""
    unlocked: Unlocked | None = None
    """The same body as the regressor's stage found it; None where feet are not locked."""


@dataclass(frozen=True, slots=True, eq=False)
class WorldFrame:
    """Where the camera of one frame is in the world: y up, right-handed, metres, the floor at y = 0."""

    world_from_camera: FloatArray
    """float32 (4, 4) rigid transform: takes a point of the camera frame to the world frame."""
    up_sigma: float
    """Standard deviation of the vertical's direction, radians."""
    floor_sigma: float
    """Standard deviation of the floor's height, metres; infinite where no foot has shown where the floor is."""
    shot: int = 0
    """How many hard cuts there have been: each shot has a world of its own."""
    camera_turned: bool = False
    """Whether the camera has turned since the shot began: if not, a later estimate is better for earlier frames, too."""
    settled: FloatArray | None = None
    """float32 (4, 4), what ``world_from_camera`` is gradually moving to; None where it stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """All that was estimated in one frame."""

    frame: Frame
    """With its image."""
    camera: Camera
    """Intrinsics of the image, pixels."""
    people: tuple[BodyEstimate, ...]
    """Empty where nobody was found."""
    finished_ns: int
    """Monotonic clock when the last body was posed, nanoseconds; ``finished_ns - frame.captured_ns`` is the capture-to-mesh
    latency."""
    flows: tuple[Flow, ...] = field(default=())
    """The flow of everybody who was tracked; empty without flow and in the first frame."""
    world: WorldFrame | None = None
    """Pose of the camera in the world; None until something is known of the vertical."""
