"""Loading bodies: what ships, what users bring, and what the messages say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.errors import BodyError
from body.joints import COCO_NAMES, JOINT_NAMES
from body.model import load_body
from tests.body.smpl_like import smpl_fields


@pytest.mark.parametrize(("name", "vertices", "faces"), [("body_6890", 6890, 13776), ("body_1722", 1722, 3440)])
def test_the_shipped_bodies_load(name: str, vertices: int, faces: int) -> None:
    body = load_body(name)
    assert (body.name, body.vertex_count, len(body.faces)) == (name, vertices, faces)
    for rows in (body.joint_regressor, body.weights, body.coco_regressor):
        assert rows.min() >= 0
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
    assert body.v_template.dtype == np.float32
    assert body.faces.dtype == np.int32
    assert body.beta_limit == 2
    with pytest.raises(ValueError, match="read-only"):
        body.v_template[0] = 0


def test_the_default_is_the_full_body() -> None:
    assert load_body().sha256 == load_body("body_6890").sha256


def test_betas_are_clamped() -> None:
    np.testing.assert_array_equal(load_body("body_1722").clamp_betas(np.array([-5.0, 0.5, 3.0])), [-2, 0.5, 2])


def test_an_smpl_npz_loads(tmp_path: Path) -> None:
    body = load_body()
    np.savez(tmp_path / "smpl.npz", **smpl_fields(body))
    loaded = load_body(tmp_path / "smpl.npz")
    np.testing.assert_array_equal(loaded.posedirs, body.posedirs)
    knee = COCO_NAMES.index("left_knee")
    np.testing.assert_array_equal(loaded.coco_regressor[knee], body.joint_regressor[JOINT_NAMES.index("left_knee")])
    assert loaded.coco_regressor[COCO_NAMES.index("nose"), 332] == 1
    assert loaded.coco_regressor[COCO_NAMES.index("left_ear"), 583] == 1


def broken(changes: dict[str, Any]) -> dict[str, Any]:
    fields = smpl_fields(load_body("body_1722")) | {"coco_regressor": load_body("body_1722").coco_regressor} | changes
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"posedirs": None}, "no posedirs"),
        ({"coco_regressor": None}, "no coco_regressor"),
        ({"weights": np.ones((1722, 52))}, "weights is"),
        ({"shapedirs": np.ones((1722, 3, 4))}, "fewer than 10 betas"),
        ({"shapedirs": np.float64(1)}, "other things than arrays"),
        ({"v_template": np.float64(1)}, "v_template is"),
        ({"kintree_table": np.array([[-1, 0, 1], [0, 1, 2]])}, "24 joints"),
        ({"kintree_table": np.array("x")}, "other things than arrays"),
        ({"v_template": np.full((1722, 3), np.nan)}, "not finite"),
        ({"f": np.full((10, 3), 1722)}, "do not index"),
        ({"v_template": np.array("text")}, "other things than arrays"),
    ],
)
def test_another_layout_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "wrong.npz", **broken(changes))
    with pytest.raises(BodyError, match=message) as caught:
        load_body(tmp_path / "wrong.npz")
    assert "wrong.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_what_ships(tmp_path: Path) -> None:
    with pytest.raises(BodyError, match="body_1722, body_6890"):
        load_body(tmp_path / "nothing.npz")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "body.obj").write_text("v 0 0 0")
    with pytest.raises(BodyError, match=r"neither \.npz nor \.pkl"):
        load_body(tmp_path / "body.obj")


@pytest.mark.parametrize("name", ["cut.npz", "cut.pkl", "empty.npz", "empty.pkl"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    content = (Path(__file__).parents[2] / "body/data/body_1722.npz").read_bytes()[:1000]
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else content)
    with pytest.raises(BodyError, match=r"readable|refused"):
        load_body(tmp_path / name)


def test_a_damaged_packed_body_is_refused(tmp_path: Path) -> None:
    with np.load(Path(__file__).parents[2] / "body/data/body_1722.npz") as archive:
        entries = {name: archive[name] for name in archive.files if name != "weights_joint"}
    np.savez(tmp_path / "half.npz", **entries)
    with pytest.raises(BodyError, match="damaged packed body"):
        load_body(tmp_path / "half.npz")
