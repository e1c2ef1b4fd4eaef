"""The small immutable records that flow from the camera to the screen.

Every stage turns one record into the next. A record carries the ``sequence`` number and ``captured_ns`` of the frame it
came from, so any two results can be joined and every latency is measured instead of guessed.

Frames of reference: image points are pixels, x right and y down, the centre of the top-left pixel at (0, 0). The camera
frame is OpenCV's (x right, y down, z forward, metres). Rotations are axis-angle in radians.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from common.arrays import FloatArray, ImageArray
from common.camera import Camera


class Box(NamedTuple):
    """A square region of the image: centre and side in pixels. It may reach over the image's edge."""

    x: float
    y: float
    size: float


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the source.

    ``sequence`` is the frame's index in the source: gaps are frames that were dropped. ``captured_ns`` is the monotonic
    clock at the grab; ``time_s`` is the source's own time (presentation time of a file, time since the first grab of a
    camera) and is the one that motion is measured with. ``image`` is uint8 (H, W, 3) BGR.
    """

    sequence: int
    captured_ns: int
    time_s: float
    image: ImageArray


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Optical flow of one person's crop between two frames.

    ``field`` is float32 (h, w, 2): the point that is at crop pixel p in the previous frame is at p + field[p] in this
    one, in pixels of the crop. Both frames were cut with the same ``box``. ``dt_s`` is the true time between them.
    ``person`` is who was being followed in the box, -1 where that is not known.
    """

    sequence: int
    previous_sequence: int
    dt_s: float
    box: Box
    field: FloatArray
    person: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """COCO-17 keypoints of one person: ``points`` float32 (17, 2) image pixels, ``confidence`` float32 (17,) in 0..1."""

    sequence: int
    person: int
    points: FloatArray
    confidence: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class PosePrediction:
    """What the regressor network says of one person in one frame, before a body is posed.

    ``time_s`` is the frame's. ``rotations`` (24, 3, 3) local rotation matrices, the first one to the camera frame;
    ``betas`` (10,), the mean of all that was said of this person so far; ``pelvis`` (3,) camera frame, metres; ``points``
    (17, 2) image pixels, where the COCO keypoints are believed to be. All float32. ``keypoints`` is what the detector saw;
    ``joint_error``, ``contact``, ``up``, ``up_sigma`` and ``root_velocity`` as in `BodyEstimate`.
    """

    keypoints: Keypoints
    time_s: float
    rotations: FloatArray
    betas: FloatArray
    pelvis: FloatArray
    points: FloatArray
    joint_error: FloatArray | None = None
    contact: FloatArray | None = None
    up: FloatArray | None = None
    up_sigma: float | None = None
    root_velocity: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BodyEstimate:
    """One person's body in one frame.

    ``global_orient`` (3,), ``body_pose`` (23, 3) axis-angle; ``betas`` (10,); ``transl`` (3,) the pelvis in the camera
    frame, metres; ``joints`` (24, 3) and ``vertices`` (V, 3) in the camera frame, metres; ``coco`` (17, 3) the body's own
    COCO keypoints, camera frame. All float32. ``keypoints`` is what the detector saw. ``joint_error`` (24,) m, how wrong the
    regressor expects each joint to be; ``contact`` (4,) 0..1, how surely left heel, left toes, right heel and right toes stand
    on something ((2,), the left and the right foot, from older regressors); ``up`` (3,) the unit vector away from the ground
    in the camera frame and ``up_sigma`` its expected error, rad; ``root_velocity`` (3,) m/s of the pelvis over the ground in
    the axes of the pelvis. Each is None from a regressor that does not give it.
    """

    sequence: int
    person: int
    global_orient: FloatArray
    body_pose: FloatArray
    betas: FloatArray
    transl: FloatArray
    joints: FloatArray
    coco: FloatArray
    vertices: FloatArray
    keypoints: Keypoints
    joint_error: FloatArray | None = None
    contact: FloatArray | None = None
    up: FloatArray | None = None
    up_sigma: float | None = None
    root_velocity: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """All that is known of one frame. ``people`` is empty when nobody was seen. ``finished_ns``: monotonic clock when
    the last body was posed; ``finished_ns - frame.captured_ns`` is the capture-to-mesh latency."""

    frame: Frame
    camera: Camera
    people: tuple[BodyEstimate, ...]
    finished_ns: int
    flows: tuple[Flow, ...] = field(default=())
