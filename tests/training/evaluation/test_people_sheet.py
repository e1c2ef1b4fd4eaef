"""Images of unseen people: skeletons where the numbers say, and the same people every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.arrays import BoolArray

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from numpy.typing import NDArray  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from body.joints import JOINT_NAMES  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from training import train  # noqa: E402
from training.config import Stage, TrainConfig  # noqa: E402
from training.evaluation.people_sheet import (  # noqa: E402
    DETECTED,
    PEOPLE_TILE,
    PREDICTED,
    SPAN_M,
    TRUE,
    draw_people,
    draw_validation,
)
from training.evaluation.synthetic import unseen_people  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.outputs import Lifted  # noqa: E402
from training.simulation.batches import Batch  # noqa: E402

PEOPLE = 3
BODY = TorchBody(load_body("body_1722"))


@pytest.fixture(scope="module")
def network() -> Lifter:
    torch.manual_seed(0)
    return Lifter(LifterConfig(32, 1, 16, flow=False))


@pytest.fixture(scope="module")
def batch(clips: list[Clip], network: Lifter) -> Batch:
    return unseen_people(network, BODY, clips, seed=5, clean=True).draw(PEOPLE, 2, 30.0)


def answer(batch: Batch, nearer: float = 0.0) -> Lifted:
    """The truth, but for people who stand ``nearer`` metres nearer."""
    betas = batch.betas[:, None].expand(-1, 2, -1)
    pelvis = batch.pelvis - torch.tensor([0.0, 0.0, nearer])
    rest = torch.zeros(PEOPLE, 2, 1)
    return Lifted(batch.rotations, betas, pelvis, *[rest] * 8)


def like(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> BoolArray:
    return np.abs(image.astype(int) - colour).sum(-1) < 60


def test_the_true_answer_hides_the_truth_and_lies_on_the_detections(batch: Batch) -> None:
    image = draw_people(batch, answer(batch), BODY)
    assert (image.shape, image.dtype) == ((2 * PEOPLE_TILE, PEOPLE * PEOPLE_TILE, 3), np.uint8)
    assert like(image, PREDICTED).sum() > 50 * PEOPLE
    assert like(image, TRUE).sum() < 0.02 * like(image, PREDICTED).sum()
    wrists = [JOINT_NAMES.index(name) for name in ("left_wrist", "right_wrist")]
    place = (batch.joints + batch.pelvis[:, :, None])[:, -1, wrists]
    camera, box = batch.seen.camera[:, -1, None], batch.seen.box[:, -1, None]
    pixels = place[..., :2] / place[..., 2:] * camera[..., :2] + camera[..., 2:]
    tile = (pixels - box[..., :2] + box[..., 2:] / 2) / box[..., 2:] * PEOPLE_TILE
    checked = 0
    for person, ends in enumerate(tile.round().int().tolist()):
        for x, y in ends:
            if 4 < x < PEOPLE_TILE - 4 and 4 < y < PEOPLE_TILE - 4:
                around = image[y - 3 : y + 4, person * PEOPLE_TILE + x - 3 : person * PEOPLE_TILE + x + 4]
                assert like(around, PREDICTED).any() or like(around, DETECTED).any()
                checked += 1
    assert checked >= PEOPLE


def test_people_who_are_said_to_stand_nearer_are_larger_in_front_and_the_same_from_aside(batch: Batch) -> None:
    half = float(batch.pelvis[:, -1, 2].min()) / 2
    exact, nearer = (draw_people(batch, answer(batch, by), BODY) for by in (0.0, half))
    np.testing.assert_array_equal(nearer[PEOPLE_TILE:], exact[PEOPLE_TILE:])
    assert like(nearer[:PEOPLE_TILE], TRUE).sum() > 20 * PEOPLE, "the truth is no longer hidden"


def test_the_view_from_aside_shows_depth(batch: Batch) -> None:
    turned = answer(batch)
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(PEOPLE, 2, 1, 3, 3)
    still = torch.eye(3).expand(PEOPLE, 2, 23, 3, 3)
    lying = upright @ torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # the head towards or away from the camera
    for root, across in ((upright, False), (lying, True)):
        image = draw_people(batch, turned._replace(rotations=torch.cat([root, still], 2)), BODY)
        rows, columns = np.nonzero(like(image[PEOPLE_TILE:, :PEOPLE_TILE], PREDICTED))
        size = 1.2 / SPAN_M * PEOPLE_TILE
        assert (np.ptp(columns) > size) == across
        assert (np.ptp(rows) > size) != across


def test_the_same_people_every_time(clips: list[Clip], network: Lifter) -> None:
    state = torch.get_rng_state()
    one, two = (draw_validation(network, BODY, clips, people=2) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(torch.get_rng_state(), state), "training must not notice"


def test_training_writes_them(clips: list[Clip], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(train, "open_clips", lambda motion, split: clips)
    config = TrainConfig(LifterConfig(32, 1, 16, flow=False), Stage(2, 8, 1, 1e-3), Stage(2, 2, 4, 1e-3))
    train.Trainer(tmp_path, tmp_path, config).run(minutes=1, every=2)
    events = EventAccumulator(str(tmp_path), {"images": 0})
    events.Reload()
    assert [image.step for image in events.Images("val/people")] == [2, 4]
    assert events.Images("val/people")[0].width == 8 * PEOPLE_TILE
