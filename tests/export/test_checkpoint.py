"""An exported regressor's weights can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from engines.manifest import MODELS_FOLDER  # noqa: E402
from engines.ort import load_onnxruntime  # noqa: E402
from export import checkpoint  # noqa: E402
from export.conversion.onnx_tools import store_fp16  # noqa: E402
from export.regressor import regressor_to_onnx, round_to_fp16  # noqa: E402
from training.evaluation.synthetic import load_checkpoint  # noqa: E402
from training.networks.inputs import Observation  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402


def exported(config: LifterConfig) -> tuple[Lifter, onnx.ModelProto]:
    torch.manual_seed(5)
    network = Lifter(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # constants that are alike would be one
            parameter.add_(torch.randn_like(parameter) * 0.02)
    round_to_fp16(network)
    model = regressor_to_onnx(network)
    store_fp16(model)
    return network, model


@pytest.mark.parametrize("flow", [True, False])
def test_every_weight_comes_back(flow: bool) -> None:
    config = LifterConfig(48, 1, 24, 16, flow=flow, rounds=2, correction=32, memoryless_legs=flow)
    network, model = exported(config)
    read = checkpoint.weights_of(model, config).state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(read[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("other", [LifterConfig(64, 1, 24, flow=False), LifterConfig(48, 1, 24, flow=False, rounds=1)])
def test_another_network_is_refused(other: LifterConfig) -> None:
    _, model = exported(LifterConfig(48, 1, 24, flow=False))
    with pytest.raises(checkpoint.ExportedWeightsError, match="choose the experiment"):
        checkpoint.weights_of(model, other)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "missing.onnx"):
        with pytest.raises(checkpoint.ExportedWeightsError, match=name):
            checkpoint.main(tmp_path / "out.pt", str(tmp_path / name))


@pytest.mark.parametrize("name", ["motion", "keypoints"])
@torch.no_grad()
def test_the_shipped_weights_answer_as_the_shipped_model(tmp_path: Path, name: str) -> None:
    checkpoint.main(tmp_path / "start.pt", name, name)
    network = load_checkpoint(tmp_path / "start.pt")
    session = load_onnxruntime().InferenceSession(MODELS_FOLDER / f"{name}.onnx", providers=["CPUExecutionProvider"])
    taken = {put.name for put in session.get_inputs()}
    generator = np.random.default_rng(3)
    state, theirs = network.start_state(1), network.start_state(1).numpy()
    for _ in range(20):
        feeds = {
            "points": generator.normal(300, 60, (1, 17, 2)),
            "confidence": generator.uniform(0.3, 1, (1, 17)),
            "camera": np.array([[600.0, 600.0, 320.0, 240.0]]),
            "dt": np.array([1 / 30]),
            "flow": generator.normal(0, 0.01, (1, 32, 32, 2)),
            "box": np.array([[300.0, 300.0, 300.0]]),
            "flow_valid": np.ones(1),
        }
        feeds = {key: value.astype(np.float32) for key, value in feeds.items()}
        seen = Observation(*(torch.from_numpy(value)[:, None] for value in feeds.values()))
        mine = network(seen, state)
        state = mine.state
        given = {key: value for key, value in {**feeds, "state": theirs}.items() if key in taken}
        rotations, theirs = session.run(["rotations", "next_state"], given)
        assert np.abs(rotations - mine.rotations[:, 0].numpy()).max() < 1e-3
        assert np.abs(theirs - state.numpy()).max() < 5e-3 * max(1.0, float(np.abs(theirs).max()))
