"""The weighted mean of the regressor's predictions with its memory and without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from engines.engine import Arrays, Engine, TensorSpec
from engines.registry import open_engine
from realtime.stages.regressor.ensemble import MemoryEnsemble

F = np.dtype(np.float32)


class Turner(Engine):
    """Answers every joint turned about y by ``per_frame`` degrees for each frame that it remembers, so far away in metres."""

    device = "none"

    def __init__(self, per_frame: float, people: int) -> None:
        self.runtime = "turner"
        self._per_frame, self.runs = per_frame, 0
        self.inputs = (TensorSpec("state", (people, 1), F), TensorSpec("dt", (people,), F))
        answers = {"rotations": (24, 3, 3), "betas": (10,), "pelvis": (3,), "next_state": (1,)}
        self.outputs = tuple(TensorSpec(name, (people, *shape), F) for name, shape in answers.items())

    def infer(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        self.check_feeds(feeds)
        self.runs += 1
        state = np.asarray(feeds["state"], np.float32)
        turned = Rotation.from_euler("y", self._per_frame * state, degrees=True).as_matrix().astype(np.float32)
        return {
            "rotations": np.repeat(turned[:, None], 24, 1),
            "betas": np.repeat(state, 10, 1),
            "pelvis": np.repeat(state, 3, 1),
            "next_state": state + np.float32(1),
        }

    def close(self) -> None: ...


def remembered(*frames: float) -> dict[str, NDArray[np.float32]]:
    return {"state": np.array(frames, np.float32)[:, None], "dt": np.full(len(frames), 0.04, np.float32)}


@pytest.mark.parametrize(("people", "runs"), [(-1, 1), (1, 2)])
def test_pose_and_place_are_means_and_the_rest_is_remembered(people: int, runs: int) -> None:
    engine = Turner(20, people)
    answer = MemoryEnsemble(engine).infer(remembered(3))
    assert engine.runs == runs  # one of a batch of two, where batches are taken
    # The chordal mean of 0 with weight 1 and 60 degrees with weight 2 is where their unit vectors add up to.
    angle = np.arctan2(2 * np.sin(np.pi / 3), 1 + 2 * np.cos(np.pi / 3))
    mean = Rotation.from_euler("y", angle).as_matrix()
    np.testing.assert_allclose(answer["rotations"], np.tile(mean, (1, 24, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(answer["pelvis"], [[2] * 3], rtol=1e-6)
    assert answer["betas"].tolist() == [[3] * 10]
    assert answer["next_state"].tolist() == [[4]]
    assert {array.dtype for array in answer.values()} == {F}


def test_who_faces_another_way_without_memory_is_answered_from_memory_alone() -> None:
    answer = MemoryEnsemble(Turner(20, -1)).infer(remembered(4, 5))
    angles = Rotation.from_matrix(answer["rotations"][:, 0]).magnitude()
    assert 40 < np.degrees(angles[0]) < 80
    assert np.degrees(angles[1]) == pytest.approx(100, abs=1e-3)
    np.testing.assert_allclose(answer["pelvis"][:, 0], [4 * 2 / 3, 5], rtol=1e-6)


def test_a_person_of_the_first_frame_gets_what_the_shipped_network_says() -> None:
    rng = np.random.default_rng(4)
    with open_engine("motion", "onnxruntime") as engine:
        feeds = {spec.name: np.zeros([abs(size) for size in spec.shape], np.float32) for spec in engine.inputs}
        feeds |= {
            "points": rng.normal([320, 240], [30, 80], (1, 17, 2)).astype(np.float32),
            "confidence": np.full((1, 17), 0.8, np.float32),
            "camera": np.array([[550, 550, 320, 240]], np.float32),
            "dt": np.array([1 / 30], np.float32),
            "box": np.array([[320, 240, 300]], np.float32),
        }
        wanted, answer = engine.infer(feeds), MemoryEnsemble(engine).infer(feeds)
    for name, array in wanted.items():
        np.testing.assert_allclose(answer[name], array, atol=1e-4, err_msg=name)
