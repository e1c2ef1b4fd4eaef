"""Scores after histories of different lengths are those of the same frames, of people met so many seconds before."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from training.evaluation.memory import HISTORIES_S, followed_for, memory_scores  # noqa: E402
from training.evaluation.synthetic import unseen_people  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.inputs import Observation  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.outputs import Lifted  # noqa: E402

BODY = TorchBody(load_body("body_1722"))
FPS = 10.0


@pytest.fixture
def network() -> Lifter:
    torch.manual_seed(0)
    return Lifter(LifterConfig(32, 1, 16)).eval()


def test_a_person_met_in_a_frame_has_no_flow_there(network: Lifter, clips: list[Clip]) -> None:
    seen = unseen_people(network, BODY, clips, 3).draw(3, 9, FPS).seen
    met = followed_for(seen, 4)
    torch.testing.assert_close(met.points, seen.points[:, 5:])
    assert not met.flow[:, 0].any()
    assert not met.flow_valid[:, 0].any()
    torch.testing.assert_close(met.flow[:, 1:], seen.flow[:, 6:])
    assert seen.flow_valid[:, 5].any()  # the observation itself is left as it was


def test_a_network_that_knows_a_person_after_a_second_is_exact_from_then_on(
    network: Lifter, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = unseen_people(network, BODY, clips, 7).draw(3, 44, FPS)
    asked = []

    def forward(seen: Observation, state: torch.Tensor, **how: Any) -> Lifted:
        asked.append((seen.dt.shape[1], how))
        last = truth.frames(40, 44)
        knows = seen.dt.shape[1] - 4 >= FPS
        rotations = last.rotations if knows else last.rotations.roll(1, 0)
        betas = truth.betas[:, None].expand(3, 4, 10)
        return Lifted(rotations, betas, last.pelvis, *[torch.zeros(3, 4, 1)] * 8)

    monkeypatch.setattr(network, "forward", forward)
    scores = memory_scores(network, BODY, clips, FPS, windows=3, seed=7)
    assert asked[0] == (4, {"alone": True})
    assert asked[1:] == [(round(x * FPS) + 4, {"output_frames": (x * FPS, x * FPS + 4)}) for x in HISTORIES_S[1:]]
    known = torch.tensor([x >= 1 for x in HISTORIES_S])
    assert scores[known].max() < 0.1
    assert scores[~known].min() > 10


def test_moments_beyond_one_batch_count_alike(network: Lifter, clips: list[Clip]) -> None:
    """A network without memory scores the same after every history, but for the flow of a person's first frame."""
    torch.manual_seed(1)
    still = Lifter(LifterConfig(32, 1, 16, flow=False, motion=False)).eval()
    scores = memory_scores(still, BODY, clips, 5.0, windows=33)
    torch.testing.assert_close(scores, scores[:1].expand_as(scores), rtol=1e-3, atol=0.05)
