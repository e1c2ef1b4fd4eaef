"""Reading EMDB (Kaufmann et al., ICCV 2023): ``P0/00_sequence/P0_00_sequence_data.pkl`` and ``images`` beside it.

Its licence allows non-commercial research only. It stores SMPL parameters but no joints: those need SMPL of the same
gender, which has a licence of its own. ``kp2d`` are the projections of the same joints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np

from training.datasets.sequence import DatasetError, Entries, Gender, PersonSequence, rotate_axis_angle

_HOME: Final = "fill in the form at emdb.ait.ethz.ch and unpack P0 to P9"
EMDB_FPS: Final = 30.0

EmdbSubset = Literal["emdb1", "emdb2", "all"]
"""EMDB 1 (poses in the camera frame), EMDB 2 (trajectories in the world frame), or everything."""

_GENDERS: Final[tuple[Gender, ...]] = ("female", "male", "neutral")


def find_emdb(root: Path) -> list[Path]:
    """All sequence files, sorted by name. Raises `DatasetError` if there are none."""
    found = sorted(root.glob("P*/*/*_data.pkl"))
    if not found:
        raise DatasetError(f"there are no EMDB sequences (P0/NAME/P0_NAME_data.pkl) in {root}: {_HOME}")
    return found


def read_emdb(path: Path, part: EmdbSubset = "all") -> PersonSequence | None:
    """Read one sequence; None if it is not of the ``part``.

    ``valid`` is False where the person is outside the image or hidden (``good_frames_mask``). ``split`` is ``test``:
    all of EMDB is for evaluation. `PersonSequence.pelvis` needs the rest body's pelvis.

    Raises:
        DatasetError: The file is missing, damaged, refused (a pickle of more than arrays), or lacks an entry.
    """
    entries = Entries.read(path, _HOME)
    if part != "all" and not bool(entries[part]):
        return None
    gender = entries["gender"]
    if gender not in _GENDERS:
        raise DatasetError(f"{path}: 'gender' is {gender!r}, should be {', '.join(_GENDERS)}: {_HOME}")
    camera, smpl = entries.inner("camera"), entries.inner("smpl")
    extrinsics = camera.array("extrinsics", (None, 4, 4))
    count = len(extrinsics)
    return PersonSequence(
        dataset="EMDB",
        name=str(entries["name"]),
        person=0,
        split="test",
        fps=EMDB_FPS,
        gender=gender,
        camera_matrix=camera.array("intrinsics", (3, 3)),
        global_orient=rotate_axis_angle(extrinsics, smpl.array("poses_root", (count, 3))),
        body_pose=smpl.array("poses_body", (count, 69)).reshape(count, 23, 3).astype(np.float32),
        betas=smpl.shape("betas"),
        valid=entries.array("good_frames_mask", (count,)) > 0,
        source=path.with_name("images"),
        world_to_camera=extrinsics,
        transl=smpl.array("trans", (count, 3)).astype(np.float32),
    )
