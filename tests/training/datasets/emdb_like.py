"""Sequences in EMDB's format, made from any body: nothing in them is EMDB's."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from body.lbs import NumpyBody
from body.model import BodyArrays
from tests.training.datasets.threedpw_like import COUNT, MATRIX, cameras
from tests.training.motions import project


def emdb_fields(arrays: BodyArrays) -> dict[str, Any]:
    """A sequence file's contents; ``kp2d`` is where the body's joints are seen by the moving camera."""
    rng = np.random.default_rng(0)
    poses, trans = rng.normal(0, 0.2, (COUNT, 24, 3)), rng.normal(0, 0.1, (COUNT, 3))
    betas, extrinsics = rng.normal(0, 0.5, 10), cameras()
    body = NumpyBody(arrays)
    body.set_shape(betas)
    points = []
    for pose, shift, transform in zip(poses, trans, extrinsics, strict=True):
        _, joints = body.pose(pose[0], pose[1:], shift, pelvis=False)
        points.append(project(joints @ transform[:3, :3].T + transform[:3, 3], MATRIX))
    return {
        "gender": "female",
        "name": "P0_09_outdoor_walk",
        "emdb1": True,
        "emdb2": np.bool_(False),
        "n_frames": COUNT,
        "good_frames_mask": np.arange(COUNT) != 3,
        "camera": {"intrinsics": MATRIX, "extrinsics": extrinsics, "width": 1440, "height": 1920},
        "smpl": {
            "poses_root": poses[:, 0],
            "poses_body": poses[:, 1:].reshape(COUNT, 69),
            "trans": trans,
            "betas": betas,
        },
        "kp2d": np.array(points),
        "bboxes": {"bboxes": np.tile([0.0, 0, 9, 9], (COUNT, 1)), "invalid_idxs": np.array([3])},
    }


def write_emdb(root: Path, fields: dict[str, Any]) -> Path:
    """``ROOT/P0/NAME/P0_NAME_data.pkl``."""
    path = root / "P0" / "09_outdoor_walk" / "P0_09_outdoor_walk_data.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(fields, 4))
    return path
