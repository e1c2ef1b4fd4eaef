"""Motion capture and one camera: what is scored, and what the one rotation of a clip may correct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from common.arrays import DoubleArray

torch = pytest.importorskip("torch")
import typer  # noqa: E402

from body.joints import JOINT_NAMES  # noqa: E402
from body.lbs import NumpyBody  # noqa: E402
from body.model import load_body  # noqa: E402
from tests.training.motions import joined, motion_of, save  # noqa: E402
from training.evaluation.metrics import mean_of_known  # noqa: E402
from training.evaluation.mocap_reference import joints_of, mocap_reference, score_joints  # noqa: E402
from training.evaluation.reference import LIMBS, score_against_reference  # noqa: E402

COUNT, FPS = 90, 60.0
MATRIX = np.array([[800.0, 0, 360], [0, 800, 640], [0, 0, 1]])
CAMERA = Rotation.from_euler("xy", [175, 40], degrees=True).as_matrix()
PLACE = np.array([0.1, 0.3, 3.0])
COLUMNS = [JOINT_NAMES.index(name) for name in LIMBS]


@pytest.fixture(scope="module")
def joints() -> DoubleArray:
    """(90, 24, 3) metres, y up: one squat in 1.5 s."""
    body, pose = NumpyBody(load_body("body_1722")), np.zeros((23, 3))
    frames = []
    for t in range(COUNT):
        bend = 0.7 - 0.7 * np.cos(2 * np.pi * t / COUNT)
        pose[[0, 1], 0], pose[[3, 4], 0], pose[15, 2] = -bend, 1.5 * bend, -0.3 - 0.2 * bend
        frames.append(body.joints_only(np.zeros(3), pose, np.zeros(3)))
    return np.array(frames, np.float64)


def content(joints: DoubleArray) -> dict[str, Any]:
    truth = joints[:, COLUMNS].astype(np.float32)
    return {
        "mocap_m": truth,
        "peer_m": (truth @ Rotation.from_euler("y", 70, degrees=True).as_matrix()).astype(np.float32),
        "joint_names": np.array([name[0].upper() + name.split("_")[1].capitalize() for name in LIMBS]),
        "camera_K": MATRIX,
        "camera_R": CAMERA,
        "camera_t": PLACE,
        "fps": np.array(FPS),
    }


def seen(joints: DoubleArray) -> DoubleArray:
    return joints @ CAMERA.T + PLACE


def test_one_rotation_is_free_and_a_rotation_of_each_frame_is_not(joints: DoubleArray) -> None:
    reference = mocap_reference(Path("x.npz"), content(joints))
    assert reference.names == LIMBS
    tilted = Rotation.from_euler("xz", [20, 10], degrees=True).apply(seen(joints)[:, COLUMNS].reshape(-1, 3))
    free = score_joints(reference, tilted.reshape(COUNT, -1, 3))
    for errors in (free.pose.pa, free.pose.mpjpe):
        assert mean_of_known(errors) < 0.01
    assert mean_of_known(free.pose.acceleration) < 0.01
    assert free.knee.rmse < 1e-3
    assert free.hip.rmse < 1e-3
    assert free.knee.gain == pytest.approx(1, abs=1e-3)
    sway = Rotation.from_euler("x", np.linspace(-15, 15, COUNT)[:, None], degrees=True).as_matrix()
    swaying = score_joints(reference, np.einsum("tij,tkj->tki", sway, seen(joints)[:, COLUMNS]))
    assert mean_of_known(swaying.pose.pa) < 0.01
    assert mean_of_known(swaying.pose.mpjpe) > 20


def test_size_counts_for_mpjpe_and_not_for_pa(joints: DoubleArray) -> None:
    reference = mocap_reference(Path("x.npz"), content(joints))
    larger = score_joints(reference, 1.1 * seen(joints)[:, COLUMNS])
    truth = joints[:, COLUMNS] - joints[:, [1, 2]].mean(1, keepdims=True)
    assert mean_of_known(larger.pose.pa) < 0.01
    assert mean_of_known(larger.pose.mpjpe) == pytest.approx(100 * np.linalg.norm(truth, axis=-1).mean(), rel=1e-4)


def test_unknown_frames_do_not_count_and_the_right_person_is_taken(joints: DoubleArray) -> None:
    arrays = content(joints)
    arrays["mocap_m"][:5] = np.nan
    reference = mocap_reference(Path("x.npz"), arrays)
    him = motion_of(seen(joints), MATRIX, FPS)
    other = motion_of(seen(joints) + np.array([1.5, 0, 1]), MATRIX, FPS, person=np.ones(COUNT, np.int64))
    found = joints_of(reference, joined(other, him))
    result = score_joints(reference, found)
    assert result.frames == COUNT - 5
    assert mean_of_known(result.pose.mpjpe) < 0.05
    np.testing.assert_allclose(found[10], seen(joints)[10, COLUMNS], atol=1e-4)


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(score_against_reference)
    return CliRunner().invoke(app, list(arguments))


def test_command_scores_motions_beside_peers(joints: DoubleArray, tmp_path: Path) -> None:
    np.savez(tmp_path / "reference.npz", **content(joints))
    saved = save(motion_of(seen(joints), MATRIX, FPS), tmp_path / "mine.npz")
    shown = run(str(tmp_path / "reference.npz"), str(saved), str(saved))
    assert shown.exit_code == 0, shown.output
    assert "peer" in shown.output
    assert "mine.npz" in shown.output
    assert "gain" in shown.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera_K": None}, "lacks camera_K"),
        ({"camera_t": np.zeros(4)}, "camera_t is"),
        ({"peer_m": np.zeros((3, 12, 3))}, "peer_m is"),
        ({"joint_names": np.array([f"p{i}" for i in range(12)])}, "lacks the joints"),
        ({"frame": np.zeros(COUNT, np.int64)}, "rising"),
    ],
)
def test_damage_is_one_line(joints: DoubleArray, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {name: value for name, value in {**content(joints), **change}.items() if value is not None}
    np.savez(tmp_path / "reference.npz", **arrays)
    shown = run(str(tmp_path / "reference.npz"), str(tmp_path / "mine.npz"))
    assert shown.exit_code == 2
    assert message in shown.output.replace("\n", " ")
