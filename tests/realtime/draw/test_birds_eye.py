from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from realtime.draw.birds_eye import BirdsEye
from realtime.draw.mannequin import Mannequin
from realtime.draw.side_view import SideView
from realtime.records import BodyEstimate, WorldFrame
from tests.realtime.stages.world.world_scene import ARRAYS, Person, camera_from_world

PLAIN = Mannequin(ARRAYS.faces)


def known(view: np.ndarray, shot: int = 0) -> WorldFrame:
    return WorldFrame(np.linalg.inv(view).astype(np.float32), 0.02, 0.02, shot)


@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (0.4, 0.0), (-0.2, 0.4)])
def test_people_stand_upright_on_the_floor_of_the_panel_whatever_the_camera_does(pitch: float, roll: float) -> None:
    """The panel is the same for every camera that looks at the same place."""
    panels = []
    for view in (camera_from_world(0.0, 0.0, 1.5), camera_from_world(pitch, roll, 1.5)):
        side, panel = SideView(PLAIN, 240, 200), np.zeros((240, 200, 3), np.uint8)
        bodies = [Person(who).at((0, 0, -3.0 - who), view) for who in (0, 1)]
        side.paint(panel, bodies, known(view))
        panels.append(panel[80:].astype(int))  # the map above shows the camera as well
    assert np.abs(panels[0] - panels[1]).mean() < 0.5


def test_everybody_fits_into_the_panel() -> None:
    view = camera_from_world(0.2, 0.0, 1.5)
    side, panel = SideView(PLAIN, 240, 200), np.zeros((240, 200, 3), np.uint8)
    side.paint(panel, [Person(0).at((0, 0, -2.5), view), Person(1).at((0, 0, -7.0), view)], known(view))
    bright = panel[80:].max(2) > 120
    columns = np.flatnonzero(bright.any(0))
    assert columns[0] > 3
    assert columns[-1] < 197
    assert (np.diff(columns) > 20).any(), "two people far apart"


@pytest.mark.parametrize("beside", [-1.0, 0.0, 1.5])
def test_whoever_is_nearer_to_the_virtual_camera_fits_too(beside: float) -> None:
    """It stands on the right: somebody there looks larger, and farther from the middle."""
    view = camera_from_world(0.2, 0.0, 1.5)
    side, panel = SideView(PLAIN, 300, 224), np.zeros((300, 224, 3), np.uint8)
    people = [
        Person(0).at((0, 0, -3.0), view),
        Person(1).at((0.2, 0, -4.0), view),
        Person(2).at((beside, 0, -8.5), view),
    ]
    for _ in range(60):  # it goes back where somebody is near
        side.paint(panel, people, known(view))
    columns = np.flatnonzero((panel[90:].max(2) > 120).any(0))
    assert columns[0] > 3
    assert columns[-1] < 220
    assert 112 - columns[0] == pytest.approx(columns[-1] - 112, abs=30), "in the middle"


def test_everybody_is_whole_and_beside_the_map_in_every_image_though_all_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the demo: one person gestures on a roof, from which the world takes its floor; a second one walks in below; the
    ground is found; the first one jumps down."""
    view = camera_from_world(0.2, 0.0, 1.5)
    monkeypatch.setattr(BirdsEye, "paint", lambda *about: None)
    height, width, corner = 400, 300, 84 + 6
    side, panel = SideView(PLAIN, height, width), np.zeros((height, width, 3), np.uint8)
    outside = []
    for step in range(150):
        roof = 2.4 if step < 120 else max(0.0, 2.4 - 5 * ((step - 120) / 30) ** 2 * 4)
        people = [_reaching(Person(0).at((0.01 * step, roof, -3.0), view), 0.5 + 0.5 * math.sin(step / 4))]
        if step >= 40:
            people.append(Person(1).at((3.5 - 0.04 * step, 0.0, -4.0 - 0.01 * step), view))
        began = np.eye(4)
        began[1, 3] = 2.4 * max(0.0, 1 - max(step - 60, 0) / 15)  # the world's floor sinks from the roof to the ground
        side.paint(panel, people, known(view @ began))
        pixels = np.concatenate([side._pixels(side_vertices) for side_vertices in _levelled(people, view @ began)])
        there = ((pixels < 0) | (pixels > (width, height))).any() or (
            (pixels[:, 0] > width - corner) & (pixels[:, 1] < corner)
        ).any()
        if there:
            outside.append(step)
    assert outside == [step for step in outside if 40 <= step < 52], "only while a newcomer enters"


def _reaching(body: BodyEstimate, share: float) -> BodyEstimate:
    """``body`` stretched upwards to 1.3 times its height at ``share`` 1, as by raised arms."""
    feet = body.vertices[:, 1].max()
    stretched = body.vertices.copy()
    stretched[:, 1] = feet + (stretched[:, 1] - feet) * (1 + 0.3 * share)
    return replace(body, vertices=stretched)


def _levelled(people: list[BodyEstimate], view: np.ndarray) -> list[np.ndarray]:
    """Vertices of ``people`` in the world's frame, y down."""
    turn = np.linalg.inv(view)
    return [((body.vertices @ turn[:3, :3].T + turn[:3, 3]) * (1, -1, -1)).astype(np.float32) for body in people]


@pytest.mark.parametrize("level", [1.8, -1.6])
def test_people_on_another_level_fit_into_the_panel(level: float) -> None:
    view = camera_from_world(0.2, 0.0, 1.5)
    side, panel = SideView(PLAIN, 300, 300), np.zeros((300, 300, 3), np.uint8)
    side.paint(panel, [Person(0).at((0, 0, -3.0), view), Person(1).at((0, level, -4.5), view)], known(view))
    seen = (panel[:, :200].max(2) > 120).any(1)  # the map is on the right
    alone = np.zeros_like(panel)
    SideView(PLAIN, 300, 300).paint(alone, [Person(0).at((0, 0, -3.0), view)], known(view))
    one = np.flatnonzero((alone[:, :200].max(2) > 120).any(1))
    rows = np.flatnonzero(seen)
    assert rows[0] > 3
    assert rows[-1] < 296
    body, metre = np.ptp(rows) / (1.75 + abs(level)), np.ptp(one) / 1.75
    assert body == pytest.approx(metre * 2.5 / (1.75 + abs(level) + 0.3), rel=0.2), "smaller, but whole"


def test_floor_and_shadows_are_under_the_feet_of_whoever_stands_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first person stands on a roof, on which the world began: the other one shows where the ground is."""
    view = camera_from_world(0.2, 0.0, 1.5)
    upper, lower = Person(0).at((0, 0, -3.0), view), Person(1).at((0, -1.6, -4.5), view)
    monkeypatch.setattr(BirdsEye, "paint", lambda *about: None)
    panels = []
    for _ in range(2):
        panel = np.zeros((300, 300, 3), np.uint8)
        SideView(PLAIN, 300, 300).paint(panel, [upper, lower], known(view))
        panels.append(panel.astype(int))
        monkeypatch.setattr(SideView, "_shadow", lambda *about: None)
    monkeypatch.setattr(SideView, "_floor", lambda *about: None)
    bare = np.zeros((300, 300, 3), np.uint8)
    SideView(PLAIN, 300, 300).paint(bare, [upper, lower], known(view))
    body = bare.max(2) > 120
    columns = np.flatnonzero(body.any(0))
    left, right = columns[: np.argmax(np.diff(columns)) + 1], columns[np.argmax(np.diff(columns)) + 1 :]
    feet_up, feet_down = (int(np.flatnonzero(body[:, part].any(1))[-1]) for part in (left, right))
    assert feet_down > feet_up + 60
    shadows = np.flatnonzero((panels[1] - panels[0] > 8).any((1, 2)))
    assert shadows[0] > feet_up + 20, "nobody's shadow lies in the air"
    assert feet_down in shadows
    lines = np.flatnonzero((np.abs(panels[1] - bare).max(2) > 8).any(1))
    assert lines[0] > feet_up
    assert lines[0] < feet_down < lines[-1]


@pytest.mark.parametrize(("level", "is_seen"), [(2.0, True), (9.0, False)])
def test_the_floor_is_in_the_panel_under_somebody_in_the_air(
    level: float, is_seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = camera_from_world(0.0, 0.0, 1.5)
    monkeypatch.setattr(BirdsEye, "paint", lambda *about: None)
    panels = []
    for _ in range(2):
        panel = np.zeros((300, 300, 3), np.uint8)
        SideView(PLAIN, 300, 300).paint(panel, [Person(0).at((0, level, -3.0), view)], known(view))
        panels.append(panel.astype(int))
        monkeypatch.setattr(SideView, "_shadow", lambda *about: None)
    shadow = (panels[1] - panels[0]).max((1, 2))
    assert (shadow.max() > 8) == is_seen, "nine metres up, a person would be too small"
    assert not is_seen or 200 < shadow.argmax() < 297
    assert (panels[1][2:-2].max(2) > 120).sum() > 800, "the person"


def test_the_floor_is_drawn_under_people_who_all_stand_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody jumps off a wall, on which the world began, and walks away: the panel is as if the floor were down there."""
    view = camera_from_world(0.0, 0.0, 1.5)
    monkeypatch.setattr(BirdsEye, "paint", lambda *about: None)
    panels = []
    for level in (0.0, -2.0):
        side, panel = SideView(PLAIN, 300, 300), np.zeros((300, 300, 3), np.uint8)
        if level:
            side.paint(panel, [Person(0).at((0, 0, -3.0), view)], known(view))
        side.paint(panel, [Person(0).at((0, level, -3.0), view)], known(view))
        panels.append(panel.astype(int))
    assert np.abs(panels[1] - panels[0]).mean() < 0.5


def test_the_map_shows_ways_from_above_and_begins_anew_after_a_cut() -> None:
    view = camera_from_world(0.3, 0.0, 1.5)
    eye = BirdsEye()
    image = np.zeros((100, 100, 3), np.uint8)
    for step in range(40):
        image[:] = 0
        eye.paint(image, [Person().at((0.05 * step - 1, 0, -4.0), view)], known(view))
    rows, columns = np.nonzero(image[3:-3, 3:-3].max(2) > 60)
    upper = rows < np.median(rows)
    assert columns[upper].max() - columns[upper].min() > 25, "a way to the right, before the camera"
    image[:] = 0
    eye.paint(image, [], known(view, shot=1))
    assert image[3:-3, 3:-3].max() == 0
    lost = Person().at((0, 0, -4.0), view)
    eye.paint(image, [replace(lost, transl=np.full(3, math.nan, np.float32))], known(view, shot=1))


def test_the_map_of_a_motion_that_no_camera_took_shows_none() -> None:
    view = camera_from_world(0.0, 0.0, 1.5)
    person = Person().at((0, 0, -4.0), view)
    images = []
    for camera in (True, False):
        image = np.zeros((100, 100, 3), np.uint8)
        BirdsEye(camera=camera).paint(image, [person], known(view))
        images.append(image[3:-3, 3:-3].astype(int))
    grey = [(image.max(2) > 60) & (np.ptp(image, axis=2) < 10) for image in images]
    assert grey[0].any()
    assert not grey[1].any()
    spot = np.argwhere(np.ptp(images[1], axis=2) > 60).mean(0)
    assert np.abs(spot - 46.5).max() < 3, "the person alone is in the middle"
