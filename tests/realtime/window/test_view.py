"""What the window shows, without a window: keys, words for the state of a run, the painted video, the block of text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.draw.flow_field import flow_colours, paint_flow
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures
from realtime.records import Box, Flow
from realtime.views.status import Status, stage_lines
from realtime.window.overlay import VideoPainter, paint_text, text_block, text_blocks, text_lines
from realtime.window.person_geometry import bones
from realtime.window.shared_memory import SceneBody, WindowScene
from realtime.window.view_state import HELP, VIEW_KEYS, WindowState, acts, help_without
from tests.realtime.shapes import CAMERA, HEIGHT, WIDTH, sphere

BALL, FACES = sphere((0, 0, 2), 0.35, rings=12)
LOOKS = Mannequin(FACES), Mannequin(FACES, edges=np.ones(FACES.shape, np.uint8))
JOINTS = np.linspace((-0.3, -0.3, 2), (0.3, 0.3, 2), 24).astype(np.float32)
POINTS = np.concatenate([np.full((17, 2), 8.0), np.ones((17, 1))], 1).astype(np.float32)


def scene(*persons: int, state: str = "", details: str = "") -> WindowScene:
    bodies = tuple(SceneBody(person, JOINTS, BALL, POINTS) for person in persons)
    return WindowScene(1, np.full((HEIGHT, WIDTH, 3), 100, np.uint8), CAMERA, bodies, "30 meshes/s", state, details)


def painted(state: WindowState) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    one = scene(0)
    VideoPainter(*LOOKS).paint(one, state)
    return one.image


def test_keys_change_the_view() -> None:
    state = WindowState()
    assert [(state := state.pressed("M")).mode for _ in range(4)] == ["wire", "skeleton", "off", "solid"]
    assert not state.pressed("V").video
    assert not state.pressed("K").keypoints
    assert state.pressed("H").help
    assert state.pressed("I").details
    assert state.pressed("2", (7, 4)).followed == 7  # in the order of their numbers
    assert state.pressed("3", (7, 4)).followed == -1
    assert state.pressed("2", (7, 4)).pressed("0").followed == -1
    for key in "VKHI":
        assert state.pressed(key).pressed(key) == state


def test_each_mode_paints_what_it_says() -> None:
    bare = WindowState(keypoints=False)
    solid, wire, skeleton, off = (painted(replace(bare, mode=mode)) for mode in ("solid", "wire", "skeleton", "off"))
    assert (off == 100).all()
    middle = slice(HEIGHT // 2 - 10, HEIGHT // 2 + 10), slice(WIDTH // 2 - 10, WIDTH // 2 + 10)
    assert (solid[middle] != 100).any(-1).all()
    changed = [(image != 100).any(-1).sum() for image in (solid, wire, skeleton)]
    assert changed[0] == changed[1] > changed[2] > 50
    assert solid[middle].std() < wire[middle].std()  # lines, and what is seen between them
    keypoints = painted(WindowState(mode="off"))
    assert (keypoints[4:13, 4:13] != 100).any()
    assert (keypoints[20:] == 100).all()


def test_text_tells_figures_state_and_keys() -> None:
    some = scene(0, state="REC 0:12\nframe dropped", details="flow\t3.0 ms")
    lines = [line for line, _ in text_lines(some, WindowState(), 41.2)]
    assert lines == ["30 meshes/s    41 ms to screen", "REC 0:12", "frame dropped"]
    assert "flow\t3.0 ms" in [line for line, _ in text_lines(some, WindowState(details=True), 41)]
    assert any("quit" in line for line, _ in text_lines(some, WindowState(help=True), 41))
    assert "screen" not in text_lines(some, WindowState(), float("nan"))[0][0]
    alarm, notice = (colour for _, colour in text_lines(some, WindowState(), 41)[1:])
    assert alarm[2] > alarm[0] + 100  # red
    assert notice != alarm
    assert text_lines(scene(), WindowState(), 41)[-1][0] == "h: keys"


def test_keys_that_do_nothing_are_not_listed() -> None:
    keys = help_without("f", "left, right", "1-9")
    listed = [line for line, _ in text_lines(scene(0), WindowState(help=True, keys=keys), 41)[1:]]
    assert listed == [line for line in HELP if line[:4] not in ("f\top", "left", "1-9\t")]
    assert len(listed) == len(HELP) - 3
    assert [key for key in VIEW_KEYS if not acts(key, keys)] == list("123456789")
    assert all(acts(key, HELP) for key in VIEW_KEYS)


def test_the_followed_person_has_the_number_of_its_key() -> None:
    followed = WindowState(video=False).pressed("2", (7, 4))
    assert tuple(text_lines(one, followed, 41)[1][0] for one in (scene(4, 7), scene(4))) == (
        "following person 2",
        "following a person who is not in view",
    )


def test_text_after_a_tab_stands_in_a_column() -> None:
    block = text_block([("a\tx", (240, 240, 240)), ("longer\tx", (240, 240, 240)), ("alone", (240, 240, 240))], 1.0)
    first, second, third = (block[34 * row : 34 * row + 34] for row in range(3))
    begin = [int(np.flatnonzero(row[:, 60:].max((0, 2)) > 100)[-1]) for row in (first, second)]
    assert begin[0] == begin[1]  # both end with the same letter
    assert (third[:, begin[0] + 50 :] < 30).all()


def test_bones_are_closed_and_lie_along_the_joints() -> None:
    points, faces = bones(JOINTS)
    corners = points[faces].astype(np.float64)
    volumes = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).reshape(-1, 8).sum(1) / 6
    assert len(volumes) == 23 + 24  # a bone to each joint but the first, and all joints
    assert (volumes > 0).all()  # faces look outwards
    ends = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    assert (np.unique(ends, axis=0, return_counts=True)[1] == 2).all()
    tips = points.reshape(-1, 6, 3)[:23, [0, 5]]
    np.testing.assert_array_equal(tips[:, 1], JOINTS[1:])


def test_rates_that_are_not_known_are_left_out() -> None:
    assert str(Figures(float("nan"), float("nan"), 0)) == "nobody"


def test_text_stays_in_its_block() -> None:
    lines = text_lines(scene(0, state="paused"), WindowState(help=True), 41)
    image = np.full((480, 640, 3), 200, np.uint8)
    paint_text(image, lines)
    blocks = text_blocks(lines, 480 / 1100)
    height, width = sum(map(len, blocks)), max(block.shape[1] for block in blocks)
    assert (image[height:] == 200).all()
    assert (image[:, width:] == 200).all()
    assert blocks[-1].max() > 200
    paint_text(np.zeros((5, 5, 3), np.uint8), lines)  # an image that is too small


def test_a_table_hides_no_more_than_its_own_width() -> None:
    lines = [
        ("30 meshes/s    68 ms    2 people    70 ms to screen", (240, 240, 240)),
        ("flow\t3.1 ms", (190, 190, 190)),
    ]
    image = np.full((1100, 1000, 3), 200, np.uint8)
    paint_text(image, lines)
    head, table = text_blocks(lines, 1.0)
    assert head.shape[1] > 3 * table.shape[1]
    assert (image[: len(head), : head.shape[1]] != 200).all(-1).mean() > 0.9
    below = image[len(head) : len(head) + len(table)]
    assert (below[:, : table.shape[1]] != 200).all(-1).mean() > 0.9
    assert (below[:, table.shape[1] :] == 200).all()
    assert (image[len(head) + len(table) :] == 200).all()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({"state": "connecting", "people": None}, "connecting"),
        ({"state": "lost", "people": 2}, "signal lost: trying again"),
        ({"state": "stalled", "people": 2}, "stalled: no frames are coming"),
        ({"state": "live", "people": None}, "starting"),
        ({"state": "live", "people": 0}, "looking for a person"),
        ({"state": "live", "people": 1}, ""),
        ({"state": "live", "people": 1, "paused": True}, "paused: space goes on"),
        ({"state": "live", "people": 0, "ended": True}, "the end: q closes, --loop plays it again"),
    ],
)
def test_every_state_has_words(about: dict[str, object], line: str) -> None:
    assert Status().lines(**about) == line  # type: ignore[arg-type]


def test_recordings_are_timed_and_dropped_frames_are_told_for_a_second() -> None:
    clock = Clock()
    status = Status(clock)
    assert status.lines("live", people=1, recording=True) == "REC 0:00"
    clock.now += 75
    assert status.lines("live", people=1, recording=True, dropped=1) == "REC 1:15\nframe dropped"
    clock.now += 0.5
    assert status.lines("live", people=1, recording=True, dropped=2) == "REC 1:15\n2 frames dropped"
    clock.now += 1.5
    assert status.lines("live", people=1, recording=True, dropped=2) == "REC 1:17"
    assert status.lines("live", people=1, dropped=2) == ""
    assert status.lines("live", people=1, recording=True, dropped=2) == "REC 0:00"


def test_stage_lines_are_sorted_by_cost() -> None:
    assert stage_lines({"flow": 2.0, "keypoints": 20.0, "hint": 0.01}, 11.0).split("\n") == [
        "keypoints\t20.0 ms",
        "flow\t2.0 ms",
        "a person\t11.0 ms",
    ]


def test_flow_has_the_hue_of_its_direction_and_stays_in_its_box() -> None:
    field = np.zeros((32, 32, 2), np.float32)
    field[..., 0] = 5
    right, strength = flow_colours(field, 10)
    np.testing.assert_allclose(strength, 0.5)
    assert (right[0, 0] == (0, 0, 255)).all()  # red: to the right
    left, _ = flow_colours(-field, 10)
    assert np.abs(left[0, 0].astype(int) - (255, 255, 0)).max() < 10  # cyan, the opposite hue
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    paint_flow(image, [Flow(1, 0, 0.1, Box(20, 50, 60), field)])
    assert (image[25:75, :45, 2] > 120).all()
    assert (image[:15] == 100).all()
    assert (image[25:75, 55:100] == 100).all()
    still = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    paint_flow(still, [Flow(1, 0, 0.1, Box(20, 50, 60), 0 * field)])
    assert (still[25:75, :45] == 100).all()
