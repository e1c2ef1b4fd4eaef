"""The arrays of one SMPL-layout body, and loading them from a file.

Three kinds of file are read: this project's own packed ``.npz`` (two of them ship in ``body/data``), a user's licensed
SMPL as ``.npz``, and as the original ``.pkl``. Pickles are read through an allow-list and never run code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from body.errors import BodyError
from body.joints import COCO_NAMES, JOINT_NAMES, PARENTS
from body.packed import BETAS, FORMAT, POSE_FEATURES, unpack
from body.smpl_file import read_pickle, read_smpl_npz
from common.arrays import AnyFloatArray, DoubleArray, FloatArray, Int32Array

DATA: Final = Path(__file__).parent / "data"
"""Folder of the bodies that ship with the project."""

DEFAULT_BODY: Final = "body_6890"
"""The body used when none is named: 6890 vertices, 13776 faces."""

SMPL_VERTICES: Final = 6890
"""Vertices of the official SMPL."""

SMPL_FACE: Final[Mapping[str, int]] = {
    "nose": 332,
    "left_eye": 2800,
    "right_eye": 6260,
    "left_ear": 583,
    "right_ear": 4071,
}
"""Vertices of the official SMPL at the five COCO keypoints of the face."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyArrays:
    """One body model. Rest frame: metres, T-pose, y up, facing +z, x to the person's left.

    The arrays are read-only. V is the number of vertices, F of faces.
    """

    name: str
    """The file's stem, as ``body_6890``."""
    sha256: str
    """Hash of the file that the arrays came from, in hex: the key for anything cached for this body."""
    v_template: FloatArray
    """(V, 3) vertices of the mean shape, metres."""
    shapedirs: FloatArray
    """(V, 3, 10) metres that a vertex moves for one unit of each beta."""
    posedirs: FloatArray
    """(V, 3, 207) metres for one unit of the 23 x 9 entries of (local rotation - identity), joints 1..23, row-major."""
    joint_regressor: FloatArray
    """(24, V): joints of the rest body = joint_regressor @ vertices. Rows sum to 1."""
    weights: FloatArray
    """(V, 24) skinning weights. Rows sum to 1."""
    faces: Int32Array
    """(F, 3) vertex indices, counter-clockwise seen from outside."""
    coco_regressor: FloatArray
    """(17, V): COCO keypoints = coco_regressor @ posed vertices. Rows sum to 1; those of the default body are not
    negative."""
    mirror: Int32Array | None = None
    """(V,) index of every vertex's mirror image in x, or None where it is not known."""
    beta_limit: float = float("inf")
    """Posing clamps betas to plus or minus this. 2 for the default body, which stops looking human beyond it."""
    landmarks: Mapping[str, int] = field(default_factory=dict)
    """Vertices of nose, eyes, ears, finger tips, toes and heels under smplx's names; empty where not known."""

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self.v_template)

    def clamp_betas(self, betas: AnyFloatArray) -> FloatArray:
        """(..., 10) betas, clamped to ``beta_limit``, as float32."""
        return np.clip(np.asarray(betas, np.float32), -self.beta_limit, self.beta_limit)

    def at_rest(self, regressor: FloatArray) -> DoubleArray:
        """Points of the rest body for the mean shape and for one unit of each beta, (K, 3, 11) float64, metres.

        ``regressor`` (K, V) computes the points from the vertices. Points are linear in the betas, so their product
        with (1, betas) replaces one with all vertices.
        """
        surface = np.concatenate([self.v_template[..., None], self.shapedirs], -1).astype(np.float64)
        points: DoubleArray = np.einsum("kv,vab->kab", regressor, surface)
        return points


def load_body(path: Path | str | None = None) -> BodyArrays:
    """Load a body.

    ``path`` is None for the default body, the name of a body that ships with the project (``"body_1722"``), or a file:
    a packed ``.npz``, or a user's own SMPL as ``.npz`` or ``.pkl``.

    Raises ``BodyError`` when the file is missing, unreadable, not of SMPL's layout, or a pickle that asks for anything
    but arrays.
    """
    file = _locate(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BodyError(
            f"cannot read the body {file} ({error.strerror}); check the file and its permissions"
        ) from error
    if file.suffix not in (".npz", ".pkl"):
        raise BodyError(f"{file} is neither .npz nor .pkl; give a packed body, or SMPL as .npz or .pkl")
    fields = (read_pickle if file.suffix == ".pkl" else read_smpl_npz)(content, str(file))
    if _is_packed(fields.get("format")):
        try:
            arrays = unpack(fields)
        except (KeyError, ValueError, IndexError, TypeError, AttributeError, OverflowError, MemoryError) as error:
            raise BodyError(f"{file} is a damaged packed body ({error}); copy or build it again") from error
    else:
        arrays = _from_smpl(fields, file)
    _check(arrays, file)
    for value in arrays.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return BodyArrays(name=file.stem, sha256=hashlib.sha256(content).hexdigest(), **arrays)


def _is_packed(format: object) -> bool:
    return isinstance(format, (str, np.ndarray)) and np.size(format) == 1 and str(format) == FORMAT


def _locate(path: Path | str | None) -> Path:
    file = Path(DEFAULT_BODY if path is None else path)
    shipped = DATA / f"{file}.npz"
    if not file.suffix and len(file.parts) == 1 and not os.path.exists(file):
        file = shipped
    if not os.path.isfile(file):
        known = ", ".join(sorted(found.stem for found in DATA.glob("*.npz"))) or "none"
        raise BodyError(f"there is no body {file}; give the path of a .npz or .pkl, or one of those shipped: {known}")
    return file


def _from_smpl(fields: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """``BodyArrays`` arguments from the fields of an official SMPL file."""
    wanted = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table")
    missing = [name for name in wanted if name not in fields]
    if missing:
        raise BodyError(
            f"{file} is not an SMPL body (no {', '.join(missing)}); give SMPL itself, not SMPL-H, SMPL-X or a pose"
        )
    try:
        parents = np.asarray(fields["kintree_table"])[0].astype(np.int64)[1:].tolist()
        shapedirs = np.array(fields["shapedirs"], np.float32)
        arrays: dict[str, Any] = {
            "v_template": np.array(fields["v_template"], np.float32),
            "shapedirs": shapedirs[..., :BETAS].copy(),
            "posedirs": np.array(fields["posedirs"], np.float32),
            "joint_regressor": np.array(fields["J_regressor"], np.float32),
            "weights": np.array(fields["weights"], np.float32),
            "faces": np.asarray(fields["f"]).astype(np.int32),
        }
    except (TypeError, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise BodyError(
            f"{file} holds other things than arrays ({error}); give the SMPL file as it was released"
        ) from error
    if parents != list(PARENTS[1:]):
        raise BodyError(f"{file} does not have SMPL's 24 joints; give SMPL itself, not SMPL-H or SMPL-X")
    if shapedirs.shape[-1] < BETAS:
        raise BodyError(f"{file} has fewer than {BETAS} betas; give the SMPL release with 10 or 300")
    if "coco_regressor" in fields:
        arrays["coco_regressor"] = np.array(fields["coco_regressor"], np.float32)
    elif arrays["joint_regressor"].shape == (len(JOINT_NAMES), SMPL_VERTICES):
        arrays["coco_regressor"] = smpl_coco_regressor(arrays["joint_regressor"])
    else:
        raise BodyError(
            f"{file} is not SMPL's 6890 vertices and has no coco_regressor (17, V); add one or give SMPL itself"
        )
    return arrays


def smpl_coco_regressor(joint_regressor: FloatArray) -> FloatArray:
    """(17, 6890) COCO regressor for the official SMPL: face vertices, and the joints' own rows below the head."""
    regressor = np.zeros((len(COCO_NAMES), SMPL_VERTICES), np.float32)
    for row, name in enumerate(COCO_NAMES):
        if name in SMPL_FACE:
            regressor[row, SMPL_FACE[name]] = 1
        else:
            regressor[row] = joint_regressor[JOINT_NAMES.index(name)]
    return regressor


def _check(arrays: Mapping[str, Any], file: Path) -> None:
    """Raise ``BodyError`` unless the shapes are SMPL's, the values finite and the indices in range."""
    count = arrays["v_template"].shape[0] if arrays["v_template"].ndim else 0
    shapes = {
        "v_template": (count, 3),
        "shapedirs": (count, 3, BETAS),
        "posedirs": (count, 3, POSE_FEATURES),
        "joint_regressor": (len(JOINT_NAMES), count),
        "weights": (count, len(JOINT_NAMES)),
        "coco_regressor": (len(COCO_NAMES), count),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise BodyError(
                f"{file} is not an SMPL body: {name} is {arrays[name].shape}, SMPL has {shape}; give SMPL itself"
            )
        if not np.isfinite(arrays[name]).all():
            raise BodyError(f"{file} is damaged: {name} holds values that are not finite; copy or download it again")
    faces = arrays["faces"]
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.size == 0 or faces.min() < 0 or faces.max() >= count:
        raise BodyError(f"{file} is damaged: its faces {faces.shape} do not index {count} vertices; download it again")
