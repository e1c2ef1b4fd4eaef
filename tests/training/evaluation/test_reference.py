"""Scores against a multi-camera reference: every error is known in closed form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from common.arrays import DoubleArray

torch = pytest.importorskip("torch")
import typer  # noqa: E402

from body.joints import COCO_NAMES, JOINT_NAMES  # noqa: E402
from body.lbs import NumpyBody  # noqa: E402
from body.model import load_body  # noqa: E402
from tests.training.motions import joined, motion_of, save  # noqa: E402
from training.evaluation.metrics import mean_of_known  # noqa: E402
from training.evaluation.reference import (  # noqa: E402
    LIMBS,
    Reference,
    compare_with_reference,
    join_comparisons,
    load_reference,
    score_against_reference,
    uncertainty_of,
)

FPS, COUNT = 12.0, 20
MATRIX = np.array([[700.0, 0, 320], [0, 710, 240], [0, 0, 1]])
LIMB_JOINTS = [JOINT_NAMES.index(name) for name in LIMBS]
ARMS = LIMBS[:6]


@pytest.fixture(scope="module")
def joints() -> DoubleArray:
    """(20, 24, 3) metres in the world: a body that wags, about the origin."""
    body = NumpyBody(load_body("body_1722"))
    pose = np.zeros((23, 3))
    frames = []
    for t in range(COUNT):
        pose[15, 2] = 0.1 * t
        frames.append(body.joints_only(np.zeros(3), pose, np.array([0, 0, 0.01 * t])))
    return np.array(frames, np.float64)


def arrays(joints: DoubleArray, names: tuple[str, ...] = LIMBS) -> dict[str, Any]:
    """A reference file's contents: two cameras, 3 m away, one of them with lens distortion."""
    turns = Rotation.from_euler("yx", [[20, 180], [-50, 170]], degrees=True).as_matrix()
    return {
        "joints3d": joints[:, [JOINT_NAMES.index(name) for name in names]].astype(np.float32),
        "joint_names": np.array([name[0] + name.split("_")[1][:3] for name in names]),
        "K": np.stack([MATRIX, MATRIX]),
        "D": np.array([[-0.1, 0.05, 0.0, 0.0, 0.0], np.zeros(5)]),
        "R": turns,
        "t": np.array([[0.1, 0.0, 3.0], [-0.2, 0.1, 3.0]]),
        "fps": np.array(FPS),
    }


@pytest.fixture
def reference(joints: DoubleArray, tmp_path: Path) -> Reference:
    np.savez(tmp_path / "reference.npz", **arrays(joints))
    return load_reference(tmp_path / "reference.npz")


def seen(reference: Reference, camera: int, joints: DoubleArray) -> DoubleArray:
    return joints @ reference.rotations[camera].T + reference.translations[camera]


def test_the_truth_scores_nothing(reference: Reference, joints: DoubleArray) -> None:
    for camera in (0, 1):
        scores = compare_with_reference(reference, camera, motion_of(seen(reference, camera, joints), MATRIX))
        assert scores.names == LIMBS
        assert scores.fps == FPS
        assert set(scores.rooted) == {"shoulder", "hip"}
        for values in (scores.pa, scores.acceleration, *scores.rooted.values()):
            assert mean_of_known(values) < 1e-2


def test_a_similarity_is_free_for_pa_alone(reference: Reference, joints: DoubleArray) -> None:
    """Twice as large about the hips' middle: every point is as far off as it was from it."""
    place = seen(reference, 0, joints)
    hips = place[:, [1, 2]].mean(1, keepdims=True)
    scores = compare_with_reference(reference, 0, motion_of(hips + 2 * (place - hips), MATRIX))
    assert mean_of_known(scores.pa) < 1e-2
    want = np.linalg.norm(place - hips, axis=-1)[:, LIMB_JOINTS].mean() * 1000
    assert mean_of_known(scores.rooted["hip"]) == pytest.approx(want, rel=1e-4)


def test_one_displaced_point_costs_its_share(reference: Reference, joints: DoubleArray) -> None:
    place = seen(reference, 0, joints)
    place[:, JOINT_NAMES.index("left_wrist")] += [0.0, 0.0, 0.12]
    scores = compare_with_reference(reference, 0, motion_of(place, MATRIX))
    assert mean_of_known(scores.rooted["hip"]) == pytest.approx(120 / 12, rel=1e-4)
    assert mean_of_known(scores.rooted["shoulder"]) == pytest.approx(120 / 12, rel=1e-4)
    assert 0 < mean_of_known(scores.pa) < 120 / 6


def test_a_known_acceleration_at_the_references_rate(reference: Reference, joints: DoubleArray) -> None:
    """One of twelve points falls, at the reference's 12 fps and not the motion's."""
    place = seen(reference, 1, joints)
    place[:, JOINT_NAMES.index("right_ankle"), 1] += 0.5 * 9.81 * (np.arange(COUNT) / FPS) ** 2
    scores = compare_with_reference(reference, 1, motion_of(place, MATRIX, fps=30.0))
    assert mean_of_known(scores.acceleration) == pytest.approx(9.81 / 12, rel=1e-3)
    assert np.isnan(scores.acceleration[[0, -1]]).all()


def test_unknown_points_and_frames_are_left_out(joints: DoubleArray, tmp_path: Path) -> None:
    content = arrays(joints, ARMS)
    content["joints3d"][3, :4] = np.nan  # two points are left: no pose, and no shoulders to hold it by
    content["n_views"] = np.full((COUNT, 6), 3)
    content["n_views"][5, 5] = 1
    content["joints3d"][5, 5] += 9
    np.savez(tmp_path / "reference.npz", **content)
    reference = load_reference(tmp_path / "reference.npz")
    motion = motion_of(seen(reference, 0, joints), MATRIX)
    motion.person[7] = -1
    motion.joints_m[7] = motion.joints_px[7] = motion.keypoints_px[7] = np.nan
    scores = compare_with_reference(reference, 0, motion)
    assert scores.names == ARMS
    assert set(scores.rooted) == {"shoulder"}
    assert np.flatnonzero(np.isnan(scores.pa)).tolist() == [3, 7]
    assert np.flatnonzero(np.isnan(scores.rooted["shoulder"])).tolist() == [3, 7]
    assert np.flatnonzero(~scores.found).tolist() == [7]
    assert np.nanmax(scores.pa) < 1e-2
    both = join_comparisons([scores, scores])
    assert mean_of_known(both.pa) == pytest.approx(mean_of_known(scores.pa))
    assert len(both.found) == 2 * COUNT


def test_of_several_people_the_one_at_the_place_is_scored(reference: Reference, joints: DoubleArray) -> None:
    place = seen(reference, 0, joints)
    right, wrong = motion_of(place, MATRIX), motion_of(1.3 * place + [1.0, 0.2, 0.0], MATRIX)
    both = joined(replace(wrong, person=np.full(COUNT, 4)), replace(right, person=np.full(COUNT, 9)))
    assert mean_of_known(compare_with_reference(reference, 0, both).rooted["hip"]) < 1e-2


def test_frames_of_the_video_between_those_of_the_reference(joints: DoubleArray, tmp_path: Path) -> None:
    content = {**arrays(joints[::4]), "frame": np.arange(0, COUNT, 4)}
    del content["fps"]
    np.savez(tmp_path / "reference.npz", **content)
    reference = load_reference(tmp_path / "reference.npz")
    scores = compare_with_reference(reference, 1, motion_of(seen(reference, 1, joints), MATRIX, fps=60.0))
    assert scores.fps == 15.0
    assert mean_of_known(scores.rooted["hip"]) < 1e-2


def test_coco_keypoints_are_those_of_the_posed_surface(tmp_path: Path) -> None:
    shape, turn = load_body("body_1722"), np.array([np.pi, 0, 0], np.float32)
    vertices, joints = NumpyBody(shape).pose(turn, np.zeros((23, 3)), np.array([0.2, 0.1, 3.0]))
    content = arrays(np.tile(joints, (COUNT, 1, 1)))
    content |= {"joint_names": np.array(COCO_NAMES), "R": np.eye(3)[None], "t": np.zeros((1, 3))}
    content |= {"joints3d": np.tile(shape.coco_regressor @ vertices, (COUNT, 1, 1)), "K": MATRIX[None]}
    del content["D"]
    np.savez(tmp_path / "reference.npz", **content)
    motion = motion_of(np.tile(joints, (COUNT, 1, 1)), MATRIX, global_orient=np.tile(turn, (COUNT, 1)))
    scores = compare_with_reference(load_reference(tmp_path / "reference.npz"), 0, motion, "coco")
    assert scores.names == COCO_NAMES
    assert mean_of_known(scores.rooted["hip"]) < 1e-2
    with pytest.raises(ValueError, match="name its file"):
        compare_with_reference(load_reference(tmp_path / "reference.npz"), 0, replace(motion, body_sha256="0"), "coco")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": None, "t": None}, "lacks K, t"),
        ({"R": np.eye(3)}, r"R is \(3, 3\), should be \(2, 3, 3\)"),
        ({"frame": np.zeros(COUNT)}, "evenly spaced"),
        ({"joint_names": np.array(["a"] * 12)}, "name its points so"),
        ({"joint_names": np.array([{}] * 12)}, "no readable reference file"),
    ],
)
def test_a_wrong_file_is_named(joints: DoubleArray, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {name: value for name, value in {**arrays(joints), **change}.items() if value is not None}
    np.savez(tmp_path / "reference.npz", **content)
    with pytest.raises(ValueError, match=message):
        compare_with_reference(
            load_reference(tmp_path / "reference.npz"), 0, motion_of(joints + np.array([0, 0, 3]), MATRIX)
        )


def test_the_command_prints_every_camera_and_all(joints: DoubleArray, tmp_path: Path) -> None:
    np.savez(tmp_path / "reference.npz", **arrays(joints))
    reference = load_reference(tmp_path / "reference.npz")
    app = typer.Typer()
    app.command()(score_against_reference)
    files = [
        str(save(motion_of(seen(reference, camera, joints), matrix), tmp_path / f"{camera}.npz"))
        for camera, matrix in enumerate((MATRIX, MATRIX * [[2], [1], [1]]))
    ]
    printed = CliRunner().invoke(app, [str(tmp_path / "reference.npz"), *files])
    assert printed.exit_code == 0, printed.output
    assert "12 SMPL joints: left shoulder" in printed.output
    assert "at 12 fps" in printed.output
    assert "40 of 40" in printed.output
    assert "of 1400 px: run_camera.py --focal 700 is right for camera 1" in printed.output
    failed = CliRunner().invoke(app, [str(tmp_path / "reference.npz"), files[0]])
    assert failed.exit_code == 2
    assert "--camera" in failed.output
    assert CliRunner().invoke(app, [str(tmp_path / "reference.npz"), files[1], "--camera", "1"]).exit_code == 0


def test_how_well_a_point_is_known_follows_from_how_its_views_agree() -> None:
    """Against many least-squares fits of three unknowns to the pixels of n images, with errors of one pixel a coordinate."""
    rng = np.random.default_rng(0)
    for views in (2, 3, 4):
        seen = np.linalg.qr(rng.normal(size=(2 * views, 3)))[0]  # orthonormal: every image says as much as any other
        errors = rng.normal(size=(4000, 2 * views))
        moved = errors @ seen @ seen.T
        off = np.linalg.norm((errors - moved).reshape(-1, 1, views, 2), axis=-1)
        padded = np.concatenate([off, np.full((4000, 1, 5 - views), np.nan)], -1)
        said = np.sqrt(np.mean(uncertainty_of(padded) ** 2))
        true = np.sqrt(np.mean((moved.reshape(-1, views, 2) ** 2).sum(-1)))
        assert said == pytest.approx(true, rel=0.05)
    assert np.isnan(uncertainty_of(np.array([[[3.0, np.nan]]]))).all()
