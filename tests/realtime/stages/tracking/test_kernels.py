"""The compiled loops of tracking, against the same formulas in NumPy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import FloatArray, ImageArray
from realtime.stages.keypoints.kernels import fill_histogram, overlap_of
from realtime.stages.keypoints.similarity import SIGMAS, appearance_of, oks, pixels_per_metre
from realtime.stages.thinning import thin, thin_green
from realtime.stages.tracking.kernels import count_changed, count_chromaticities, find_boxes, mean_move, mean_of_largest

SEEDS = given(st.integers(0, 2**32 - 1))
FEW = settings(max_examples=40, deadline=None)


def keypoints(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    points = rng.uniform(-20, 500, (17, 2)).astype(np.float32)
    return points, (rng.random(17) * rng.choice([0.3, 1.0])).astype(np.float32)


@SEEDS
@FEW
def test_similarity_is_the_mean_of_gaussians_of_the_distances_that_both_know(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (a, sure_a), (noise, sure_b) = keypoints(rng), keypoints(rng)
    b = a + (noise - 240) / 20
    both = (sure_a > 0.2) & (sure_b > 0.2)
    reach = 2 * SIGMAS[both] * 1.5 * 0.7 * 80
    each = np.exp(-((a - b)[both] ** 2).sum(1) / (2 * reach**2))
    wanted = float(each.mean()) if both.sum() >= 3 else 0.0
    assert oks(a, sure_a, b, sure_b, 80.0, 1.5) == pytest.approx(wanted, abs=1e-5)


@SEEDS
@FEW
def test_boxes_are_those_around_the_visible_keypoints(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, confidence = keypoints(rng)
    groups = rng.random((3, 17)) < 0.5
    boxes = np.full((3, 6), 7, np.float32)
    find_boxes(points, confidence, 0.2, groups, boxes)
    for group, box in zip(groups, boxes, strict=True):
        seen = points[group & (confidence > 0.2)]
        wanted = [0.0] * 6 if not len(seen) else [len(seen), *seen.min(0), *seen.max(0), np.ptp(seen, axis=0).max()]
        np.testing.assert_array_equal(box, np.array(wanted, np.float32))


@SEEDS
@FEW
def test_means_are_those_of_the_largest_and_of_what_both_frames_show(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (before, sure_before), (now, sure_now) = keypoints(rng), keypoints(rng)
    assert mean_of_largest(sure_now, 6) == pytest.approx(np.sort(sure_now)[-6:].mean(), rel=1e-6)
    chosen, out = np.array([0, 5, 6, 11, 12]), np.empty(2, np.float32)
    both = (sure_before[chosen] > 0.2) & (sure_now[chosen] > 0.2)
    assert mean_move(before, sure_before, now, sure_now, chosen, 0.2, out) == both.any()
    wanted = (now - before)[chosen][both].mean(0) if both.any() else np.zeros(2)
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-4)


def test_a_size_comes_from_the_bones_that_look_longest() -> None:
    points, sure = np.zeros((17, 2), np.float32), np.ones(17, np.float32)
    points[5], points[6], points[11], points[12] = (0, 0), (36, 0), (0, 50), (36, 50)  # 100 px per metre
    points[7:9] = points[9:11] = points[5:7]  # arms that point at the camera
    points[13:15] = points[15:17] = points[11:13]
    points[:5] = 18, 0
    assert pixels_per_metre(points, sure) == pytest.approx(100, rel=0.01)
    assert pixels_per_metre(points, np.zeros(17, np.float32)) == 1.0


@SEEDS
@FEW
def test_changes_are_counted_where_nobody_is_known(seed: int) -> None:
    rng = np.random.default_rng(seed)
    last = rng.integers(0, 256, (12, 16, 3), np.uint8)
    image = np.clip(last.astype(int) + rng.integers(-40, 40, last.shape), 0, 255).astype(np.uint8)
    covered, known = rng.random((2, 12, 16)) < 0.3
    differs = (np.abs(image.astype(int) - last) > 24).any(2) & ~covered & ~known
    assert count_changed(image, last, covered, known, 24) == differs.sum()


@SEEDS
@FEW
def test_chromaticities_are_a_histogram_of_two_shares(seed: int) -> None:
    image: ImageArray = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    blue, green, red = (image[..., channel].astype(np.float32) + 8 for channel in range(3))
    total = blue + green + red
    row, column = (np.clip((part / total - 0.13) / 0.4 * 16, 0, 15).astype(int) for part in (blue, green))
    counts = np.empty((16, 16), np.float32)
    count_chromaticities(image, counts)
    np.testing.assert_array_equal(counts.ravel(), np.bincount((row * 16 + column).ravel(), minlength=256))


def test_colours_are_shared_between_neighbouring_bins_of_hue_and_grey_goes_by_brightness() -> None:
    red, orange, grey = (0, 255, 255), (11, 255, 255), (0, 0, 128)
    histogram = np.empty(12, np.float32)
    for colour, wanted in ((red, {0: 1.0}), (orange, {0: 0.511, 1: 0.489}), (grey, {9: 0.5, 10: 0.5})):
        assert fill_histogram(np.full((20, 3), colour, np.uint8), histogram)
        np.testing.assert_allclose(histogram, [wanted.get(place, 0.0) for place in range(12)], atol=2e-3)
        assert overlap_of(histogram, histogram) == pytest.approx(1)
    assert not fill_histogram(np.zeros((11, 3), np.uint8), histogram)


def test_clothes_are_looked_at_inside_of_the_image_only() -> None:
    points, sure = np.zeros((17, 2), np.float32), np.ones(17, np.float32)
    points[[5, 6, 11, 12]] = (20, 20), (60, 20), (20, 80), (60, 80)
    points[13:17] = 500, 500
    shirt = np.zeros((100, 100, 3), np.uint8)
    shirt[15:85, 15:65] = 0, 0, 200
    one, same = appearance_of(shirt, points, sure), appearance_of(shirt, points + 3, sure)
    blue = appearance_of(shirt[..., ::-1].copy(), points, sure)
    assert one.likeness(same) == pytest.approx(1, abs=1e-3)
    assert one.likeness(blue) == pytest.approx(0, abs=0.1)
    assert one.likeness(appearance_of(shirt, points + 1000, sure)) is None


@pytest.mark.parametrize("shape", [(48, 64), (480, 640), (144, 256), (97, 131), (90, 160)])
def test_a_thinned_image_is_opencvs(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for step in (1, 2, 3, 5):
        height, width = (-(-side // step) for side in shape)
        for size in ((width // 2, height // 2), (width // 2 - 3, height // 2 - 1)):
            wanted = cv2.resize(image[::step, ::step], size, interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(thin(image, size, step), wanted)
            green = cv2.resize(image[::step, ::step, 1].copy(), size, interpolation=cv2.INTER_LINEAR)
            np.testing.assert_array_equal(thin_green(image, size, step), green)
