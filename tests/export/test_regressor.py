"""The streaming graph is the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from engines.registry import open_engine  # noqa: E402
from export.conversion.onnx_tools import check, store_fp16  # noqa: E402
from export.regressor import (  # noqa: E402
    REGRESSOR_FLOW_INPUTS,
    REGRESSOR_INPUTS,
    REGRESSOR_OUTPUTS,
    TOLERANCE,
    inputs_of,
    regressor_parity,
    regressor_to_onnx,
    round_to_fp16,
)
from training.motion.bank import NONE, MotionBank  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.simulation.batches import BatchMaker, FlowSource  # noqa: E402
from training.simulation.detector_noise import NoiseSampler, load_noise  # noqa: E402
from training.simulation.flow_grid import FlowGrid  # noqa: E402
from training.simulation.flow_noise import FlowDegrader, load_flow_noise  # noqa: E402


def talkative(config: LifterConfig) -> Lifter:
    """A network with random weights everywhere: the memory of an untrained one has no effect on its outputs."""
    torch.manual_seed(2)
    network = Lifter(config).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, 0, 0.05)
    return round_to_fp16(network)


@pytest.mark.parametrize(("flow", "rounds"), [(True, 0), (False, 0), (True, 2)])
def test_the_graph_follows_the_network_over_a_stream(clips: list[Clip], flow: bool, rounds: int) -> None:
    network = talkative(LifterConfig(64, 1, 32, 16, flow=flow, rounds=rounds, correction=48))
    source = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 3), dropout=0.3) if flow else None
    noise, body = NoiseSampler(load_noise(), 2), TorchBody(load_body())
    batch = BatchMaker(MotionBank(clips, seed=1), body, noise, NONE, flow=source).draw(3, 40)
    model = regressor_to_onnx(network)
    store_fp16(model)
    check(model)
    differences = regressor_parity(model, network, batch)
    assert differences.keys() == {"rotations", "betas", "pelvis", "steady_points", "up"}
    assert max(differences.values()) < TOLERANCE


def test_a_changed_network_is_noticed(clips: list[Clip]) -> None:
    network = talkative(LifterConfig(48, 1, 24, flow=False))
    batch = BatchMaker(MotionBank(clips, seed=1), TorchBody(load_body()), NoiseSampler(load_noise(), 2), NONE).draw(
        2, 8
    )
    model = regressor_to_onnx(network)
    with torch.no_grad():
        network.head.bias[1] += 0.2
    assert regressor_parity(model, network, batch)["rotations"] > TOLERANCE


def test_engines_read_what_the_program_feeds(tmp_path: Path) -> None:
    network = talkative(LifterConfig(48, 1, 24, 16))
    assert inputs_of(network) == (*REGRESSOR_INPUTS, *REGRESSOR_FLOW_INPUTS)
    path = tmp_path / "regressor.onnx"
    path.write_bytes(regressor_to_onnx(network).SerializeToString())
    with open_engine(path, "onnxruntime") as engine:
        assert {spec.name for spec in engine.inputs} == {*REGRESSOR_INPUTS, *REGRESSOR_FLOW_INPUTS}
        assert tuple(spec.name for spec in engine.outputs) == REGRESSOR_OUTPUTS
        feeds = {
            spec.name: np.full([2 if size < 0 else size for size in spec.shape], 0.5, np.float32)
            for spec in engine.inputs
        }
        answers = engine.infer(feeds)
    rotations = answers["rotations"].reshape(-1, 3, 3)
    np.testing.assert_allclose(rotations @ rotations.swapaxes(-1, -2), np.tile(np.eye(3), (48, 1, 1)), atol=1e-4)
    assert answers["contact"].min() >= 0
    assert answers["contact"].max() <= 1
    assert answers["joint_error"].min() > 0
