"""A user's own folder of licensed SMPL files: the bodies, and the regressor of Human3.6M's joints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from body.model import SMPL_VERTICES, BodyArrays, load_body
from common.arrays import AnyArray, FloatArray
from common.npz import read_npy
from training.datasets.sequence import DatasetError, Gender
from training.motion.archive import ARCHIVE_ERRORS

SMPL_HOME: Final = "register at smpl.is.tue.mpg.de, unpack SMPL for Python and name the folder of its .pkl files"

NAMES_14: Final = (
    "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "right wrist", "right elbow",
    "right shoulder", "left shoulder", "left elbow", "left wrist", "neck", "head top",
)  # fmt: skip
"""The joints of 3DPW's evaluation protocol."""

HIPS_14: Final = [NAMES_14.index("right hip"), NAMES_14.index("left hip")]
"""Rows of the hips in `NAMES_14`."""

_ROWS_14: Final = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]
"""Rows of J_regressor_h36m (17 joints of Human3.6M) for `NAMES_14`."""

_PATTERNS: Final[dict[Gender, str]] = {
    "female": r"smpl_female|basicmodel_f(emale)?_",
    "male": r"smpl_male|basicmodel_m(ale)?_",
    "neutral": r"smpl_neutral|basicmodel_neutral",
}


class SmplFolder:
    """Bodies by gender, loaded on first use.

    Files have their released names (``basicmodel_f_lbs_10_207_0_v1.1.0.pkl``) or those of smplx (``SMPL_FEMALE.pkl``),
    with ``J_regressor_h36m.npy`` (17, 6890) beside them or at ``regressor``.
    """

    def __init__(self, folder: Path, regressor: Path | None = None) -> None:
        """Take the folder; nothing is read yet."""
        self._folder = folder
        self._regressor = regressor or folder / "J_regressor_h36m.npy"
        self._bodies: dict[Gender, BodyArrays] = {}

    def body(self, gender: Gender) -> BodyArrays:
        """The body of one gender. Raises `DatasetError` if it is missing, `BodyError` if it cannot be read."""
        if gender not in self._bodies:
            found = [
                path
                for path in sorted(self._folder.glob("*"))
                if path.suffix in (".pkl", ".npz") and re.match(_PATTERNS[gender], path.name.lower())
            ]
            if not found:
                raise DatasetError(
                    f"there is no {gender} SMPL (SMPL_{gender.upper()}.pkl) in {self._folder}: {SMPL_HOME}"
                )
            self._bodies[gender] = load_body(found[0])
        return self._bodies[gender]

    def body_with_hash(self, sha256: str) -> BodyArrays | None:
        """The body, of any gender, whose file has this SHA-256 hash; None if there is none."""
        for gender in _PATTERNS:
            try:
                arrays = self.body(gender)
            except DatasetError:  # a folder without neutral SMPL, say
                continue
            if arrays.sha256 == sha256:
                return arrays
        return None

    def regressor_14(self) -> FloatArray:
        """Regressor (14, 6890) float32 of the joints `NAMES_14` from vertices.

        Raises:
            DatasetError: The file is missing or has another shape.
        """
        try:
            rows: AnyArray = read_npy(self._regressor)
        except FileNotFoundError:
            raise DatasetError(
                f"there is no {self._regressor}: 3DPW is scored on joints that J_regressor_h36m.npy takes from SMPL's "
                "vertices; it comes with the data of SPIN, VIBE or WHAM (github.com/nkolot/SPIN, fetch_data.sh)"
            ) from None
        except ARCHIVE_ERRORS as error:
            raise DatasetError(f"{self._regressor} cannot be read ({error}): copy it again") from error
        if rows.shape != (17, SMPL_VERTICES):
            raise DatasetError(f"{self._regressor} should be one array (17, {SMPL_VERTICES}): copy it again")
        return rows[_ROWS_14].astype(np.float32)
