"""Two processes train one network."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from training import train  # noqa: E402
from training.config import Stage, TrainConfig  # noqa: E402
from training.distributed import ProcessGroup, init_distributed  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402


def config() -> TrainConfig:
    network = LifterConfig(32, 1, 16, 16)
    return TrainConfig(network, Stage(2, 8, 1, 2e-3), Stage(4, 2, 6, 1e-3, single_frames=3), seed=3)


def one_process(rank: int, port: int, folder: Path, clips: list[Clip]) -> None:
    """Four steps, a save, two more; what this process ended with goes into a file of its own."""
    import os

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    train.open_clips = lambda motion, split: clips
    group = init_distributed()
    assert (group.rank, group.size) == (rank, 2)
    trainer = train.Trainer(folder, folder / "run", config(), group)
    trainer._draw()
    first = trainer._chunks[0][0].seen.points.clone()
    for _ in range(3):
        trainer.train_step()
    trainer.save()
    last = [trainer.train_step() for _ in range(2)][-1]["loss"]
    again = train.Trainer(folder, folder / "run", config(), group)
    assert again.resume()
    repeated = [again.train_step() for _ in range(2)][-1]["loss"]
    assert group.broadcast(rank == 0) is True
    torch.save(
        {"network": trainer.network.state_dict(), "first": first, "last": last, "repeated": repeated},
        folder / f"{rank}.pt",
    )
    group.leave()


@pytest.mark.timeout(300)  # two interpreters start, each with torch
def test_two_processes_hold_one_network_and_see_other_people(clips: list[Clip], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "run").mkdir()
    torch.multiprocessing.spawn(one_process, (port, tmp_path, clips), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in first["network"].items():
        torch.testing.assert_close(value, second["network"][name], rtol=0, atol=0, msg=name)
    assert not torch.equal(first["first"], second["first"])
    for part in (first, second):  # stopped and gone on, each with its own random numbers
        assert part["repeated"] == pytest.approx(part["last"], rel=1e-4)


def test_alone_there_is_nobody_to_ask() -> None:
    group = ProcessGroup()
    assert group.is_main
    assert group.gather(3) == [3]
    assert group.broadcast(False) is False
