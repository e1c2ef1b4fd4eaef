"""Reading SURREAL (Varol et al., CVPR 2017): NAME.mp4, NAME_info.mat, NAME_segm.mat and NAME_gtflow.mat.

The clips are 320 x 240. The licence allows non-commercial research only. Three peculiarities:

- Its camera matrix is a reflection (determinant -1): the videos show left and right exchanged. People are described
  here as they APPEAR, by the mirrored pose with left and right swapped, so that pose, joints and part labels agree with
  the images and with every other data set.
- ``joints2D`` are rounded to whole pixels and not used: `PersonSequence.joints_px` projects ``joints3D``.
- The flow's signs and its direction in time (to the next frame or from the previous one) are not documented. They are
  determined by comparison with the motion of the joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from body.joints import JOINT_MIRROR, JOINT_NAMES
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import AnyArray, DoubleArray, FloatArray
from training.datasets.sequence import DatasetError, PersonSequence
from training.motion.archive import ARCHIVE_ERRORS

_HOME: Final = "ask for access at di.ens.fr/willow/research/surreal/data"
IMAGE_SIZE: Final = (320, 240)
"""Width and height of the videos, px."""
SURREAL_FPS: Final = 30.0

CAMERA_MATRIX: Final = np.array([[600.0, 0, 159.5], [0, 600, 119.5], [0, 0, 1]])
"""Intrinsics of a 60 mm lens on a sensor 32 mm wide and 320 pixels across.

Blender counts from the image's corner, this project from the first pixel's centre: hence 159.5 and not 160.
"""

_WORLD_TO_CAMERA: Final = np.array([[0.0, 0, -1], [0, 1, 0], [-1, 0, 0]])
_MIRROR: Final = np.diag([-1.0, 1, 1])
_UPRIGHT: Final = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # a quarter turn about x, as the renderer made


@dataclass(frozen=True, slots=True, eq=False)
class SurrealFlow:
    """True optical flow of a clip of T frames."""

    fields: FloatArray
    """(T - 1, 240, 320, 2) pixels from frame t to t + 1, at pixels of frame t, or of frame t + 1 with ``of_later``.

    The background is static by construction.
    """
    of_later: bool
    """Whether the fields are defined at the pixels of the later frame."""


def read_surreal(info: Path) -> PersonSequence:
    """Read the person of one clip from its ``_info.mat``. ``source`` is the video beside it, which need not exist.

    Raises:
        DatasetError: The file is missing, damaged, or lacks an entry.
    """
    fields = _load(info)
    joints3d = _entry(fields, info, "joints3D", (3, 24))
    count = len(joints3d)
    place = (joints3d.transpose(0, 2, 1) - _entry(fields, info, "camLoc", (3,))) @ _WORLD_TO_CAMERA.T
    pose = _entry(fields, info, "pose", (72,)).reshape(count, 24, 3)
    yaw = np.zeros((count, 3))
    yaw[:, 2] = np.ravel(_get(fields, info, "zrot"))
    root = _UPRIGHT @ axis_angle_to_matrix(yaw) @ axis_angle_to_matrix(pose[:, 0])
    mirrored = pose[:, list(JOINT_MIRROR)] * [1, -1, -1]
    return PersonSequence(
        dataset="SURREAL",
        name=_stem(info),
        person=0,
        split=info.parents[2].name if len(info.parents) > 2 else "",
        fps=SURREAL_FPS,
        gender="male" if np.ravel(_get(fields, info, "gender"))[0] else "female",
        camera_matrix=CAMERA_MATRIX,
        global_orient=matrix_to_axis_angle(_WORLD_TO_CAMERA @ root @ _MIRROR).astype(np.float32),
        body_pose=mirrored[:, 1:].astype(np.float32),
        betas=_entry(fields, info, "shape", (10,))[0].astype(np.float32),
        valid=np.ones(count, bool),
        source=info.with_name(f"{_stem(info)}.mp4"),
        joints=place[:, list(JOINT_MIRROR)].astype(np.float32),
    )


def read_parts(info: Path) -> NDArray[np.uint8]:
    """Part labels (T, 240, 320) uint8 of a clip, from the ``_segm.mat`` beside its ``_info.mat``.

    0 is background, otherwise 1 + the index of the joint that moves the part, in this project's order, with left and
    right as they APPEAR.

    Raises:
        DatasetError: The file is missing or damaged.
    """
    path = info.with_name(f"{_stem(info)}_segm.mat")
    labels = _frames(path, "segm", IMAGE_SIZE[::-1]).astype(np.int64)
    if labels.min() < 0 or labels.max() > len(JOINT_NAMES):
        raise DatasetError(f"{path} has labels from {labels.min()} to {labels.max()}, should be 0 to 24: {_HOME}")
    return np.array([0, *(1 + joint for joint in JOINT_MIRROR)], np.uint8)[labels]


def read_flow(info: Path) -> SurrealFlow:
    """True flow of a clip, from the ``_gtflow.mat`` beside its ``_info.mat``; ``_segm.mat`` is needed, too.

    Raises:
        DatasetError: A file is missing or damaged, or no choice of signs fits the motion of the joints.
    """
    path = info.with_name(f"{_stem(info)}_gtflow.mat")
    stored = _frames(path, "gtflow", (*IMAGE_SIZE[::-1], 2)).astype(np.float32)
    points = read_surreal(info).joints_px
    parts = read_parts(info)
    if points is None or len(stored) != len(points) or len(parts) != len(points):
        raise DatasetError(f"{path}: flow, parts and poses are not of the same frames: {_HOME}")
    step, signs = _convention(stored, np.asarray(points, np.float64), parts, path)
    # Flow from frame t back to t - 1 is the opposite of the motion from t - 1 to t.
    fields = stored[:-1] * signs if step > 0 else -stored[1:] * signs
    return SurrealFlow(fields.astype(np.float32), of_later=step < 0)


def _convention(
    stored: FloatArray, points: DoubleArray, parts: NDArray[np.uint8], path: Path
) -> tuple[int, FloatArray]:
    """Step (1: to the next frame, -1: to the previous one) and signs (2,) that fit the motion of the joints best."""
    width, height = IMAGE_SIZE
    column, row = (np.nan_to_num(points[..., axis], nan=-1).round().astype(np.int64) for axis in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    frame = np.arange(len(points))[:, None]
    column, row = np.where(inside, column, 0), np.where(inside, row, 0)
    inside &= parts[frame, row, column] > 0
    flow = stored[frame, row, column]
    if len(points) < 2 or not inside[:-1].any():
        raise DatasetError(
            f"{path}: nobody is seen in two frames, so the flow's direction cannot be determined: use another clip"
        )
    misfits: dict[tuple[int, float, float], float] = {}
    for step, x, y in product((1, -1), (1.0, -1.0), (1.0, -1.0)):
        here, there = (slice(None, -1), slice(1, None))[::step]
        off = np.linalg.norm(flow[here] * (x, y) - (points[there] - points[here]), axis=-1)[inside[here]]
        misfits[step, x, y] = float(np.median(off)) if off.size else np.inf
    step, x, y = min(misfits, key=lambda choice: misfits[choice])
    moved = np.linalg.norm(np.diff(points, axis=0), axis=-1)[inside[:-1]]
    if misfits[step, x, y] > 0.25 + 0.5 * np.median(moved):
        raise DatasetError(
            f"{path} does not fit the joints (median misfit {misfits[step, x, y]:.2f} px of {np.median(moved):.2f} px moved): "
            "copy clip and flow again"
        )
    return step, np.array([x, y], np.float32)


def _stem(info: Path) -> str:
    return info.name.removesuffix("_info.mat")


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            fields: Mapping[str, Any] = loadmat(file)
    except FileNotFoundError:
        raise DatasetError(f"there is no {path}: {_HOME}") from None
    except (*ARCHIVE_ERRORS, MatReadError) as error:
        raise DatasetError(f"{path} is no readable .mat file ({' '.join(str(error).split())}): {_HOME}") from error
    return fields


def _get(fields: Mapping[str, Any], path: Path, name: str) -> AnyArray:
    if name not in fields:
        raise DatasetError(f"{path} lacks {name!r}: {_HOME}")
    return np.asarray(fields[name])


def _entry(fields: Mapping[str, Any], path: Path, name: str, shape: tuple[int, ...]) -> DoubleArray:
    """An entry of ``shape`` + (T,) as float64 (T,) + ``shape``. MATLAB drops a last axis of length one."""
    array = _get(fields, path, name)
    if array.shape == shape:
        array = array[..., None]
    if array.shape[:-1] != shape or array.dtype.kind not in "fiu":
        wanted = ", ".join(map(str, shape))
        raise DatasetError(f"{path}: {name!r} is {array.dtype} {array.shape}, should be numbers ({wanted}, T): {_HOME}")
    return np.moveaxis(array, -1, 0).astype(np.float64)


def _frames(path: Path, prefix: str, shape: tuple[int, ...]) -> AnyArray:
    """The entries ``prefix_1``, ``prefix_2``, ... of a file, each of ``shape``, in order."""
    fields = _load(path)
    count = sum(name.startswith(f"{prefix}_") for name in fields)
    if not count:
        raise DatasetError(f"{path} lacks '{prefix}_1': {_HOME}")
    frames = [_get(fields, path, f"{prefix}_{index + 1}") for index in range(count)]
    for index, frame in enumerate(frames):
        if frame.shape != shape:
            raise DatasetError(f"{path}: '{prefix}_{index + 1}' is {frame.shape}, should be {shape}: {_HOME}")
    return np.stack(frames)
