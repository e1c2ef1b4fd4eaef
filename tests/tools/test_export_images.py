"""The images of docs/exports.md: small, on their page, made by a command that says what it lacks; and Blender renders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from body.model import BodyArrays, load_body
from common.errors import UserError
from formats.motion import save_motion
from formats.save import save_as
from tests.formats.motions import two_people
from tools.export_images import __main__ as command
from tools.export_images.__main__ import IMAGES, export_images
from tools.export_images.figure import Markers, draw_markers_and_angles, read_angles
from tools.gallery import ASSETS
from tools.round_trips import programs
from tools.round_trips.programs import NotInstalled


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body("body_1722")


def test_the_page_shows_three_small_images() -> None:
    page = (ASSETS.parent / "docs" / "exports.md").read_text(encoding="utf-8")
    for name in IMAGES:
        assert f"](../assets/{name})" in page
        assert (ASSETS / name).stat().st_size < 150_000
        assert cv2.imread(str(ASSETS / name)).shape[1] == 960


def test_a_program_that_is_missing_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: BodyArrays
) -> None:
    monkeypatch.setattr(programs, "READERS", tmp_path / "nowhere")
    monkeypatch.setattr(command, "body_of", lambda _: body)
    save_motion(tmp_path / "two.npz", two_people(body, world=True).arrays())
    with pytest.raises(NotInstalled, match=r"^blender is not installed: make readers$"):
        _make(tmp_path / "two.npz", tmp_path)
    for wrong, said in (({"walker": 7}, "no person 7: give --walker one of"), ({"end": 99.0}, "--start and --end")):
        with pytest.raises(UserError, match=said):
            _make(tmp_path / "two.npz", tmp_path, **wrong)


def _make(motion: Path, folder: Path, **changed: float) -> None:
    times = {"second": 2.5, "walker": 0, "start": 2.1, "end": 2.5} | changed
    export_images(motion, "demo", times["second"], int(times["walker"]), times["start"], times["end"], folder)


def test_the_figure_has_markers_on_the_left_and_curves_on_the_right(tmp_path: Path, body: BodyArrays) -> None:
    pytest.importorskip("matplotlib")
    motion = two_people(body, world=True)
    (path,) = save_as(motion, tmp_path / "two.csv", body).paths
    angles = read_angles(path, 0, (2.1, 2.5))
    assert set(angles) == {"time_s", "hip_flexion_r", "hip_flexion_l", "knee_angle_r", "knee_angle_l"}
    assert angles["time_s"].min() >= 2.1
    assert angles["time_s"].max() <= 2.5
    names = ["Head", "Neck", "Hip", *(f"{s}{part}" for s in "LR" for part in _LIMBS)]
    places = np.random.default_rng(0).uniform(0, 1.5, (5, len(names), 3))
    draw_markers_and_angles(Markers(np.linspace(0, 1, 5), names, places), angles, tmp_path / "out.png")
    drawn = cv2.imread(str(tmp_path / "out.png")).astype(int)
    coloured = np.abs(drawn - drawn.mean(2, keepdims=True)).max(2) > 30
    assert coloured[:, :500].mean() > 0.002
    assert coloured[:, 560:].mean() > 0.002


_LIMBS = ("Ankle", "Knee", "Hip", "Shoulder", "Elbow", "Wrist")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ending", [".glb", ".bvh"])
def test_blender_renders_what_is_exported(tmp_path: Path, body: BodyArrays, ending: str) -> None:
    motion = two_people(body, world=True)
    paths = save_as(motion, tmp_path / f"two{ending}", body).paths[:1]
    job = {"files": [str(path) for path in paths], "starts": [2.0], "seconds": [2.3], "size": [160, 120]}
    joints = np.array([[-2, 0, -2], [2, 2, 2]], np.float64)
    eye = command._eye(joints, np.array([0.6, -0.8]), (160, 120))
    try:
        image = command._render(job | eye, tmp_path)
    except NotInstalled as missing:
        pytest.skip(str(missing))
    assert image.shape == (120, 160, 4)
    colours = image[..., :3].astype(int)
    coloured = np.ptp(colours, axis=2) > 60  # the floor and the sky are nearly grey
    assert 0.005 < coloured.mean() < 0.5
