"""Which optical flow a run takes, and what stays open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.arrays import AnyArray
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from realtime.networks import Networks
from realtime.options import FlowMethod, Options
from realtime.stages.flow import choice
from realtime.stages.flow.crop_flow import CropFlow, DisFlow, RaftFlow
from tests.conftest import Remarks

SIDES = {"raft-small": 384, "raft-small-256": 256}


class Pretended(Engine):
    """A network of RAFT's shape, or any other, that a GPU runs."""

    def __init__(self, model: str, runtime: str) -> None:
        self.runtime, self.device, self.closed = runtime, "test", False
        side = SIDES.get(model, 192)
        one, byte = np.dtype(np.float32), np.dtype(np.uint8)
        self.inputs = tuple(TensorSpec(name, (1, side, side, 3), byte) for name in ("previous", "current"))
        self.outputs = (TensorSpec("flow", (1, 128, 128, 2), one),)

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        self.check_feeds(feeds)
        return {"flow": np.ones((1, 128, 128, 2), np.float32)}

    def close(self) -> None:
        self.closed = True


class Gpu:
    """Opens networks on a GPU that takes ``times`` ms for each size of RAFT's crops."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: dict[int, float], runtime: str = "tensorrt") -> None:
        self.opened: dict[str, Pretended] = {}
        self._runtime = runtime

        def takes_ms(flow: CropFlow) -> float:
            return 2.0 if isinstance(flow, DisFlow) else times[flow._crop(np.zeros((9, 9, 3), np.uint8), BOX).shape[0]]

        monkeypatch.setattr(choice, "flow_ms", takes_ms)
        monkeypatch.setattr("realtime.networks.median_ms", lambda _: 3.0)

    def __call__(self, model: str | Path) -> Engine:
        self.opened[str(model)] = Pretended(str(model), self._runtime)
        return self.opened[str(model)]


BOX = choice.Box(4.0, 4.0, 8.0)


def crop_side(flow: CropFlow | None) -> int | None:
    return flow._crop(np.zeros((9, 9, 3), np.uint8), BOX).shape[0] if isinstance(flow, RaftFlow) else None


def opened_flow(gpu: Gpu, flow: FlowMethod) -> CropFlow | None:
    with Networks(Options(source="", flow=flow), gpu) as networks:
        networks.open("movenet-lightning")
        found = networks.open_flow()
        still = {name for name, engine in gpu.opened.items() if not engine.closed}
        taken = {name for name, side in SIDES.items() if side == crop_side(found)}
        assert still == {"movenet-lightning", *taken}, "what is not taken does not stay on the GPU"
    assert all(engine.closed for engine in gpu.opened.values())
    return found


@pytest.mark.parametrize(
    ("large", "small", "side", "tried"),
    [
        (3.0, 1.0, 384, ["raft-small"]),
        (3.1, 3.0, 256, ["raft-small", "raft-small-256"]),
        (9.0, 3.1, None, ["raft-small", "raft-small-256"]),
    ],
)
def test_the_largest_raft_that_delays_nothing_is_taken(
    monkeypatch: pytest.MonkeyPatch, remarks: Remarks, large: float, small: float, side: int | None, tried: list[str]
) -> None:
    gpu = Gpu(monkeypatch, {384: large, 256: small})
    found = opened_flow(gpu, "auto")
    assert crop_side(found) == side
    assert isinstance(found, RaftFlow if side else DisFlow)
    assert list(gpu.opened) == ["movenet-lightning", *tried], "the smaller one is built only where it is needed"
    (line,) = [line for line in remarks if line.startswith("optical flow: ")]
    assert line.split()[2] == {384: "raft", 256: "raft-256", None: "dis"}[side]


def test_a_raft_that_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch, remarks: Remarks) -> None:
    """Nobody asked for it by name: a board that has no memory for the larger one goes on."""

    class Small(Gpu):
        def __call__(self, model: str | Path) -> Engine:
            if model == "raft-small":
                raise EngineError("out of memory")
            return super().__call__(model)

    assert crop_side(opened_flow(Small(monkeypatch, {256: 1.0}), "auto")) == 256
    assert remarks.warnings == ["out of memory: --flow auto does without raft"]
    with pytest.raises(EngineError, match="out of memory"):
        opened_flow(Small(monkeypatch, {256: 1.0}), "raft")


@pytest.mark.parametrize(("flow", "side"), [("raft", 384), ("raft-256", 256), ("dis", None)])
def test_the_option_decides_whatever_is_faster(
    monkeypatch: pytest.MonkeyPatch, remarks: Remarks, flow: FlowMethod, side: int | None
) -> None:
    found = opened_flow(Gpu(monkeypatch, {384: 9.0, 256: 9.0}), flow)
    assert crop_side(found) == side
    assert isinstance(found, RaftFlow if side else DisFlow)
    assert not [line for line in remarks if line.startswith("optical flow: ")], "nothing is measured"


def test_no_flow_and_a_cpu_open_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened_flow(Gpu(monkeypatch, {}), "none") is None
    gpu = Gpu(monkeypatch, {}, "onnxruntime")
    assert isinstance(opened_flow(gpu, "auto"), DisFlow)
    assert list(gpu.opened) == ["movenet-lightning"]
