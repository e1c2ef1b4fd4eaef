"""Scenes of synthetic motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from body.lbs_torch import TorchBody
from body.model import BodyArrays, load_body
from training.motion.bank import NONE, MotionBank
from training.motion.clip import Clip
from training.synth.scene import Scene, SceneOptions, SceneSampler


@pytest.fixture(scope="session")
def arrays() -> BodyArrays:
    return load_body()


@pytest.fixture(scope="session")
def body(arrays: BodyArrays) -> TorchBody:
    return TorchBody(arrays)


@pytest.fixture(scope="session")
def scenes(clips: list[Clip], arrays: BodyArrays, body: TorchBody) -> list[Scene]:
    """Eight windows of three frames, with boxes and passers-by in some."""
    often = SceneOptions(box=0.5, second_person=0.5)
    return SceneSampler(MotionBank(clips, seed=2), arrays, body, 7, NONE, often).sample(8, 3)


@pytest.fixture(scope="session")
def alone(clips: list[Clip], arrays: BodyArrays, body: TorchBody) -> Scene:
    """One person, nothing in the way, three times the same moment before a still camera, in the middle of 640 x 480."""
    nothing = SceneOptions(box=0.0, second_person=0.0, outdoors=0.0, panorama=0.0)
    scene = SceneSampler(MotionBank(clips, seed=5), arrays, body, 3, NONE, nothing).sample(1, 3)[0]
    shift = np.array([0, 0, 3.5], np.float32) - scene.pelvis[0]
    camera = np.array([520, 520, 319.5, 239.5], np.float32)
    inside = np.array([[0.3, 1.2, 0.2]], np.float32).repeat(3, 0)
    room = replace(
        scene.room,
        low=np.array([-6, -2, -6], np.float32),
        high=np.array([6, 4, 6], np.float32),
        rotation=np.eye(3, dtype=np.float32),
        origin=np.zeros(3, np.float32),
    )
    still = {name: getattr(scene, name)[:1].repeat(3, 0) for name in ("rotation", "rotations", "joints", "coco")}
    mesh = replace(scene.mesh, vertices=(scene.mesh.vertices[:1] + shift).repeat(3, 0))
    return replace(
        scene,
        **still,
        size=(640, 480),
        camera=camera,
        assumed_camera=camera,
        centre=inside,
        pelvis=(scene.pelvis[:1] + shift).repeat(3, 0),
        mesh=mesh,
        room=room,
    )
