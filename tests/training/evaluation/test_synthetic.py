"""Scores of synthetic people: zero for the truth, and closed forms for known errors."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from training.evaluation.synthetic import SyntheticScores, score_batch, unseen_people  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.outputs import Lifted  # noqa: E402
from training.simulation.batches import Batch  # noqa: E402

BODY = TorchBody(load_body("body_1722"))
PEOPLE, FRAMES, WARM_UP = 4, 7, 2


@pytest.fixture(scope="module")
def batch(clips: list[Clip]) -> Batch:
    torch.manual_seed(0)
    network = Lifter(LifterConfig(32, 1, 16, flow=False))
    return unseen_people(network, BODY, clips, seed=5).draw(PEOPLE, FRAMES, 30.0)


def answer(batch: Batch, rotations: torch.Tensor | None = None, up: torch.Tensor | None = None) -> Lifted:
    betas = batch.betas[:, None].expand(-1, FRAMES, -1)
    rest = torch.zeros(PEOPLE, FRAMES, 1)
    up = batch.up if up is None else up
    rotations = batch.rotations if rotations is None else rotations
    return Lifted(rotations, betas, batch.pelvis, rest, rest, rest, rest, up, rest[..., 0], rest, rest)


def scores(batch: Batch, lifted: Lifted, body: TorchBody = BODY) -> SyntheticScores:
    return SyntheticScores(*score_batch(lifted, body, batch, WARM_UP).tolist())


def test_the_truth_scores_nothing(batch: Batch) -> None:
    found = scores(batch, answer(batch))
    assert max(found.pa_mpjpe, found.mpjpe, found.bones_percent, found.sized_mpjpe, found.proportions_percent) < 0.01
    assert max(found.orientation_deg, found.up_deg) < 0.1


def test_a_body_that_is_a_tenth_larger_has_bones_that_are_and_no_error_after_alignment(batch: Batch) -> None:
    class Larger(TorchBody):
        def skeleton(self, rotations: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            joints, coco = super().skeleton(rotations, betas)
            return 1.1 * joints, coco

    found = scores(batch, answer(batch), Larger(load_body("body_1722")))
    assert found.bones_percent == pytest.approx(10, abs=0.01)
    assert found.pa_mpjpe < 0.01
    assert found.mpjpe > 20
    assert max(found.sized_mpjpe, found.proportions_percent) < 0.01


def test_other_proportions_are_an_error_whatever_the_size(batch: Batch) -> None:
    class LongLegged(TorchBody):
        def skeleton(self, rotations: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            joints, coco = super().skeleton(rotations, betas)
            longer = joints.clone()
            for knee, below in ((4, (4, 7, 10)), (5, (5, 8, 11))):
                longer[..., below, :] += 0.2 * (joints[..., knee : knee + 1, :] - joints[..., knee - 3 : knee - 2, :])
            return longer, coco

    found = scores(batch, answer(batch), LongLegged(load_body("body_1722")))
    mean = 1 + 2 * 0.2 / 23
    expected = math.sqrt((2 * (1.2 / mean - 1) ** 2 + 21 * (1 / mean - 1) ** 2) / 23) * 100
    assert found.proportions_percent == pytest.approx(expected, abs=0.01)
    assert found.bones_percent == pytest.approx(20 * math.sqrt(2 / 23), abs=0.01)
    assert found.sized_mpjpe > 5


@pytest.mark.parametrize("degrees", [3.0, 40.0])
def test_a_turned_body_and_a_tilted_vertical_are_off_by_their_angle(batch: Batch, degrees: float) -> None:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    rotations = torch.cat([turn @ batch.rotations[:, :, :1], batch.rotations[:, :, 1:]], 2)
    side = torch.linalg.cross(batch.up, torch.tensor([0.3, 0.1, 1.0]).expand_as(batch.up))
    side = torch.nn.functional.normalize(side, dim=-1)
    found = scores(batch, answer(batch, rotations, c * batch.up + s * side))
    assert found.orientation_deg == pytest.approx(degrees, abs=0.05)
    assert found.up_deg == pytest.approx(degrees, abs=0.05)
    assert found.pa_mpjpe < 0.01  # which way somebody faces is aligned away
