"""Training learns, and goes on after an interruption exactly where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from training import train  # noqa: E402
from training.config import Stage, TrainConfig  # noqa: E402
from training.evaluation.synthetic import SyntheticScores  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.inputs import Observation  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.outputs import Lifted  # noqa: E402


def config() -> TrainConfig:
    return TrainConfig(
        LifterConfig(48, 1, 24),
        Stage(6, 32, 1, 2e-3, warm_up=2),
        Stage(6, 4, 8, 1e-3, supervised_frames=4, warm_up=2),
        seed=3,
    )


@pytest.fixture
def trainer(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> type[train.Trainer]:
    monkeypatch.setattr(train, "open_clips", lambda motion, split: clips)
    return train.Trainer


def test_an_interrupted_run_ends_like_an_uninterrupted_one(trainer: type[train.Trainer], tmp_path: Path) -> None:
    whole = trainer(tmp_path, tmp_path / "whole", config())
    for _ in range(10):
        last = whole.train_step()
    first = trainer(tmp_path, tmp_path / "parts", config())
    for _ in range(4):  # the break lies in the middle of the first stage, the end in the second
        first.train_step()
    first.save()
    second = trainer(tmp_path, tmp_path / "parts", config())
    torch.manual_seed(999)
    assert second.resume()
    for _ in range(6):
        again = second.train_step()
    assert again == pytest.approx(last, rel=1e-5)
    for a, b in zip(whole.averaged.parameters(), second.averaged.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("corruption", "others"), [(0.0, 0), (0.6, 5)])
def test_an_interruption_between_the_chunks_of_a_window_changes_nothing(
    trainer: type[train.Trainer], tmp_path: Path, corruption: float, others: int
) -> None:
    long = config()
    long.single.steps, long.windows = (
        0,
        Stage(8, 4, 6, 1e-3, chunks=3, state_corruption=corruption, single_frames=others),
    )
    whole = trainer(tmp_path, tmp_path / "whole", long)
    for _ in range(8):
        last = whole.train_step()
    first = trainer(tmp_path, tmp_path / "parts", long)
    for _ in range(4):  # the first chunk of the second window
        first.train_step()
    first.save()
    second = trainer(tmp_path, tmp_path / "parts", long)
    assert second.resume()
    for _ in range(4):
        again = second.train_step()
    assert again == pytest.approx(last, rel=1e-5)


def test_chunks_of_one_window_share_their_people_and_hand_the_state_on(
    trainer: type[train.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = config()
    long.single.steps, long.windows = 0, Stage(6, 4, 6, 1e-3, chunks=3)
    run = trainer(tmp_path, tmp_path / "run", long)
    met, states = [], []
    forward = run.network.forward

    def listen(seen: Observation, state: torch.Tensor, output_frames: tuple[int, int]) -> Lifted:
        met.append(seen)
        states.append(state)
        return forward(seen, state, output_frames=output_frames)

    monkeypatch.setattr(run.network, "forward", listen)
    for _ in range(4):
        run.train_step()
    assert all(seen.points.shape == (4, 6, 17, 2) for seen in met)
    torch.testing.assert_close(met[0].camera[:, 0], met[2].camera[:, 0])
    assert not torch.equal(met[0].camera[:, 0], met[3].camera[:, 0])
    assert [bool(state.any()) for state in states] == [False, True, True, False]
    assert torch.cat([seen.flow_valid[:, 0] for seen in met[1:3]]).any()  # only a person's very first frame has no flow


def test_the_third_stage_starts_from_the_averaged_weights_with_a_new_optimiser(
    trainer: type[train.Trainer], tmp_path: Path
) -> None:
    three = config()
    three.history = Stage(4, 4, 6, 1e-3, chunks=2, warm_up=1, history_frames=4, state_corruption=0.5)
    run = trainer(tmp_path, tmp_path / "run", three)
    for _ in range(12):
        run.train_step()
    assert run.config.rate(11) < run.config.rate(12)  # it fell to the end of the second stage, and rises again
    averaged = [value.clone() for value in run.averaged.parameters()]
    run.save()
    again = trainer(tmp_path, tmp_path / "run", three)
    assert again.resume()
    before: list[torch.Tensor] = []
    step = again.optimizer.step

    def listen() -> None:
        before.extend(value.clone() for value in again.network.parameters())
        assert not again.optimizer.state
        step()
        again.optimizer.step = step  # type: ignore[method-assign]

    again.optimizer.step = listen  # type: ignore[method-assign, assignment]
    last = [run.train_step() for _ in range(4)][-1]
    assert [again.train_step() for _ in range(4)][-1] == pytest.approx(last, rel=1e-5)
    for value, start in zip(averaged, before, strict=True):
        torch.testing.assert_close(value, start)
    assert run.step == run.config.steps == 16


def test_windows_of_the_third_stage_last_seconds(
    trainer: type[train.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = config()
    three.single.steps = three.windows.steps = 0
    three.history = Stage(2, 50, 12, 1e-3, chunks=2, history_frames=9)
    run = trainer(tmp_path, tmp_path / "run", three)
    met: list[Observation] = []
    forward = run.network.forward

    def listen(seen: Observation, state: torch.Tensor, output_frames: tuple[int, int]) -> Lifted:
        met.append(seen)
        return forward(seen, state, output_frames=output_frames)

    monkeypatch.setattr(run.network, "forward", listen)
    for _ in range(2):
        run.train_step()
    for seen in met:
        assert seen.dt[:, :9].min() >= 1 / 16 - 1e-6
        assert seen.dt[:, :9].sum(1).median() > 0.6
        assert seen.dt[:, 9:].min() < 1 / 55


def test_a_longer_run_goes_on_from_before_the_rate_fell_as_if_it_had_always_been_longer(
    trainer: type[train.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, image = SyntheticScores(0, 0, 0, 0, 0, 0, 0, 0), np.zeros((4, 4, 3), np.uint8)
    monkeypatch.setattr(trainer, "validate", lambda self: (scores, image))
    short, long = config(), config()
    long.windows.steps = 14
    whole = trainer(tmp_path, tmp_path / "whole", long)
    whole.run(minutes=1, every=100)
    first = trainer(tmp_path, tmp_path / "parts", short)
    first.run(minutes=1, every=100)
    assert first.step == 12
    assert first.config.rate(first.step) == 0
    second = trainer(tmp_path, tmp_path / "parts", long)
    assert second.resume()
    assert second.step == 10  # two of six steps had been taken at a lower rate
    second.run(minutes=1, every=100)
    for a, b in zip(whole.averaged.parameters(), second.averaged.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_rate_rises_stays_and_falls(trainer: type[train.Trainer], tmp_path: Path) -> None:
    how = config()
    how.single, how.windows = Stage(10, 8, 1, 2e-3, warm_up=4), Stage(40, 4, 8, 1e-3, warm_up=4, decay_after=16)
    run = trainer(tmp_path, tmp_path / "run", how)
    rates = []
    for run.step in range(51):
        rates.append(run.config.rate(run.step))
    assert rates[:5] == pytest.approx([5e-4, 1e-3, 1.5e-3, 2e-3, 2e-3])
    assert rates[10] == pytest.approx(2.5e-4)
    assert rates[14:27] == pytest.approx([1e-3] * 13)
    assert rates[33] == pytest.approx(1e-3 * (16 / 23) ** 0.5)
    assert rates[42] == pytest.approx(1e-3 * (16 / 32) ** 0.5 * 8 / 16)
    assert rates[50] == 0


def test_another_network_is_not_gone_on_with(trainer: type[train.Trainer], tmp_path: Path) -> None:
    first = trainer(tmp_path, tmp_path / "run", config())
    first.save()
    other = config()
    other.network = LifterConfig(32, 1, 24)
    with pytest.raises(train.TrainingError, match="choose another"):
        trainer(tmp_path, tmp_path / "run", other).resume()


def test_a_run_goes_on_whatever_legs_follow(trainer: type[train.Trainer], tmp_path: Path) -> None:
    plain, other = config(), config()
    plain.network, other.network = (LifterConfig(48, 1, 24, rounds=1, memoryless_legs=legs) for legs in (False, True))
    first = trainer(tmp_path, tmp_path / "run", plain)
    first.train_step()
    first.save()
    second = trainer(tmp_path, tmp_path / "run", other)
    assert second.resume()
    assert second.step == 1


def test_a_share_of_the_memories_is_wrong_and_all_else_of_the_state_stays(
    trainer: type[train.Trainer], tmp_path: Path
) -> None:
    corrupting = config()
    corrupting.single.steps, corrupting.windows = 0, Stage(8, 400, 6, 1e-3, state_corruption=0.5)
    run = trainer(tmp_path, tmp_path / "run", corrupting)
    before, now = torch.rand(400, run.network.state_size), torch.rand(400, run.network.state_size)
    mixed, size = run._corrupt_state(before, now), run.network.memory.size
    torch.testing.assert_close(mixed, run._corrupt_state(before, now))
    torch.testing.assert_close(mixed[:, size:], now[:, size:])
    kept, own, others = ((mixed[:, :size] == memory[:, :size]).all(1) for memory in (now, before, now.roll(1, 0)))
    assert bool((kept | own | others).all())
    assert float(own.float().mean()) == pytest.approx(0.25, abs=0.08)
    assert float(others.float().mean()) == pytest.approx(0.25, abs=0.08)
    run.step = 1
    assert bool((run._corrupt_state(before, now) != mixed).any())


def test_it_learns(trainer: type[train.Trainer], tmp_path: Path) -> None:
    longer = config()
    longer.single = Stage(60, 64, 1, 3e-3, warm_up=5)
    run = trainer(tmp_path, tmp_path / "run", longer)
    losses = [run.train_step()["joints"] for _ in range(60)]
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])


def test_running_writes_a_checkpoint_that_evaluates(
    trainer: type[train.Trainer], tmp_path: Path, clips: list[Clip]
) -> None:
    from body.model import load_body
    from training.evaluation.synthetic import evaluate, load_checkpoint

    run = trainer(tmp_path, tmp_path / "run", config())
    run.run(minutes=1, every=6)
    assert run.step == 12
    scores = evaluate(
        load_checkpoint(tmp_path / "run" / "checkpoint.pt"), train.TorchBody(load_body()), clips, windows=8
    )
    assert 0 < scores.pa_mpjpe <= scores.mpjpe < 2000


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    from training.evaluation.synthetic import CheckpointError, load_checkpoint

    missing, text, other = tmp_path / "missing.pt", tmp_path / "text.pt", tmp_path / "other.pt"
    text.write_text("no checkpoint")
    torch.save({"weights": torch.zeros(3)}, other)
    for path in (missing, text, other):
        with pytest.raises(CheckpointError, match=rf"{path.name}.*name"):
            load_checkpoint(path)


def test_a_missing_checkpoint_to_start_from_is_named(trainer: type[train.Trainer], tmp_path: Path) -> None:
    from training.evaluation.synthetic import CheckpointError

    with pytest.raises(CheckpointError, match=r"none\.pt.*name"):
        trainer(tmp_path, tmp_path / "run", config()).start_from(tmp_path / "none.pt")


def test_weights_for_flow_are_left_out_where_there_is_none(trainer: type[train.Trainer], tmp_path: Path) -> None:
    first = trainer(tmp_path, tmp_path / "seeing", config())
    first.train_step()
    first.save()
    blind = config()
    blind.network = LifterConfig(48, 1, 24, flow=False)
    second = trainer(tmp_path, tmp_path / "blind", blind)
    assert second.start_from(first.checkpoint) == []
    known = second.network.state_dict()["frame.0.weight"]
    torch.testing.assert_close(known, first.averaged.state_dict()["frame.0.weight"][:, : known.shape[1]])


def test_another_runs_weights_are_taken_over_where_they_fit(trainer: type[train.Trainer], tmp_path: Path) -> None:
    """From keypoints alone to keypoints and flow: what is new starts without a say."""
    blind = config()
    blind.network = LifterConfig(48, 1, 24, flow=False)
    first = trainer(tmp_path, tmp_path / "blind", blind)
    for _ in range(3):
        first.train_step()
    (tmp_path / "blind").mkdir(exist_ok=True)
    first.save()
    second = trainer(tmp_path, tmp_path / "seeing", config())
    fresh = second.start_from(first.checkpoint)
    assert all(name.startswith("flow_encoder.") for name in fresh)
    old, new = first.averaged.state_dict(), second.network.state_dict()
    known = old["frame.0.weight"].shape[1]
    torch.testing.assert_close(new["frame.0.weight"][:, :known], old["frame.0.weight"])
    assert not new["frame.0.weight"][:, known:].any()
    torch.testing.assert_close(new["memory.from_state.weight"], old["memory.from_state.weight"])
    torch.testing.assert_close(second.averaged.state_dict()["merge.weight"], new["merge.weight"])


def test_single_frames_beside_the_windows_are_learned_from_and_are_of_other_people(
    trainer: type[train.Trainer], tmp_path: Path
) -> None:
    long = config()
    long.single.steps, long.windows = 0, Stage(4, 4, 6, 1e-3, chunks=2, single_frames=7)
    run, without = trainer(tmp_path, tmp_path / "a", long), trainer(tmp_path, tmp_path / "b", config())
    without.config.single.steps, without.config.windows = 0, Stage(4, 4, 6, 1e-3, chunks=2)
    run._draw()
    (windows, first), (_, second) = run._chunks
    assert first is not None
    assert second is not None
    assert len(first.betas) == 7
    assert first.seen.dt.shape == (7, 1)
    everybody = torch.cat([windows.betas, first.betas, second.betas])
    assert len(torch.unique(everybody, dim=0)) == 4 + 7 + 7
    run.train_step()
    without.train_step()
    changed = zip(run.network.parameters(), without.network.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in changed)


def test_multiplying_in_bfloat16_learns_nearly_the_same_in_float32_weights(
    trainer: type[train.Trainer], tmp_path: Path
) -> None:
    exact = trainer(tmp_path, tmp_path / "exact", config())
    rounded = trainer(tmp_path, tmp_path / "rounded", config(), bfloat16=True)
    for _ in range(8):  # beyond the first stage
        wanted, got = exact.train_step(), rounded.train_step()
    assert got["loss"] == pytest.approx(wanted["loss"], rel=0.05)
    assert got["loss"] != wanted["loss"]
    assert {parameter.dtype for parameter in rounded.network.parameters()} == {torch.float32}
