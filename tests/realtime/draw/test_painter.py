"""Painting: which pixels change, occlusion between people, colours, text and panels."""

from __future__ import annotations

import numpy as np
import pytest

from body.suit.parts import PALETTE, colour_of
from common.arrays import ImageArray
from realtime.draw.annotated_frame import AnnotatedFramePainter
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures, MeshPainter, skeleton, text_line, warm_up
from realtime.draw.side_view import SideView
from realtime.records import Keypoints, WorldFrame
from tests.realtime.shapes import CAMERA, HEIGHT, WIDTH, person, result, sphere

BALL, FACES = sphere((0, 0, 2), 0.35, rings=24)
PLAIN = Mannequin(FACES)
MIDDLE = HEIGHT // 2, WIDTH // 2


def noise() -> ImageArray:
    return np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def test_pixels_beside_the_body_keep_their_value() -> None:
    painter, image = MeshPainter(PLAIN), noise()
    before = image.copy()
    painter.paint(image, BALL, CAMERA, alpha=1.0)
    seen = painter.raster.inverse_depth > 0
    np.testing.assert_array_equal(image[~seen], before[~seen])
    assert (image[seen] != before[seen]).any(-1).mean() > 0.95


def test_nothing_is_painted_for_nobody() -> None:
    painter, image = MeshPainter(PLAIN), noise()
    before = image.copy()
    painter.paint_people(image, (), CAMERA)
    painter.paint(image, BALL - np.array([0, 0, 9], np.float32), CAMERA)
    painter.paint(image, BALL, CAMERA, alpha=0.0)
    np.testing.assert_array_equal(image, before)


def test_the_right_half_of_a_wider_image_can_be_painted() -> None:
    painter, whole, wide = MeshPainter(PLAIN), noise(), np.zeros((HEIGHT, WIDTH + 40, 3), np.uint8)
    wide[:, 40:] = whole
    painter.paint(whole, BALL, CAMERA)
    painter.paint(wide[:, 40:], BALL, CAMERA)
    np.testing.assert_array_equal(wide[:, 40:], whole)
    assert not wide[:, :40].any()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_person_hides_the_other(order: tuple[int, int]) -> None:
    near, far = person(BALL, 0), person(BALL * np.array([1, 1, 2], np.float32), 1)
    people = [(near, far)[i] for i in order]
    both, alone = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    painter = MeshPainter(PLAIN)
    painter.paint_people(both, people, CAMERA)
    painter.paint_people(alone, [near], CAMERA)
    np.testing.assert_array_equal(both[MIDDLE], alone[MIDDLE])
    blue, _, red = both[MIDDLE].astype(int)
    assert blue > red  # person 0 is blue, person 1 coral


def test_people_differ_in_colour() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    assert colour_of(0) != colour_of(1)
    assert colour_of(len(PALETTE)) == colour_of(0)


def test_light_comes_from_above_and_contours_are_dark() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    painter = MeshPainter(PLAIN, alpha=1.0, outline=0.6)
    painter.paint(image, BALL, CAMERA)
    rows = np.flatnonzero(image[:, MIDDLE[1]].any(-1))
    quarter = len(rows) // 4
    upper, lower = image[rows[quarter], MIDDLE[1]].mean(), image[rows[-quarter], MIDDLE[1]].mean()
    assert upper > 1.2 * lower
    assert image[rows[0], MIDDLE[1]].mean() < 0.8 * image[rows[3], MIDDLE[1]].mean()


def test_keypoints_under_the_threshold_are_not_drawn() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    points = np.full((17, 2), np.nan, np.float32)
    points[5], points[6], points[7], points[9] = (20, 30), (60, 30), (20, 80), (1e9, 4)
    confidence = np.zeros(17, np.float32)
    confidence[[5, 6, 9]] = 0.9
    skeleton(image, Keypoints(0, 0, points, confidence))
    assert image[30, 40].any()
    assert image[30, 20].any()
    assert not image[45:].any()


@pytest.mark.parametrize(
    ("height", "width", "lines", "discs"), [(120, 160, 1, 4), (480, 640, 1, 6), (2160, 3840, 4, 12)]
)
def test_keypoints_are_drawn_as_the_images_size_wants_it(height: int, width: int, lines: int, discs: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    points, confidence = np.zeros((17, 2), np.float32), np.zeros(17, np.float32)
    points[[5, 6]], confidence[[5, 6]] = [(width / 4, height / 2), (width / 2, height / 2)], 0.9
    skeleton(image, Keypoints(0, 0, points, confidence))
    bright = image.max(-1) > 120
    assert bright[:, 3 * width // 8].sum() == pytest.approx(lines, abs=1)
    assert bright[:, width // 2].sum() == pytest.approx(discs, abs=1.5)


def test_text_stays_in_its_strip() -> None:
    image = np.full((480, 640, 3), 200, np.uint8)
    text_line(image, str(Figures(29.71, 68.4, 1)))
    assert str(Figures(29.71, 68.4, 1)) == "29.7 meshes/s    68 ms    1 person"
    assert (image[:40] != 200).any()
    assert (image[60:] == 200).all()
    text_line(np.zeros((8, 8, 3), np.uint8), "an image that is too small")


def test_side_view_looks_from_the_right_and_goes_with_the_person() -> None:
    panel = np.zeros((240, 200, 3), np.uint8)
    long = (BALL - BALL.mean(0)) * np.array([0.3, 2.5, 1.2], np.float32) + np.array([0, 0, 3], np.float32)
    long[long[:, 1] < -0.5, 2] += 0.5  # the top leans away from the camera
    view = SideView(PLAIN, 240, 200)
    view.paint(panel, [])
    assert panel.max() < 100
    view.paint(panel, [person(long)])
    body = panel[..., 0] > 130  # brighter than the floor's lines
    columns, rows = np.flatnonzero(body.any(0)), np.flatnonzero(body.any(1))
    top, low = np.flatnonzero(body[rows[0] + 3]).mean(), np.flatnonzero(body[rows[-1] - 12]).mean()
    assert top > low + 10  # away from the camera is to the right
    assert columns[0] > 30
    assert columns[-1] < 190
    for step in range(60):
        view.paint(panel, [person(long + np.array([0, 0, 0.05 * step], np.float32))])
    body = panel[..., 0] > 130  # brighter than the floor's lines
    assert not body[:, :20].any()
    assert body[:, 20:].sum() > 5000
    with pytest.raises(ValueError, match="the panel is"):
        view.paint(np.zeros((5, 5, 3), np.uint8), [])


def test_side_view_goes_back_from_who_stands_in_front() -> None:
    panel = np.zeros((240, 200, 3), np.uint8)
    first, second = BALL - BALL.mean(0), BALL - BALL.mean(0) + np.array([3.5, 0, 0], np.float32)
    view = SideView(PLAIN, 240, 200)

    def shares() -> tuple[float, float]:
        """Shares of the panel in the colours of the first and of the second person."""
        blue, red = panel[..., 0].astype(int), panel[..., 2].astype(int)
        return float((blue > red + 40).mean()), float((red > blue + 40).mean())

    view.paint(panel, [person(first, 0)])
    alone = shares()[0]
    for _ in range(80):
        view.paint(panel, [person(first, 0), person(second, 1)])
    assert shares()[1] < 2.5 * alone, "nearer, but not a giant before the first"
    for _ in range(80):
        view.paint(panel, [person(first, 0)])
    assert shares()[0] == pytest.approx(alone, rel=0.1)


def test_side_view_shows_all_of_a_newcomer_far_below_within_half_a_second() -> None:
    tall = (BALL - BALL.mean(0)) * np.array([0.5, 2.4, 0.5], np.float32) + np.array([0, 0, 6], np.float32)
    below = tall + np.array([1.0, 2.0, 0.0], np.float32)
    world = WorldFrame(np.diag([1, -1, -1, 1]).astype(np.float32), 0.02, 0.02)
    world.world_from_camera[1, 3] = below[:, 1].max()
    view, panel = SideView(PLAIN, 240, 200), np.zeros((240, 200, 3), np.uint8)
    for _ in range(30):
        view.paint(panel, [person(tall, 0)], world)
    for _ in range(16):
        view.paint(panel, [person(tall, 0), person(below, 1)], world)
    red = panel[..., 2].astype(int) > panel[..., 0].astype(int) + 40
    assert red.any()
    assert not red[-1].any(), "the second person's feet are in the panel"


def test_side_view_stays_with_people_while_the_floor_is_being_found() -> None:
    """Nothing has moved, but the world learns that its floor lies 1.5 m deeper: the image stays as it is."""
    body = person((BALL - BALL.mean(0)) * np.array([0.5, 1.7, 0.5], np.float32) + np.array([0, 0, 4], np.float32))
    feet = float(body.vertices[:, 1].max())

    def world_of(height: float) -> WorldFrame:
        matrix = np.diag([1, -1, -1, 1]).astype(np.float32)
        matrix[1, 3] = height
        return WorldFrame(matrix, 0.02, 0.02)

    view, panel = SideView(PLAIN, 240, 200), np.zeros((240, 200, 3), np.uint8)
    lowest = []
    for step in range(31):
        view.paint(panel, [body], world_of(feet - 1.5 + 0.05 * step))
        lowest.append(np.flatnonzero((panel[:, 70:130, 0] > 130).any(1))[-1])  # brighter than the floor's lines
    assert np.ptp(lowest) <= 3


def test_whole_image() -> None:
    frame = noise()
    before = frame.copy()
    some = result(frame, person(BALL, 0), person(BALL + np.array([0.5, 0, 1], np.float32), 1))
    plain, both = AnnotatedFramePainter(PLAIN), AnnotatedFramePainter(PLAIN, side_view=True)
    image = both.paint(some, Figures(30, 50, 2))
    assert image.shape == (*both.size(HEIGHT, WIDTH), 3)
    assert image.shape[1] % 2 == 0
    np.testing.assert_array_equal(image[:, :WIDTH], plain.paint(some, Figures(30, 50, 2)))
    np.testing.assert_array_equal(frame, before)
    assert image[:, WIDTH:].any()
    assert both.paint(some, None) is image, "no fresh memory for each frame"


def test_warm_up_is_quick_the_second_time() -> None:
    warm_up()
    assert warm_up() < 0.5


@pytest.mark.parametrize(
    ("height", "width"), [(4000, 1), (1, 4000), (8192, 32), (32, 8192), (16, 16000), (30000, 1), (2160, 3840)]
)
def test_beside_odd_frames_the_side_view_is_no_larger_than_beside_a_4k_frame(height: int, width: int) -> None:
    painter = AnnotatedFramePainter(PLAIN, side_view=True)
    rows, columns = painter.size(height, width)
    assert rows == height
    assert 0 <= rows * (columns - width) <= 1620 * 2160 + rows
