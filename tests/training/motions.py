"""Saved motions with known joints, for tests of what scores them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from body.joints import COCO_NAMES, JOINT_NAMES
from body.model import load_body
from common.arrays import AnyArray, DoubleArray
from formats.motion import Motion, save_motion


def project(points: AnyArray, matrix: DoubleArray) -> DoubleArray:
    """(..., 3) metres in a camera's frame to (..., 2) pixels."""
    return (points @ matrix.T)[..., :2] / points[..., 2:]


def motion_of(joints: AnyArray, matrix: DoubleArray, fps: float = 30.0, **changes: Any) -> Motion:
    """One person with ``joints`` (N, 24, 3) in the camera's frame, a row a frame; keypoints where the joints of their
    names are (the head for the face). ``changes`` replaces fields."""
    count = len(joints)
    pixels = project(joints, matrix).astype(np.float32)
    joint_of = [JOINT_NAMES.index(name if name in JOINT_NAMES else "head") for name in COCO_NAMES]
    motion = Motion(
        frame=np.arange(count),
        time_s=np.arange(count) / fps,
        person=np.zeros(count, np.int64),
        joints_m=joints.astype(np.float32),
        joints_px=pixels,
        keypoints_px=pixels[:, joint_of],
        keypoint_confidence=np.ones((count, 17), np.float32),
        global_orient=np.zeros((count, 3), np.float32),
        body_pose=np.zeros((count, 23, 3), np.float32),
        betas=np.zeros((count, 10), np.float32),
        transl=joints[:, 0].astype(np.float32),
        camera_matrix=matrix,
        fps=fps,
        source="test",
        body_sha256=load_body("body_1722").sha256,
        version=1,
    )
    return replace(motion, **changes)


def joined(*motions: Motion) -> Motion:
    """Several people of one recording."""
    rows = {
        field.name: np.concatenate([getattr(motion, field.name) for motion in motions])
        for field in fields(Motion)
        if getattr(motions[0], field.name).__class__ is np.ndarray and field.name != "camera_matrix"
    }
    order = np.argsort(rows["frame"], kind="stable")
    return replace(motions[0], **{name: values[order] for name, values in rows.items()})


def save(motion: Motion, path: Path) -> Path:
    save_motion(path, motion.arrays())
    return path
