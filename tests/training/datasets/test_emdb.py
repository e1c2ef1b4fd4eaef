"""EMDB's files: what is read is right, what is wrong is named, nothing in them runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import load_body
from tests.body.test_smpl_file import Calls
from tests.training.datasets.emdb_like import emdb_fields, write_emdb
from tests.training.datasets.threedpw_like import COUNT, MATRIX
from tests.training.motions import project
from training.datasets.emdb import find_emdb, read_emdb
from training.datasets.sequence import DatasetError


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    return emdb_fields(load_body())


def test_the_body_in_the_cameras_frame_gives_kp2d(fields: dict[str, Any], tmp_path: Path) -> None:
    path = write_emdb(tmp_path, fields)
    assert find_emdb(tmp_path) == [path]
    sequence = read_emdb(path, "emdb1")
    assert sequence is not None
    assert read_emdb(path, "emdb2") is None
    assert (sequence.name, sequence.gender, sequence.fps) == ("P0_09_outdoor_walk", "female", 30.0)
    assert sequence.source == path.parent / "images"
    assert np.flatnonzero(~sequence.valid).tolist() == [3]
    body = NumpyBody(load_body())
    body.set_shape(sequence.betas)
    pelvis = sequence.pelvis(body.rest_pelvis)
    for t in range(COUNT):
        _, joints = body.pose(sequence.global_orient[t], sequence.body_pose[t], pelvis[t])
        np.testing.assert_allclose(project(joints, MATRIX), fields["kp2d"][t], atol=0.05)


@pytest.mark.parametrize(
    ("inside", "change", "message"),
    [
        (None, {"smpl": None}, "lacks 'smpl'"),
        (None, {"smpl": np.zeros(3)}, "'smpl' is a ndarray, no dictionary"),
        (None, {"gender": "f"}, "'gender' is 'f'"),
        (None, {"good_frames_mask": np.ones(3)}, r"'good_frames_mask' is \(3,\), should be \(12\)"),
        ("smpl", {"trans": None}, r"\['smpl'\] lacks 'trans'"),
        ("camera", {"intrinsics": "none"}, r"\['camera'\]: 'intrinsics' is no"),
    ],
)
def test_a_missing_or_wrong_entry_is_named(
    fields: dict[str, Any], tmp_path: Path, inside: str | None, change: dict[str, Any], message: str
) -> None:
    part = {**(fields if inside is None else fields[inside]), **change}
    part = {name: value for name, value in part.items() if value is not None}
    with pytest.raises(DatasetError, match=message) as caught:
        read_emdb(write_emdb(tmp_path, part if inside is None else {**fields, inside: part}))
    assert "emdb.ait.ethz.ch" in str(caught.value)


def test_a_malicious_sequence_is_refused_and_nothing_runs(fields: dict[str, Any], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write_emdb(tmp_path, {**fields, "bboxes": Calls(os.system, f"touch '{mark}'")})
    with pytest.raises(DatasetError, match="refused: it asks for"):
        read_emdb(path)
    assert not mark.exists()


def test_a_missing_data_set_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no EMDB sequences .* fill in the form at emdb.ait.ethz.ch"):
        find_emdb(tmp_path)
