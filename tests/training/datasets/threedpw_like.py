"""Sequences in 3DPW's format and licensed SMPL files' layout, made from the body that ships: nothing in them is theirs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from common.arrays import AnyArray, DoubleArray
from tests.body.smpl_like import smpl_fields
from tests.training.datasets.python2 import python2_pickle
from tests.training.motions import project
from training.datasets.threedpw import OPENPOSE_KEYPOINTS

MATRIX = np.array([[1961.85, 0, 540.0], [0, 1969.2, 960.0], [0, 0, 1]])
COUNT = 12


def smpl_folder(folder: Path, neutral_scale: float = 1.0) -> Path:
    """SMPL_FEMALE.pkl, SMPL_MALE.pkl (a tenth larger), SMPL_NEUTRAL.pkl (larger by ``neutral_scale``), and a regressor
    that picks vertices near the joints. No pose correctives, to be small."""
    folder.mkdir(parents=True, exist_ok=True)
    body = load_body()
    fields = {**smpl_fields(body), "posedirs": np.zeros(body.posedirs.shape, np.float16)}
    for gender, scale in (("FEMALE", 1.0), ("MALE", 1.1), ("NEUTRAL", neutral_scale)):
        scaled = {**fields, **{name: scale * fields[name] for name in ("v_template", "shapedirs")}, "gender": gender}
        (folder / f"SMPL_{gender}.pkl").write_bytes(pickle.dumps(scaled, 2))
    regressor = np.zeros((17, 6890))
    joints = body.joint_regressor @ body.v_template
    for row in range(17):
        distance = np.linalg.norm(body.v_template - joints[(row * 5 + 1) % 24], axis=1)
        regressor[row, np.argsort(distance)[:4]] = 0.25
    np.save(folder / "J_regressor_h36m.npy", regressor)
    return folder


def cameras() -> DoubleArray:
    """(COUNT, 4, 4): a camera that walks and turns about people at the origin, 3 m away."""
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    for t, pose in enumerate(poses):
        pose[:3, :3] = Rotation.from_euler("xyz", [180 + t, 2 * t, 0.5 * t], degrees=True).as_matrix()
        pose[:3, 3] = [0.02 * t, -0.1, 3.0]
    return poses


def person(body: BodyArrays, seed: int) -> dict[str, Any]:
    """What a sequence file says of one person that moves smoothly in the world, and his ``gender`` left out."""
    rng = np.random.default_rng(seed)
    start, speed = rng.normal(0, 0.2, (24, 3)), rng.normal(0, 0.02, (24, 3))
    poses = start + speed * np.arange(COUNT)[:, None, None]
    betas = rng.normal(0, 0.7, 10)
    trans = np.array([0.8 * (-1) ** seed, 0.0, 0.1]) + 0.01 * np.arange(COUNT)[:, None]
    model = NumpyBody(body)
    model.set_shape(betas)
    joints = np.array(
        [model.pose(pose[0], pose[1:], shift, pelvis=False)[1] for pose, shift in zip(poses, trans, strict=True)]
    )
    return {
        "poses": poses.reshape(COUNT, 72),
        "betas": betas,
        "trans": trans,
        "jointPositions": joints.reshape(COUNT, 72),
    }


def detections(joints: AnyArray, extrinsics: DoubleArray) -> DoubleArray:
    """``poses2d`` (COUNT, 3, 18): world joints seen by the cameras, all sure; the face where the head joint is."""
    place = joints.reshape(COUNT, 24, 3) @ extrinsics[:, :3, :3].transpose(0, 2, 1) + extrinsics[:, None, :3, 3]
    column = {name: JOINT_NAMES.index(name if name in JOINT_NAMES else "head") for name in (*COCO_NAMES, "neck")}
    pixels = project(place[:, [column[name] for name in OPENPOSE_KEYPOINTS]], MATRIX)
    return np.concatenate([pixels, np.full((COUNT, 18, 1), 0.8)], -1).transpose(0, 2, 1)


def sequence_fields(smpl: Path, name: str = "downtown_test_00") -> dict[str, Any]:
    """A sequence file's contents: a woman and a man."""
    people = [person(load_body(smpl / f"SMPL_{gender}.pkl"), seed) for seed, gender in enumerate(("FEMALE", "MALE"))]
    extrinsics = cameras()
    fields: dict[str, Any] = {key: [each[key] for each in people] for key in people[0]}
    return fields | {
        "sequence": name,
        "genders": ["f", "m"],
        "poses2d": [detections(each["jointPositions"], extrinsics) for each in people],
        "cam_poses": extrinsics,
        "cam_intrinsics": MATRIX,
        "campose_valid": [np.ones(COUNT), np.ones(COUNT, bool)],
        "img_frame_ids": np.arange(0, 2 * COUNT, 2),
        "texture_maps": [],
        "v_template_clothed": [np.zeros((3, 3))] * 2,
    }


def write_sequence(root: Path, fields: dict[str, Any], split: str = "test") -> Path:
    """``ROOT/sequenceFiles/SPLIT/NAME.pkl`` as Python 2 would have written it."""
    path = root / "sequenceFiles" / split / f"{fields.get('sequence', 'unnamed')}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(python2_pickle(fields))
    return path
