"""The bodies that ship: what their manifest says, and that they are sound human surfaces."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from body.joints import COCO_MIRROR, COCO_NAMES, JOINT_MIRROR, JOINT_NAMES
from body.lbs import NumpyBody
from body.model import DATA, BodyArrays, load_body

MANIFEST: dict[str, dict[str, Any]] = json.loads((DATA / "manifest.json").read_text())


@pytest.fixture(scope="module", params=sorted(MANIFEST))
def body(request: pytest.FixtureRequest) -> BodyArrays:
    return load_body(str(request.param).removesuffix(".npz"))


def test_every_body_is_in_the_manifest() -> None:
    assert {path.name for path in DATA.glob("*.npz")} == set(MANIFEST)


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_the_manifest_is_true(name: str) -> None:
    entry, content = MANIFEST[name], (DATA / name).read_bytes()
    body = load_body(DATA / name)
    assert hashlib.sha256(content).hexdigest() == entry["sha256"] == body.sha256
    assert (body.vertex_count, len(body.faces)) == (entry["vertices"], entry["faces"])
    assert entry["licence"]
    assert entry["origin"]
    assert entry["command"]
    assert len(content) < 1_000_000


def test_the_surface_is_closed_and_turned_outwards(body: BodyArrays) -> None:
    faces = body.faces
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    assert (uses == 2).all()
    assert len(np.unique(directed, axis=0)) == len(directed), "neighbouring faces turn the same way"
    assert body.vertex_count - len(edges) + len(faces) == 2
    corner = body.v_template[faces].astype(np.float64)
    volume = np.einsum("fi,fi->", np.cross(corner[:, 0], corner[:, 1]), corner[:, 2]) / 6
    assert 0.05 < volume < 0.1  # cubic metres of an adult


def test_left_and_right_are_equal(body: BodyArrays) -> None:
    assert body.mirror is not None
    flip = np.array([-1, 1, 1])
    assert np.array_equal(body.mirror[body.mirror], np.arange(body.vertex_count))
    np.testing.assert_allclose(body.v_template[body.mirror], body.v_template * flip, atol=1e-5)
    np.testing.assert_allclose(body.shapedirs[body.mirror], body.shapedirs * flip[:, None], atol=1e-5)
    joints, coco = (rows @ body.v_template for rows in (body.joint_regressor, body.coco_regressor))
    np.testing.assert_allclose(joints[list(JOINT_MIRROR)], joints * flip, atol=1e-5)
    np.testing.assert_allclose(coco[list(COCO_MIRROR)], coco * flip, atol=1e-5)


def shape(body: BodyArrays, beta: int, value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return body.v_template + value * body.shapedirs[:, :, beta]


def test_betas_mean_what_the_readme_says(body: BodyArrays) -> None:
    def height(vertices: np.ndarray[Any, np.dtype[np.float32]]) -> float:
        return float(np.ptp(vertices[:, 1]))

    def girth(vertices: np.ndarray[Any, np.dtype[np.float32]]) -> float:
        """Depth of the trunk."""
        return float(np.ptp(vertices[body.weights[:, JOINT_NAMES.index("spine1")] > 0.5][:, 2]))

    def legs(vertices: np.ndarray[Any, np.dtype[np.float32]]) -> float:
        hip = body.joint_regressor[JOINT_NAMES.index("left_hip")] @ vertices
        return float(hip[1] - vertices[:, 1].min()) / height(vertices)

    assert 1.6 < height(body.v_template) < 1.8
    assert height(shape(body, 0, 2)) > height(body.v_template) + 0.1
    assert height(shape(body, 0, -2)) < height(body.v_template) - 0.1
    assert girth(shape(body, 1, 2)) > 1.15 * girth(shape(body, 1, -2))
    assert legs(shape(body, 3, 2)) > legs(shape(body, 3, -2)) + 0.01


def test_the_keypoints_are_where_they_belong(body: BodyArrays) -> None:
    place = dict(zip(COCO_NAMES, body.coco_regressor @ body.v_template, strict=True))
    top, bottom = body.v_template[:, 1].max(), body.v_template[:, 1].min()
    assert place["nose"][2] > place["left_eye"][2] > place["left_ear"][2], "nose in front of eyes in front of ears"
    assert place["left_eye"][1] > place["nose"][1]
    assert place["left_ear"][0] > place["left_eye"][0] > 0, "left is +x"
    order = ["left_eye", "left_shoulder", "left_hip", "left_knee", "left_ankle"]
    heights = [float(place[name][1]) for name in order]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > top - 0.2
    assert heights[-1] < bottom + 0.15
    assert 0.15 < place["left_hip"][0] - place["right_hip"][0] < 0.3


def test_landmarks_stand_where_smplx_looks_for_them() -> None:
    landmarks = load_body("body_6890").landmarks
    assert (landmarks["nose"], landmarks["leye"], landmarks["rear"], landmarks["LHeel"]) == (332, 2800, 4071, 3387)


def test_a_bent_knee_bends_back(body: BodyArrays) -> None:
    pose = np.zeros((23, 3), np.float32)
    pose[JOINT_NAMES.index("left_knee") - 1] = [1.5, 0, 0]
    joints = NumpyBody(body).joints_only(np.zeros(3), pose, np.zeros(3))
    assert joints[JOINT_NAMES.index("left_ankle"), 2] < joints[JOINT_NAMES.index("left_knee"), 2] - 0.3
