"""3DPW's files: what is read is right, what is wrong is named, nothing in them runs."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import load_body
from tests.body.test_smpl_file import Calls
from tests.training.datasets.threedpw_like import COUNT, MATRIX, sequence_fields, smpl_folder, write_sequence
from training.datasets.sequence import DatasetError, PersonSequence
from training.datasets.smpl_folder import SmplFolder
from training.datasets.threedpw import find_threedpw, read_threedpw


@pytest.fixture(scope="module")
def smpl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smpl_folder(tmp_path_factory.mktemp("smpl"))


@pytest.fixture(scope="module")
def fields(smpl: Path) -> dict[str, Any]:
    return sequence_fields(smpl)


def test_the_pickle_is_one_of_python_2(fields: dict[str, Any], tmp_path: Path) -> None:
    path = write_sequence(tmp_path, fields)
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(path.read_bytes())}
    assert "BINSTRING" in opcodes
    assert not {"BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"} & opcodes
    with pytest.raises(UnicodeDecodeError):  # as every such file does without latin1
        pickle.loads(path.read_bytes())


def test_both_people_are_read_in_the_cameras_frame(fields: dict[str, Any], smpl: Path, tmp_path: Path) -> None:
    path = write_sequence(tmp_path, fields)
    assert find_threedpw(tmp_path) == [path]
    woman, man = read_threedpw(path)
    assert (woman.name, woman.person, woman.split, woman.gender) == ("downtown_test_00", 0, "test", "female")
    assert (man.person, man.gender, len(man), man.fps) == (1, "male", COUNT, 30.0)
    assert man.source == tmp_path / "imageFiles" / "downtown_test_00"
    np.testing.assert_array_equal(man.camera_matrix, MATRIX)
    for sequence in (woman, man):
        body = NumpyBody(load_body(smpl / f"SMPL_{sequence.gender.upper()}.pkl"))
        body.set_shape(sequence.betas)
        pelvis = sequence.pelvis()
        assert sequence.joints is not None
        for t in range(COUNT):
            _, joints = body.pose(sequence.global_orient[t], sequence.body_pose[t], pelvis[t])
            np.testing.assert_allclose(joints, sequence.joints[t], atol=2e-5)
        stored = PersonSequence(
            **{name: getattr(sequence, name) for name in PersonSequence.__dataclass_fields__ if name != "joints"}
        )
        np.testing.assert_allclose(stored.pelvis(body.rest_pelvis), pelvis, atol=2e-5)
        with pytest.raises(ValueError, match="rest_pelvis"):
            stored.pelvis()


def test_keypoints_come_in_cocos_order(fields: dict[str, Any], tmp_path: Path) -> None:
    woman = read_threedpw(write_sequence(tmp_path, fields))[0]
    assert woman.keypoints_px is not None
    assert woman.joints_px is not None
    np.testing.assert_allclose(woman.keypoints_px[:, 5:9], woman.joints_px[:, 16:20], atol=0.01)
    np.testing.assert_allclose(woman.keypoints_px[:, 15:], woman.joints_px[:, 7:9], atol=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jointPositions": None}, "lacks 'jointPositions'"),
        ({"cam_poses": np.zeros((COUNT, 3, 4))}, r"'cam_poses' is \(12, 3, 4\), should be \(any, 4, 4\)"),
        ({"poses": [np.zeros((COUNT, 72))]}, "'poses' is no list of arrays"),
        ({"poses2d": [np.zeros((COUNT, 18, 3))] * 2}, "'poses2d' is"),
        ({"betas": [np.zeros(3)] * 2}, "10 betas or more, not 3"),
        ({"genders": ["x", "m"]}, "'genders' of person 0 is 'x'"),
    ],
)
def test_a_missing_or_wrong_entry_is_named(
    fields: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    broken = {name: value for name, value in {**fields, **change}.items() if value is not None}
    with pytest.raises(DatasetError, match=message) as caught:
        read_threedpw(write_sequence(tmp_path, broken))
    assert "register at virtualhumans.mpi-inf.mpg.de/3DPW" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_malicious_sequence_is_refused_and_nothing_runs(fields: dict[str, Any], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    gadget = Calls(eval, f"open({str(mark)!r}, 'w').close()")
    path = write_sequence(tmp_path, fields)
    path.write_bytes(pickle.dumps({**fields, "texture_maps": gadget}, 2))
    with pytest.raises(DatasetError, match=r"refused: it asks for .*eval"):
        read_threedpw(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # what a careless reader does
    assert mark.exists()


def test_a_missing_data_set_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no 3DPW sequences .*/validation: register at virtualhumans"):
        find_threedpw(tmp_path, "validation")
    with pytest.raises(DatasetError, match="choose train, validation, test"):
        find_threedpw(tmp_path, "val")
    with pytest.raises(DatasetError, match="cannot read"):
        read_threedpw(tmp_path / "sequenceFiles" / "test" / "none.pkl")
    (tmp_path / "torn.pkl").write_bytes(b"\x80\x02}q")
    with pytest.raises(DatasetError, match="not a readable pickle"):
        read_threedpw(tmp_path / "torn.pkl")


def test_licensed_files_are_found_by_their_released_names(smpl: Path, tmp_path: Path) -> None:
    (tmp_path / "basicmodel_f_lbs_10_207_0_v1.1.0.pkl").symlink_to(smpl / "SMPL_FEMALE.pkl")
    folder = SmplFolder(tmp_path)
    assert folder.body("female").sha256 == load_body(smpl / "SMPL_FEMALE.pkl").sha256
    assert folder.body_with_hash("0") is None
    with pytest.raises(DatasetError, match=r"no neutral SMPL \(SMPL_NEUTRAL.pkl\).*register at smpl.is.tue.mpg.de"):
        folder.body("neutral")
    with pytest.raises(DatasetError, match=r"J_regressor_h36m.npy takes from SMPL's vertices"):
        folder.regressor_14()
    np.save(tmp_path / "J_regressor_h36m.npy", np.zeros((24, 6890)))
    with pytest.raises(DatasetError, match=r"should be one array \(17, 6890\)"):
        folder.regressor_14()
