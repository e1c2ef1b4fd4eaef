"""Posing without torch: equal to smplx, symmetric, and what its options mean."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest

from body.joints import COCO_MIRROR, COCO_NAMES, JOINT_MIRROR, JOINT_NAMES
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from tests.body.smpl_like import random_betas, random_pose, smpl_fields

HUNDREDTH_MM = 1e-5


@pytest.fixture(scope="module", params=["body_6890", "body_1722"])
def body(request: pytest.FixtureRequest) -> BodyArrays:
    return load_body(str(request.param))


def smplx_model(body: BodyArrays) -> Any:
    """smplx's own SMPL on our arrays: an independent implementation."""
    pytest.importorskip("torch")
    smplx = pytest.importorskip("smplx")
    utils = pytest.importorskip("smplx.utils")
    fields = smpl_fields(body)
    fields["kintree_table"][0, 0] = 0
    return smplx.SMPL("", data_struct=utils.Struct(**fields), vertex_ids=dict(body.landmarks))


@pytest.mark.parametrize("seed", range(3))
def test_equals_smplx(body: BodyArrays, seed: int) -> None:
    reference = smplx_model(body)
    torch = pytest.importorskip("torch")
    pose, betas = random_pose(seed, 0.6), random_betas(seed)
    shift = np.array([0.3, -0.2, 3.0], np.float32)
    with torch.no_grad():
        wanted = reference(
            betas=torch.tensor(betas)[None],
            global_orient=torch.tensor(pose[:1]),
            body_pose=torch.tensor(pose[1:]).reshape(1, 69),
            transl=torch.tensor(shift)[None],
        )
    posed = NumpyBody(body)
    posed.set_shape(betas)
    vertices, joints = posed.pose(pose[0], pose[1:], shift, pelvis=False)
    np.testing.assert_allclose(vertices, wanted.vertices[0].numpy(), atol=HUNDREDTH_MM)
    np.testing.assert_allclose(joints, wanted.joints[0, :24].numpy(), atol=HUNDREDTH_MM)


def test_transl_is_the_pelvis_joint(body: BodyArrays) -> None:
    posed = NumpyBody(body)
    posed.set_shape(random_betas(0))
    pose, place = random_pose(0), np.array([0.5, 0.1, 4], np.float32)
    vertices, joints = posed.pose(pose[0], pose[1:], place)
    np.testing.assert_allclose(joints[0], place, atol=1e-6)
    same, _ = posed.pose(pose[0], pose[1:], place - posed.rest_pelvis, pelvis=False)
    np.testing.assert_allclose(vertices, same, atol=HUNDREDTH_MM)
    np.testing.assert_allclose(posed.joints_only(pose[0], pose[1:], place), joints, atol=0)


def test_the_rest_pose_is_the_template(body: BodyArrays) -> None:
    posed = NumpyBody(body)
    vertices, joints = posed.pose(np.zeros(3), np.zeros((23, 3)), np.zeros(3), pelvis=False)
    np.testing.assert_allclose(vertices, body.v_template, atol=1e-6)
    np.testing.assert_allclose(joints, body.joint_regressor @ body.v_template, atol=1e-6)


def test_a_mirrored_pose_gives_the_mirrored_body(body: BodyArrays) -> None:
    assert body.mirror is not None
    posed = NumpyBody(body)
    posed.set_shape(random_betas(1))
    pose = random_pose(1)
    mirrored = pose[list(JOINT_MIRROR)] * np.array([1, -1, -1], np.float32)
    vertices, joints = posed.pose(pose[0], pose[1:], np.zeros(3))
    other, other_joints = posed.pose(mirrored[0], mirrored[1:], np.zeros(3))
    flip = np.array([-1, 1, 1], np.float32)
    np.testing.assert_allclose(other, vertices[body.mirror] * flip, atol=HUNDREDTH_MM)
    np.testing.assert_allclose(other_joints, joints[list(JOINT_MIRROR)] * flip, atol=HUNDREDTH_MM)
    coco, other_coco = posed.coco(vertices), posed.coco(other)
    np.testing.assert_allclose(other_coco, coco[list(COCO_MIRROR)] * flip, atol=HUNDREDTH_MM)


def test_out_is_filled_and_otherwise_fresh(body: BodyArrays) -> None:
    posed, pose = NumpyBody(body), random_pose(2)
    first, joints = posed.pose(pose[0], pose[1:], np.zeros(3))
    kept = first.copy()
    second, _ = posed.pose(pose[0] + 1, pose[1:], np.zeros(3))
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    out = np.empty_like(first), np.empty_like(joints)
    given = posed.pose(pose[0], pose[1:], np.zeros(3), out)
    assert given[0] is out[0]
    assert given[1] is out[1]
    np.testing.assert_array_equal(out[0], first)


def test_dense_correctives_give_the_same() -> None:
    """SMPL's own correctives are dense and take another way through the code."""
    small = load_body("body_1722")
    noise = np.random.default_rng(0).normal(0, 1e-9, small.posedirs.shape).astype(np.float32)
    fields = {name: getattr(small, name) for name in BodyArrays.__slots__} | {"posedirs": small.posedirs + noise}
    pose = random_pose(3)
    sparse, dense = NumpyBody(small), NumpyBody(BodyArrays(**fields))
    expected, _ = sparse.pose(pose[0], pose[1:], np.zeros(3))
    found, _ = dense.pose(pose[0], pose[1:], np.zeros(3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_betas_beyond_the_limit_are_clamped(body: BodyArrays) -> None:
    posed = NumpyBody(body)
    posed.set_shape(np.full(10, 9))
    np.testing.assert_array_equal(posed.betas, np.full(10, 2))
    with pytest.raises(ValueError, match="betas must have shape"):
        posed.set_shape(np.zeros(11))


def test_wrong_shapes_are_refused() -> None:
    posed = NumpyBody(load_body("body_1722"))
    with pytest.raises(ValueError, match="transl must have shape"):
        posed.pose(np.zeros(3), np.zeros((23, 3)), np.zeros(4))
    with pytest.raises(ValueError, match="could not broadcast"):
        posed.pose(np.zeros(4), np.zeros((23, 3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"out\[0\] must be"):
        posed.pose(
            np.zeros(3), np.zeros((23, 3)), np.zeros(3), (np.zeros((5, 3), np.float32), np.zeros((24, 3), np.float32))
        )


def test_two_bodies_pose_in_two_threads(body: BodyArrays) -> None:
    results: dict[int, list[bool]] = {}

    def work(seed: int) -> None:
        posed, pose = NumpyBody(body), random_pose(seed)
        first, _ = posed.pose(pose[0], pose[1:], np.zeros(3))
        results[seed] = [np.array_equal(posed.pose(pose[0], pose[1:], np.zeros(3))[0], first) for _ in range(30)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[0])
    assert all(results[1])


def test_coco_keypoints_stay_at_their_joints_in_any_pose(body: BodyArrays) -> None:
    """The regressed elbows and wrists are the joint centres, also on bent limbs and other shapes."""
    posed = NumpyBody(body)
    for seed in range(5):
        posed.set_shape(random_betas(seed))
        pose = random_pose(seed, 0.3)
        vertices, joints = posed.pose(pose[0], pose[1:], np.zeros(3))
        coco = posed.coco(vertices)
        for name in ("left_elbow", "right_elbow", "left_wrist", "right_wrist"):
            gap = np.linalg.norm(coco[COCO_NAMES.index(name)] - joints[JOINT_NAMES.index(name)])
            assert gap < 0.015, f"{name} {1e3 * gap:.1f} mm"


def test_the_device_side_needs_no_torch() -> None:
    """Importing what a device imports must not bring in torch, scipy or smplx."""
    import subprocess

    code = (
        "import sys, body.lbs, body.model, body.rotations; print([m for m in ('torch', 'smplx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
