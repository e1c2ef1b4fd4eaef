"""The protocols of 3DPW and EMDB on sequences in their formats: every error is known in closed form."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import typer
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from common.arrays import DoubleArray

torch = pytest.importorskip("torch")

from body.errors import BodyError  # noqa: E402
from body.lbs import NumpyBody  # noqa: E402
from body.model import load_body  # noqa: E402
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle  # noqa: E402
from formats.motion import Motion, load_motion  # noqa: E402
from realtime.options import Options  # noqa: E402
from tests.training.datasets.emdb_like import emdb_fields, write_emdb  # noqa: E402
from tests.training.datasets.threedpw_like import (  # noqa: E402
    COUNT,
    MATRIX,
    sequence_fields,
    smpl_folder,
    write_sequence,
)
from tests.training.motions import joined, motion_of, save  # noqa: E402
from training.datasets.emdb import read_emdb  # noqa: E402
from training.datasets.sequence import DatasetError, PersonSequence  # noqa: E402
from training.datasets.smpl_folder import HIPS_14, SmplFolder  # noqa: E402
from training.datasets.threedpw import OPENPOSE_KEYPOINTS, read_threedpw  # noqa: E402
from training.evaluation.datasets import record, score_dataset  # noqa: E402
from training.evaluation.metrics import mean_of_known  # noqa: E402
from training.evaluation.protocols import SMPL_14, join_scores, score_emdb, score_threedpw  # noqa: E402

SCALE = 1.25


@pytest.fixture(scope="module")
def smpl(tmp_path_factory: pytest.TempPathFactory) -> SmplFolder:
    """Its neutral body is a quarter larger than the female one and otherwise the same."""
    folder = SmplFolder(smpl_folder(tmp_path_factory.mktemp("smpl"), SCALE))
    folder.body_with_hash("")  # loads all
    return folder


@pytest.fixture(scope="module")
def fields(smpl: SmplFolder) -> dict[str, Any]:
    return sequence_fields(smpl._folder)


@pytest.fixture
def people(fields: dict[str, Any], tmp_path: Path) -> list[PersonSequence]:
    return read_threedpw(write_sequence(tmp_path, fields))


def predicted(sequence: PersonSequence, sha256: str, **changes: Any) -> Motion:
    """A motion that is the truth."""
    assert sequence.joints is not None
    truth = {"global_orient": sequence.global_orient, "body_pose": sequence.body_pose}
    truth["betas"] = np.tile(sequence.betas, (COUNT, 1))
    return motion_of(sequence.joints, MATRIX, 30.0, **{**truth, "body_sha256": sha256, **changes})


def surface(smpl: SmplFolder, sequence: PersonSequence) -> tuple[DoubleArray, DoubleArray]:
    """Vertices (T, V, 3) and the 14 joints (T, 14, 3) of the truth, relative to the middle of the hips."""
    body = NumpyBody(smpl.body(sequence.gender))
    body.set_shape(sequence.betas)
    vertices = np.array(
        [body.pose(sequence.global_orient[t], sequence.body_pose[t], np.zeros(3))[0] for t in range(COUNT)], np.float64
    )
    joints = smpl.regressor_14() @ vertices
    hips = joints[:, HIPS_14].mean(1, keepdims=True)
    return vertices - hips, joints - hips


def test_the_truth_scores_nothing(smpl: SmplFolder, people: list[PersonSequence]) -> None:
    """Each with the body of the own gender; one file holds one body, so one person at a time."""
    for person, sequence in enumerate(people):
        motion = predicted(sequence, smpl.body(sequence.gender).sha256)
        scores = score_threedpw(people, motion, smpl)
        assert scores[person].found.all()
        assert not scores[1 - person].found.any()
        for values in (scores[person].errors.pa, scores[person].errors.mpjpe, scores[person].pve):
            assert np.nanmax(values) < 2e-3
        assert np.nanmax(scores[person].errors.acceleration) < 5e-3


def test_a_larger_neutral_body_costs_its_size_and_no_pa(smpl: SmplFolder, people: list[PersonSequence]) -> None:
    """The truth is female, the prediction neutral, and everything of it is a quarter farther from the hips."""
    scores = score_threedpw(people, predicted(people[0], smpl.body("neutral").sha256), smpl)[0]
    vertices, joints = surface(smpl, people[0])
    assert mean_of_known(scores.errors.pa) < 2e-3
    want = 250 * np.linalg.norm(joints, axis=-1).mean()
    assert mean_of_known(scores.errors.mpjpe) == pytest.approx(want, rel=1e-4)
    assert mean_of_known(scores.pve) == pytest.approx(250 * np.linalg.norm(vertices, axis=-1).mean(), rel=1e-4)


def test_a_turned_person_costs_the_chord(smpl: SmplFolder, people: list[PersonSequence]) -> None:
    turn = Rotation.from_rotvec([0.3, -0.2, 0.4]).as_matrix()
    orient = matrix_to_axis_angle(turn @ axis_angle_to_matrix(people[1].global_orient))
    motion = predicted(people[1], smpl.body("male").sha256, global_orient=orient.astype(np.float32))
    scores = score_threedpw(people, motion, smpl)[1]
    vertices, joints = surface(smpl, people[1])
    assert mean_of_known(scores.errors.pa) < 2e-3
    for values, points in ((scores.errors.mpjpe, joints), (scores.pve, vertices)):
        want = 1000 * np.linalg.norm(points @ turn.T - points, axis=-1).mean()
        assert mean_of_known(values) == pytest.approx(want, rel=1e-4)


def test_without_smpl_one_joint_costs_its_share(people: list[PersonSequence]) -> None:
    """The left wrist is off by 140 mm, so the fourteen by 10 in the mean; it falls at 9.81 m/s²."""
    wrist = 20
    assert wrist in SMPL_14
    motion = predicted(people[0], "unknown")
    motion.joints_m[:, wrist, 2] += 0.14
    assert mean_of_known(score_threedpw(people, motion)[0].errors.mpjpe) == pytest.approx(10, rel=1e-4)
    motion = predicted(people[0], "unknown")
    motion.joints_m[:, wrist, 0] += 0.5 * 9.81 * (np.arange(COUNT) / 30) ** 2
    scores = score_threedpw(people, motion)[0]
    assert mean_of_known(scores.errors.acceleration) == pytest.approx(9.81 / 14, rel=1e-3)
    assert np.isnan(scores.errors.acceleration[[0, -1]]).all()
    assert np.isnan(scores.pve).all()


def test_which_frames_count(fields: dict[str, Any], tmp_path: Path) -> None:
    """More than six LIMB keypoints over 0.3, a camera that was aligned; a frame without the person is not found."""
    limbs = [
        OPENPOSE_KEYPOINTS.index(name)
        for name in OPENPOSE_KEYPOINTS
        if name.partition("_")[2] in ("wrist", "elbow", "knee")
    ]
    assert len(limbs) == 6
    poses2d = [points.copy() for points in fields["poses2d"]]
    poses2d[0][2, 2, limbs] = 0.3  # six of twelve are left, and the face
    poses2d[0][3, 2, limbs[1:]] = 0.3  # seven are left
    campose = [np.arange(COUNT) != 6, np.ones(COUNT)]
    people = read_threedpw(write_sequence(tmp_path, {**fields, "poses2d": poses2d, "campose_valid": campose}))
    motion = predicted(people[0], "unknown")
    motion.person[9] = -1
    scores = score_threedpw(people, motion)[0]
    assert np.flatnonzero(~scores.counted).tolist() == [2, 6]
    assert np.flatnonzero(~scores.found).tolist() == [2, 6, 9]
    assert np.flatnonzero(np.isfinite(scores.errors.mpjpe)).tolist() == np.flatnonzero(scores.found).tolist()
    assert np.flatnonzero(np.isfinite(scores.errors.acceleration)).tolist() == [4]


def test_people_are_told_apart_whatever_their_numbers(people: list[PersonSequence]) -> None:
    woman, man = (predicted(sequence, "unknown") for sequence in people)
    half = np.arange(COUNT) < 5
    crossed = joined(replace(woman, person=np.where(half, 0, 1)), replace(man, person=np.where(half, 1, 0)))
    both = score_threedpw(people, crossed)
    assert max(mean_of_known(each.errors.mpjpe) for each in both) < 2e-3
    everybody = join_scores(both)
    assert everybody.frames == 2 * COUNT
    assert everybody.found.sum() == 2 * COUNT


def test_the_shipped_body_is_said_in_neutral_smpls_parameters(people: list[PersonSequence], tmp_path: Path) -> None:
    """Here neutral SMPL is the shipped body a twentieth larger, so betas must make it smaller; then even vertices fit."""
    folder = SmplFolder(smpl_folder(tmp_path / "smpl", 1.05))
    shipped = load_body()
    woman = replace(people[0], betas=shipped.clamp_betas(people[0].betas))
    scores = score_threedpw([woman], predicted(woman, shipped.sha256), folder)[0]
    assert scores.found.all()
    assert mean_of_known(scores.errors.pa) < 6
    assert mean_of_known(scores.errors.mpjpe) < 8
    assert mean_of_known(scores.pve) < 12


def test_a_motion_of_an_unknown_body_is_refused(smpl: SmplFolder, people: list[PersonSequence]) -> None:
    with pytest.raises(BodyError, match="no shipped body is the one"):
        score_threedpw(people, predicted(people[0], "unknown"), smpl)


def test_emdb_takes_every_bodys_own_joints(smpl: SmplFolder, tmp_path: Path) -> None:
    """A motion of neutral SMPL, here a quarter larger than the female one, and turned about an axis."""
    fields = emdb_fields(smpl.body("female"))
    sequence = read_emdb(write_emdb(tmp_path, fields), "emdb1")
    assert sequence is not None
    body = NumpyBody(smpl.body("female"))
    body.set_shape(sequence.betas)
    places = zip(sequence.global_orient, sequence.body_pose, sequence.pelvis(body.rest_pelvis), strict=True)
    posed = [body.pose(orient, pose, place) for orient, pose, place in places]
    joints = np.array([part[1] for part in posed])
    truth = {"global_orient": sequence.global_orient, "body_pose": sequence.body_pose}
    truth["betas"] = np.tile(sequence.betas, (COUNT, 1))
    motion = motion_of(joints, MATRIX, body_sha256=smpl.body("neutral").sha256, **truth)
    scores = score_emdb(sequence, motion, smpl)
    assert np.flatnonzero(~scores.counted).tolist() == [3]
    assert scores.found.sum() == COUNT - 1
    surface = smpl.body("female").joint_regressor @ np.array([part[0] for part in posed], np.float64)
    away = np.linalg.norm(surface - surface[:, [1, 2]].mean(1, keepdims=True), axis=-1)
    assert mean_of_known(scores.errors.mpjpe) == pytest.approx(250 * away[scores.counted].mean(), rel=1e-3)
    assert mean_of_known(scores.errors.pa) < 2e-3
    save(motion, tmp_path / f"{sequence.name}.npz")
    printed = command(tmp_path, "--predictions", tmp_path, "--smpl", smpl._folder, dataset="emdb")
    assert printed.exit_code == 0, printed.output
    assert "EMDB, 24 joints of SMPL: pelvis" in printed.output
    assert "11 of 11 of 12" in printed.output
    refused = command(tmp_path, "--predictions", tmp_path, dataset="emdb")
    assert refused.exit_code == 2
    assert "EMDB stores no joints" in refused.output
    assert "choose emdb1" in command(tmp_path, "--smpl", smpl._folder, "--split", "test", dataset="emdb").output
    assert "nothing of emdb2" in command(tmp_path, "--smpl", smpl._folder, "--split", "emdb2", dataset="emdb").output


def command(*arguments: object, dataset: str = "threedpw") -> Any:
    app = typer.Typer()
    app.command()(score_dataset)
    return CliRunner().invoke(app, ["--dataset", dataset, *(str(argument) for argument in arguments)])


def test_the_command(smpl: SmplFolder, fields: dict[str, Any], people: list[PersonSequence], tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    missing = command(tmp_path, "--predictions", saved)
    assert missing.exit_code == 2
    assert "add --run to make it" in missing.output
    save(predicted(people[0], smpl.body("neutral").sha256), saved / "downtown_test_00.npz")
    full = command(tmp_path, "--predictions", saved, "--smpl", smpl._folder)
    assert full.exit_code == 0, full.output
    assert "14 joints by J_regressor_h36m: right ankle" in full.output
    assert "PVE mm" in full.output
    assert "accel m/s² at 30 fps" in full.output
    assert "12 of 24 of 24" in full.output
    plain = command(tmp_path, "--predictions", saved)
    assert plain.exit_code == 0, plain.output
    assert "jointPositions" in plain.output
    assert "no PVE" in plain.output
    assert command(tmp_path / "nowhere", "--predictions", saved).exit_code == 2


def test_the_evaluation_command_leads_here() -> None:
    words = ["-m", "training.evaluation", "datasets", "--dataset", "threedpw", "nowhere"]
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: there are no 3DPW sequences")


def test_the_real_chain_records_a_sequence(people: list[PersonSequence], tmp_path: Path) -> None:
    assert people[0].source is not None
    with pytest.raises(DatasetError, match="frames of downtown_test_00 are not in"):
        record(people[0], tmp_path / "none.npz", Options(view="none"))
    people[0].source.mkdir(parents=True)
    with av.open("assets/synthetic_walk.mp4") as renderer:
        for index, frame in zip(range(3), renderer.decode(video=0), strict=False):
            cv2.imwrite(str(people[0].source / f"image_{index:05d}.jpg"), frame.to_ndarray(format="bgr24"))
    record(people[0], tmp_path / "saved" / "walk.npz", Options(view="none"))
    motion = load_motion(tmp_path / "saved" / "walk.npz")
    assert motion.frame.tolist() == [0, 1, 2]
    assert motion.camera_matrix[0, 0] == MATRIX[0, 0]
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["walk.npz"]
    shutil.rmtree(people[0].source)
