"""Simulated observations of a scene: occlusion, regions and the flow engine's output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from body.joints import COCO_NAMES
from body.lbs_torch import TorchBody
from realtime.stages.tracking.regions import region_of
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import CELLS
from training.synth.observations import render_frames, rendered_visibility, simulate_tracking
from training.synth.occluders import box_mesh
from training.synth.render import Renderer, crop_viewport
from training.synth.scene import Scene
from training.synth.windows import field_cell_means


def posed(scene: Scene, body: TorchBody, rotations: torch.Tensor) -> Scene:
    """The scene's first frame with a body posed by ``rotations`` (1, 24, 3, 3), 3.5 m away."""
    zeros = torch.zeros(1, 10)
    joints, coco = body.skeleton(rotations, zeros)
    place = np.array([0, 0, 3.5], np.float32)
    vertices = (body(rotations, zeros)[0].numpy() + place).repeat(3, 0)
    return replace(
        scene,
        mesh=replace(scene.mesh, vertices=vertices.astype(np.float32)),
        joints=joints.numpy().repeat(3, 0),
        coco=coco.numpy().repeat(3, 0),
        pelvis=place[None].repeat(3, 0),
    )


def test_the_far_side_of_somebody_seen_from_the_side_is_hidden(alone: Scene, body: TorchBody) -> None:
    rotations = torch.eye(3).expand(1, 24, 3, 3).clone()
    rotations[:, 0] = torch.tensor([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
    for joint, side in ((16, -1.0), (17, 1.0)):  # the arms hang
        rotations[:, joint] = torch.tensor([[0.17, -0.98 * side, 0.0], [0.98 * side, 0.17, 0.0], [0.0, 0.0, 1.0]])
    state = dict(zip(COCO_NAMES, rendered_visibility(Renderer(posed(alone, body, rotations)), 0).tolist(), strict=True))
    assert state["left_ear"] == state["left_shoulder"] == state["nose"] == 0
    assert state["right_ear"] == state["right_elbow"] == 1
    assert state["left_knee"] == 0


def test_a_box_hides_what_is_behind_it_and_the_frame_ends(alone: Scene, body: TorchBody) -> None:
    rotations = torch.eye(3).expand(1, 24, 3, 3).clone()
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    scene = posed(alone, body, rotations)
    corners, faces = box_mesh(np.array([0.5, 0.3, 0.05]))
    table = corners + np.array([0, 0.6, 2.5], np.float32)
    mesh, count = scene.mesh, scene.mesh.vertices.shape[1]
    look = replace(
        mesh.appearance,
        offset=np.append(mesh.appearance.offset, np.zeros(24, np.float32)),
        colour=np.append(mesh.appearance.colour, np.ones((24, 3), np.float32), 0),
    )
    mesh = replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, table[None].repeat(3, 0)], 1),
        faces=np.concatenate([mesh.faces, faces + count]),
        appearance=look,
    )
    camera = scene.camera - np.array([0, 0, 0, 60], np.float32)
    state = dict(
        zip(
            COCO_NAMES, rendered_visibility(Renderer(replace(scene, mesh=mesh, camera=camera)), 0).tolist(), strict=True
        )
    )
    assert state["left_knee"] == state["right_knee"] == 1
    assert state["left_ankle"] == 1
    assert state["left_shoulder"] == state["left_elbow"] == state["left_hip"] == 0
    higher = scene.camera - np.array([0, 0, 0, 180], np.float32)  # the head leaves the frame
    assert rendered_visibility(Renderer(replace(scene, camera=higher)), 0)[0] == 2


def test_the_box_of_a_frame_comes_from_the_detections_before(scenes: list[Scene]) -> None:
    renderers = [Renderer(scene) for scene in scenes]
    found = simulate_tracking(renderers, NoiseSampler(load_noise(), 3))
    assert sum(one is not None for one in found) >= 3
    for renderer, one in zip(renderers, found, strict=True):
        if one is not None:
            want = region_of(one.points[0], one.confidence[0], *renderer.scene.size, one.boxes[0])
            assert want is None or one.boxes[1] == want
            seen = (one.states == 0) & (one.confidence > 0.5)
            reach = np.ptp(renderer.scene.points[one.states == 0], axis=0).max()
            off = np.linalg.norm(one.points - renderer.scene.points, axis=-1)
            assert np.median(off[seen]) < 0.06 * reach


def test_estimated_flow_is_like_exact_flow_where_the_person_is_seen(scenes: list[Scene]) -> None:
    alike, moving = [], 0
    for renderer, one in zip(
        renderers := [Renderer(scene) for scene in scenes],
        simulate_tracking(renderers, NoiseSampler(load_noise(), 3)),
        strict=True,
    ):
        if one is None:
            continue
        for rendered in render_frames(renderer, one.boxes, 64, np.random.default_rng(1)):
            assert rendered.crop.shape == (64, 64, 3)
            assert (rendered.flow is None) == (rendered.frame == 0)
            if rendered.flow is None:
                continue
            assert rendered.flow.box == one.boxes[rendered.frame]
            view = crop_viewport(renderer.scene, rendered.box, CELLS)
            truth = renderer.flow(rendered.frame - 1, view).field / CELLS
            person = renderer.surface(rendered.frame - 1, view).ids >= 0
            seen = field_cell_means(rendered.flow.field)
            clear = person & (np.linalg.norm(truth, axis=-1) > 0.01) & (np.linalg.norm(truth, axis=-1) < 0.1)
            if clear.sum() > 30:
                moving += 1
                alike.append(np.corrcoef(truth[clear].ravel(), seen[clear].ravel())[0, 1])
    assert moving >= 3
    assert np.median(alike) > 0.6
