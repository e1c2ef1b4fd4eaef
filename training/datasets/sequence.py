"""One person in one recording of a data set, in this project's conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from body.errors import BodyError
from body.joints import COCO_NAMES, JOINT_NAMES
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from body.smpl_file import StandIn, to_array, unpickle_arrays
from common.arrays import AnyFloatArray, BoolArray, DoubleArray, FloatArray
from common.camera import Camera
from common.errors import UserError

Gender = Literal["female", "male", "neutral"]


class DatasetError(UserError, ValueError):
    """A data set cannot be read. The message is one line: which file or entry is missing, and where to get it."""


@dataclass(frozen=True, slots=True, eq=False)
class PersonSequence:
    """One person in T frames of one recording.

    Poses and joints are in the CAMERA frame of their own image (x right, y down, z forward; metres), so a moving camera
    needs no special treatment. Fields that a data set does not have are None.
    """

    dataset: str
    """Name of the data set."""
    name: str
    """Name of the recording, as in its files."""
    person: int
    """Number of the person in the recording."""
    split: str
    """Split as the data set names it: ``train``, ``validation``, ``test``."""
    fps: float
    """Frames per second."""
    gender: Gender
    """The SMPL model that pose and shape belong to."""
    camera_matrix: DoubleArray
    """(3, 3) pixels; the centre of the top-left pixel is at (0, 0)."""
    global_orient: FloatArray
    """(T, 3) axis-angle, radians: takes the body's rest frame to the camera's."""
    body_pose: FloatArray
    """(T, 23, 3) axis-angle, radians."""
    betas: FloatArray
    """(10,) betas of that SMPL model."""
    valid: BoolArray
    """(T,) False where the data set marks the frame as unreliable."""
    source: Path | None = None
    """Video, or folder of images sorted by name, whose frame t belongs to row t."""
    joints: FloatArray | None = None
    """(T, 24, 3) SMPL joints, metres, camera frame."""
    keypoints_px: FloatArray | None = None
    """(T, 17, 2) COCO keypoints of the data set's own detector (not ground truth), pixels."""
    keypoint_confidence: FloatArray | None = None
    """(T, 17) confidences, 0..1; 0 where a keypoint was not found."""
    world_to_camera: DoubleArray | None = None
    """(T, 4, 4) rigid transforms from the world to the camera frame, metres."""
    transl: FloatArray | None = None
    """(T, 3) SMPL's own ``transl``: the shift of the model's origin (not of the pelvis) in the WORLD, metres."""

    def __post_init__(self) -> None:
        """Raise `DatasetError` unless all shapes agree."""
        count = len(self.global_orient)
        shapes = {
            "camera_matrix": (3, 3),
            "global_orient": (count, 3),
            "body_pose": (count, 23, 3),
            "betas": (10,),
            "valid": (count,),
            "joints": (count, len(JOINT_NAMES), 3),
            "keypoints_px": (count, len(COCO_NAMES), 2),
            "keypoint_confidence": (count, len(COCO_NAMES)),
            "world_to_camera": (count, 4, 4),
            "transl": (count, 3),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise DatasetError(f"{self.dataset} {self.name}: {name} is {value.shape}, should be {shape}")

    def __len__(self) -> int:
        """T."""
        return len(self.global_orient)

    @property
    def joints_px(self) -> FloatArray | None:
        """(T, 24, 2) projected joints, pixels, not rounded; None without joints, NaN behind the camera."""
        if self.joints is None:
            return None
        return Camera.from_matrix(self.camera_matrix).project(self.joints).astype(np.float32)

    def pelvis(self, rest_pelvis: AnyFloatArray | None = None) -> FloatArray:
        """The pelvis joint in the camera frame, (T, 3) float32, metres.

        Args:
            rest_pelvis: (3,) that joint of the rest body with this gender and these betas (`NumpyBody.rest_pelvis`).
                Needed, and used, only where the data set has no joints.

        Raises:
            ValueError: It is needed but not given.
        """
        if self.joints is not None:
            return self.joints[:, 0]
        if self.transl is None or self.world_to_camera is None or rest_pelvis is None:
            raise ValueError(
                f"{self.dataset} {self.name} has no joints: its pelvis follows from the body's rest_pelvis"
            )
        return transform_points(self.transl.astype(np.float64) + rest_pelvis, self.world_to_camera).astype(np.float32)


def transform_points(points: DoubleArray, transforms: DoubleArray) -> DoubleArray:
    """Points (T, ..., 3) transformed by the rigid transforms (T, 4, 4)."""
    flat = points.reshape(len(points), -1, 3)
    moved: DoubleArray = flat @ transforms[:, :3, :3].transpose(0, 2, 1) + transforms[:, None, :3, 3]
    return moved.reshape(points.shape)


def rotate_axis_angle(transforms: DoubleArray, axis_angle: AnyFloatArray) -> FloatArray:
    """Axis-angle rotations (T, 3) followed by the rotations of the transforms (T, 4, 4)."""
    turned = transforms[:, :3, :3] @ axis_angle_to_matrix(np.asarray(axis_angle, np.float64))
    return np.asarray(matrix_to_axis_angle(turned), np.float32)


class Entries:
    """A dictionary from a data set's pickle. Anything wrong with an entry is a `DatasetError` that names it."""

    def __init__(self, fields: Mapping[Any, Any], origin: str, home: str) -> None:
        """Wrap ``fields``, read from ``origin``; ``home`` tells where to get the data set."""
        self._fields, self._origin, self._home = fields, origin, home

    @classmethod
    def read(cls, path: Path, home: str) -> Entries:
        """The dictionary in a pickle, read without running code. ``home`` tells where to get the data set."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DatasetError(f"cannot read {path} ({error.strerror}): {home}") from None
        try:
            loaded = unpickle_arrays(content, str(path), f"the data set's own files hold only arrays: {home}")
        except BodyError as error:
            raise DatasetError(str(error)) from error
        if not isinstance(loaded, Mapping):
            raise DatasetError(f"{path} holds a {type(loaded).__name__}, no dictionary: {home}")
        return cls(loaded, str(path), home)

    def __getitem__(self, name: str) -> Any:
        """The entry ``name``. Raises `DatasetError` if it is missing."""
        try:
            return self._fields[name]
        except KeyError:
            raise DatasetError(f"{self._origin} lacks {name!r}: {self._home}") from None

    def inner(self, name: str) -> Entries:
        """An entry that is itself a dictionary."""
        value = self[name]
        if not isinstance(value, Mapping):
            raise DatasetError(f"{self._origin}: {name!r} is a {type(value).__name__}, no dictionary: {self._home}")
        return Entries(value, f"{self._origin} [{name!r}]", self._home)

    def array(self, name: str, shape: tuple[int | None, ...], person: int | None = None) -> DoubleArray:
        """An entry, or item ``person`` of a list, as float64 of ``shape``, where None is any length."""
        value = self[name]
        try:
            if person is not None:
                value = value[person]
            array = to_array(value) if isinstance(value, StandIn) else np.asarray(value)
            array = array.astype(np.float64)
        except (TypeError, ValueError, IndexError, KeyError):
            raise DatasetError(f"{self._origin}: {name!r} is no list of arrays of numbers: {self._home}") from None
        if array.ndim != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, array.shape, strict=True)
        ):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            raise DatasetError(f"{self._origin}: {name!r} is {array.shape}, should be ({wanted}): {self._home}")
        return array

    def shape(self, name: str, person: int | None = None) -> FloatArray:
        """The first ten betas of an entry with ten or more, in a row or a column, (10,) float32."""
        value = self[name]
        try:
            betas = np.asarray(value if person is None else value[person], np.float32).ravel()
        except (TypeError, ValueError, IndexError):
            betas = np.empty(0, np.float32)
        if len(betas) < 10:
            raise DatasetError(f"{self._origin}: {name!r} should be 10 betas or more, not {len(betas)}: {self._home}")
        return betas[:10]
