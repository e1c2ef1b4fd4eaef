"""Reading 3DPW (von Marcard et al., ECCV 2018): ``sequenceFiles/SPLIT/NAME.pkl`` and ``imageFiles/NAME/``.

Its licence allows non-commercial research only, and its poses are for SMPL's female and male models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from body.joints import COCO_NAMES
from training.datasets.sequence import (
    DatasetError,
    Entries,
    Gender,
    PersonSequence,
    rotate_axis_angle,
    transform_points,
)

_HOME: Final = "register at virtualhumans.mpi-inf.mpg.de/3DPW and unpack sequenceFiles.zip and imageFiles.zip there"
_SPLITS: Final = ("train", "validation", "test")
THREEDPW_FPS: Final = 30.0
"""Frame rate of ``poses``, which are aligned with the images (``poses_60Hz`` are at the sensors' own rate)."""

OPENPOSE_KEYPOINTS: Final = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear",
    "left_ear",
)  # fmt: skip
"""Order of ``poses2d``: OpenPose's 18 keypoints."""

_GENDERS: Final[dict[str, Gender]] = {"f": "female", "m": "male"}


def find_threedpw(root: Path, split: str = "test") -> list[Path]:
    """The sequence files of one split, sorted by name. Raises `DatasetError` if there are none."""
    if split not in _SPLITS:
        raise DatasetError(f"3DPW has no split {split!r}: choose {', '.join(_SPLITS)}")
    folder = root / "sequenceFiles" / split
    found = sorted(folder.glob("*.pkl"))
    if not found:
        raise DatasetError(f"there are no 3DPW sequences (*.pkl) in {folder}: {_HOME}")
    return found


def read_threedpw(path: Path) -> list[PersonSequence]:
    """Read the people of one sequence file.

    ``source`` is the folder of images, which need not exist. ``keypoints_px`` are the data set's own OpenPose
    detections. ``valid`` is True where the camera pose could be aligned with the image (``campose_valid``).

    Raises:
        DatasetError: The file is missing, damaged, refused (a pickle of more than arrays), or lacks an entry.
    """
    entries = Entries.read(path, _HOME)
    name, people = str(entries["sequence"]), entries["genders"]
    cameras = entries.array("cam_poses", (None, 4, 4))
    count = len(cameras)
    columns = [OPENPOSE_KEYPOINTS.index(keypoint) for keypoint in COCO_NAMES]
    sequences = []
    for person, letter in enumerate(people):
        if letter not in _GENDERS:
            raise DatasetError(f"{path}: 'genders' of person {person} is {letter!r}, should be 'f' or 'm': {_HOME}")
        pose = entries.array("poses", (count, 72), person).reshape(count, 24, 3)
        joints = entries.array("jointPositions", (count, 72), person).reshape(count, 24, 3)
        keypoints = entries.array("poses2d", (count, 3, len(OPENPOSE_KEYPOINTS)), person)[:, :, columns]
        sequences.append(
            PersonSequence(
                dataset="3DPW",
                name=name,
                person=person,
                split=path.parent.name,
                fps=THREEDPW_FPS,
                gender=_GENDERS[letter],
                camera_matrix=entries.array("cam_intrinsics", (3, 3)),
                global_orient=rotate_axis_angle(cameras, pose[:, 0]),
                body_pose=pose[:, 1:].astype(np.float32),
                betas=entries.shape("betas", person),
                valid=entries.array("campose_valid", (count,), person) > 0,
                source=path.parents[2] / "imageFiles" / name,
                joints=transform_points(joints, cameras).astype(np.float32),
                keypoints_px=keypoints[:, :2].transpose(0, 2, 1).astype(np.float32),
                keypoint_confidence=keypoints[:, 2].astype(np.float32),
                world_to_camera=cameras,
                transl=entries.array("trans", (count, 3), person).astype(np.float32),
            )
        )
    return sequences
