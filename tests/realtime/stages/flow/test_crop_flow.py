"""Crops and flow, against motion that is known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import ImageArray
from engines.engine import EngineError
from engines.registry import open_engine
from realtime.records import Box, Frame
from realtime.stages.crops import Cropper, crop_matrix
from realtime.stages.flow.crop_flow import FLOW_SIZE, DisFlow, RaftFlow


def texture(height: int, width: int, seed: int = 0) -> ImageArray:
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cells in (8, 16, 32, 64):
        layer = rng.random((cells, cells, 3), dtype=np.float32)
        image += np.asarray(cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC), np.float32) / np.sqrt(
            cells
        )
    image -= image.min()
    return np.asarray(image * (255 / image.max()), np.uint8)


def shifted(image: ImageArray, dx: float, dy: float) -> ImageArray:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    height, width = image.shape[:2]
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


@given(st.floats(20, 2000), st.floats(-50, 700), st.floats(-50, 500), st.sampled_from([64, 128, 192]))
def test_a_boxs_corners_are_the_crops_corners(size: float, x: float, y: float, pixels: int) -> None:
    matrix = crop_matrix(Box(x, y, size), pixels)
    # The outer edge of a frame of n pixels runs from -0.5 to n - 0.5.
    corner = matrix @ [x - size / 2, y - size / 2, 1]
    np.testing.assert_allclose(corner, [-0.5, -0.5], atol=1e-6)
    np.testing.assert_allclose(matrix @ [x + size / 2, y + size / 2, 1], [pixels - 0.5] * 2, atol=1e-6)


@pytest.mark.parametrize("size", [100.0, 300.0, 700.0, 1500.0])
def test_crops_show_the_same_place_at_every_scale(size: float) -> None:
    """A white dot must appear where the matrix says, also when blocks are averaged before cutting."""
    image = np.zeros((1200, 1600, 3), np.uint8)
    box, dot = Box(800, 600, size), np.array([800 + 0.2 * size, 600 - 0.3 * size])
    cv2.circle(image, (round(dot[0]), round(dot[1])), int(size / 25), (255, 255, 255), -1)
    crop = Cropper(128)(image, box)[..., 0].astype(float)
    y, x = np.mgrid[:128, :128]
    found = np.array([(x * crop).sum(), (y * crop).sum()]) / crop.sum()
    expected = crop_matrix(box, 128) @ [round(dot[0]), round(dot[1]), 1]
    np.testing.assert_allclose(found, expected, atol=0.35)


@given(st.floats(-6, 6), st.floats(-6, 6))
@settings(max_examples=15, deadline=None)
def test_a_shifted_image_flows_by_its_shift(dx: float, dy: float) -> None:
    image = texture(240, 320)
    first, second = Frame(4, 0, 0.1, image), Frame(6, 0, 0.2, shifted(image, dx, dy))
    box = Box(160, 120, 160)
    flow = DisFlow(128)(first, second, box)
    inner = flow.field[20:-20, 20:-20].reshape(-1, 2)
    # The field is in pixels of the crop.
    np.testing.assert_allclose(np.median(inner, axis=0), np.array([dx, dy]) * 128 / 160, atol=0.3)
    assert (flow.previous_sequence, flow.sequence) == (4, 6)
    assert flow.dt_s == pytest.approx(0.1)


def test_nothing_moves_nothing_flows() -> None:
    image = texture(200, 200)
    flow = DisFlow()(Frame(0, 0, 0.0, image), Frame(1, 0, 0.03, image.copy()), Box(100, 100, 150))
    assert np.abs(flow.field).max() < 0.05


@pytest.mark.parametrize(("sequence", "time_s"), [(3, 0.2), (2, 0.2), (4, 0.1), (4, 0.0)])
def test_a_frame_with_itself_or_backwards_is_refused(sequence: int, time_s: float) -> None:
    image = texture(100, 100)
    with pytest.raises(ValueError, match="in order"):
        DisFlow()(Frame(3, 0, 0.1, image), Frame(sequence, 0, time_s, image), Box(50, 50, 60))


@pytest.fixture(scope="module")
def raft() -> Iterator[RaftFlow]:
    with open_engine("raft-small", "onnxruntime") as engine:
        yield RaftFlow(engine)


@pytest.mark.parametrize(("dx", "dy"), [(4.0, -2.5), (-1.0, 0.5), (0.0, 9.0)])
def test_raft_speaks_of_the_same_field_as_dis(raft: RaftFlow, dx: float, dy: float) -> None:
    image = texture(480, 640)
    first, second = Frame(4, 0, 0.1, image), Frame(5, 0, 0.2, shifted(image, dx, dy))
    box = Box(320, 240, 320)
    fields = [flow(first, second, box).field for flow in (raft, DisFlow())]
    for field in fields:
        assert field.shape == (FLOW_SIZE, FLOW_SIZE, 2)
        assert field.dtype == np.float32
        inner = field[20:-20, 20:-20].reshape(-1, 2)
        np.testing.assert_allclose(np.median(inner, axis=0), np.array([dx, dy]) * FLOW_SIZE / 320, atol=0.2)


def test_raft_keeps_no_field_for_itself(raft: RaftFlow) -> None:
    image = texture(300, 300)
    frames = [Frame(number, 0, number / 30, shifted(image, 4.0 * number, 0)) for number in range(3)]
    box = Box(150, 150, 200)
    flow = raft(frames[0], frames[1], box)
    kept = flow.field.copy()
    raft(frames[0], frames[2], box)
    np.testing.assert_array_equal(flow.field, kept)
    with pytest.raises(ValueError, match="in order"):
        raft(frames[1], frames[1], box)


def test_another_network_is_no_flow() -> None:
    with (
        open_engine("movenet-lightning", "onnxruntime") as engine,
        pytest.raises(EngineError, match="not an optical flow"),
    ):
        RaftFlow(engine)


def test_one_persons_motion_does_not_initialise_anothers() -> None:
    """Two people by turns get what each would get alone."""
    left, right = texture(240, 320, 1), texture(240, 320, 2)
    images = [np.hstack([shifted(left, 9.0 * t, 0), shifted(right, -9.0 * t, 4.0 * t)]) for t in range(4)]
    frames = [Frame(t, 0, t / 30, np.ascontiguousarray(image)) for t, image in enumerate(images)]
    boxes = Box(160, 120, 150), Box(480, 120, 150)
    both = DisFlow()
    for previous, current in pairwise(frames):
        together = [both(previous, current, box).field for box in boxes]
        for box, field in zip(boxes, together, strict=True):
            np.testing.assert_array_equal(field, DisFlow()(previous, current, box).field)
