"""Exact flow against what it must be: images warped by it, and motions whose flow is known in closed form."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import AnyFloatArray

pytest.importorskip("torch")

from realtime.records import Box
from realtime.stages.crops import Cropper
from training.synth.render import Renderer, Sensor, Viewport, crop_viewport, region_viewport
from training.synth.scene import Scene


def whole(scene: Scene, longest: int = 200) -> Viewport:
    """The whole frame, small."""
    scale = longest / max(scene.size)
    return region_viewport(scene, 0, 0, round(scene.size[0] * scale), round(scene.size[1] * scale), scale)


def moved(scene: Scene, shift: AnyFloatArray) -> Scene:
    """The person moves by ``shift`` (3,) m a frame, nothing else does."""
    steps = np.arange(scene.frames)[:, None] * np.asarray(shift, np.float32)
    return replace(
        scene,
        mesh=replace(scene.mesh, vertices=(scene.mesh.vertices + steps[:, None]).astype(np.float32)),
        pelvis=(scene.pelvis + steps).astype(np.float32),
    )


def test_the_next_frame_warped_by_the_flow_is_this_frame(scenes: list[Scene]) -> None:
    tried = 0
    for scene in scenes:
        renderer, view = Renderer(scene), whole(scene)
        now, then = (renderer.render(frame, view, 2).astype(np.float32) for frame in (0, 1))
        flow = renderer.flow(0, view)
        y, x = np.mgrid[: view.height, : view.width].astype(np.float32)
        back = cv2.remap(then, x + flow.field[..., 0], y + flow.field[..., 1], cv2.INTER_LINEAR)
        # Interpolation blurs what is as fine as a pixel.
        wrong = np.abs(cv2.GaussianBlur(back - now, (0, 0), 1)).mean(-1)
        # A pixel at an outline shows both what is before and what is behind it.
        around = np.ones((5, 5), np.uint8)
        step = cv2.dilate(flow.inverse_depth, around) - cv2.erode(flow.inverse_depth, around)
        seen = ~flow.hidden & (step < 0.1 * flow.inverse_depth)
        assert seen.mean() > 0.5
        assert np.median(wrong[seen]) < 3.0
        assert wrong[seen].mean() < 4.5
        moving = seen & (np.linalg.norm(flow.field, axis=-1) > 1.5)
        if moving.sum() > 500:
            tried += 1
            assert wrong[moving].mean() < 0.6 * np.abs(cv2.GaussianBlur(then - now, (0, 0), 1)).mean(-1)[moving].mean()
    assert tried > 1


def test_no_motion_is_no_flow_and_hides_nothing(alone: Scene) -> None:
    renderer = Renderer(alone)
    flow = renderer.flow(0, whole(alone))
    assert np.abs(flow.field).max() < 2e-3
    assert flow.hidden.mean() < 1e-3


@settings(max_examples=8, deadline=None)
@given(st.floats(-0.08, 0.08), st.floats(-0.08, 0.08))
def test_a_person_moving_across_moves_by_focal_length_over_depth(alone: Scene, right: float, down: float) -> None:
    renderer, view = Renderer(moved(alone, np.array([right, down, 0.0]))), whole(alone)
    flow, person = renderer.flow(0, view), renderer.surface(0, view).ids >= 0
    near = flow.inverse_depth[person]
    np.testing.assert_allclose(flow.field[person, 0], view.camera[0] * right * near, atol=5e-3)
    np.testing.assert_allclose(flow.field[person, 1], view.camera[1] * down * near, atol=5e-3)
    assert np.abs(flow.field[~person]).max() < 2e-3


def test_a_person_coming_nearer_grows_about_the_middle(alone: Scene) -> None:
    renderer, view = Renderer(moved(alone, np.array([0.0, 0.0, -0.2]))), whole(alone)
    flow, person = renderer.flow(0, view), renderer.surface(0, view).ids >= 0
    rows, columns = np.nonzero(person)
    growth = 1 / (1 - 0.2 * flow.inverse_depth[person])
    np.testing.assert_allclose(flow.field[person, 0], (columns - view.camera[2]) * (growth - 1), atol=1e-2)
    np.testing.assert_allclose(flow.field[person, 1], (rows - view.camera[3]) * (growth - 1), atol=1e-2)


def test_a_walking_camera_moves_near_walls_more_than_far_ones(alone: Scene) -> None:
    step = np.array([0.05, 0.0, 0.0], np.float32)
    centre = alone.centre + np.arange(3)[:, None] * (alone.rotation[0].T @ step)
    scene = replace(moved(alone, -step), centre=centre.astype(np.float32))  # the person stands still in the world
    renderer, view = Renderer(scene), whole(alone)
    flow = renderer.flow(0, view)
    np.testing.assert_allclose(flow.field[..., 0], -view.camera[0] * 0.05 * flow.inverse_depth, atol=1e-2)
    assert np.abs(flow.field[..., 1]).max() < 1e-2
    assert flow.inverse_depth.min() > 0


def test_a_turning_camera_moves_everything_alike_whatever_its_depth(alone: Scene) -> None:
    angle = 0.03
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]], np.float32)
    rotation, vertices = alone.rotation.copy(), alone.mesh.vertices.copy()
    rotation[1], vertices[1] = turn @ rotation[1], vertices[1] @ turn.T
    renderer = Renderer(replace(alone, rotation=rotation, mesh=replace(alone.mesh, vertices=vertices)))
    view = whole(alone)
    fx, fy, cx, cy = view.camera
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    y, x = np.mgrid[: view.height, : view.width]
    there = np.stack([x, y, np.ones_like(x)], -1) @ (matrix @ turn @ np.linalg.inv(matrix)).T
    expected = there[..., :2] / there[..., 2:] - np.stack([x, y], -1)
    field = renderer.flow(0, view).field
    # Cloth stands off along normals, which turn with the person: nothing but rounding may differ.
    np.testing.assert_allclose(field, expected, atol=0.02)


def test_what_the_person_covers_next_is_hidden(alone: Scene) -> None:
    renderer, view = Renderer(moved(alone, np.array([0.15, 0.0, 0.0]))), whole(alone)
    flow = renderer.flow(0, view)
    now, then = (renderer.surface(frame, view).ids >= 0 for frame in (0, 1))
    assert not flow.hidden[~now & ~then].any()
    inner = cv2.erode(then.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert flow.hidden[~now & inner].all()
    assert (~now & inner).sum() > 50
    assert flow.hidden[now].mean() < 0.05


def test_a_part_of_the_image_is_cut_from_the_whole(alone: Scene) -> None:
    renderer = Renderer(alone)
    image = renderer.render(0, region_viewport(alone, 0, 0, 640, 480, 1.0))
    part = renderer.render(0, region_viewport(alone, 200, 100, 360, 300, 1.0))
    assert np.abs(image[100:300, 200:360].astype(int) - part).mean() < 0.2
    # A crop made larger, so that nothing is averaged: the view is the very crop that the live program cuts.
    box = Box(300.3, 220.7, 120.0)
    mine = renderer.render(0, crop_viewport(alone, box, 128)).astype(int)
    theirs = Cropper(128)(renderer.render(0, region_viewport(alone, 0, 0, 640, 480, 1.0), 4), box).astype(int)
    beside = np.abs(np.roll(mine, 2, 1) - theirs).mean()
    assert np.abs(mine - theirs).mean() < 0.6 * beside


def test_a_sensor_without_faults_changes_nothing(alone: Scene) -> None:
    image = Renderer(alone).render(0, whole(alone))
    perfect = Sensor(np.ones(3, np.float32), 1.0, 0.0, 0.0, 0)
    np.testing.assert_array_equal(perfect(image, np.random.default_rng(0)), image)
    grainy = Sensor(np.ones(3, np.float32), 1.0, 0.0, 4.0, 0)(image, np.random.default_rng(0)).astype(int)
    middle = (image > 20) & (image < 235)
    assert 2.5 < (grainy - image)[middle].std() < 5.5
