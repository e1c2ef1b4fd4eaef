"""Export a trained regressor: python -m export.regressor --checkpoint FILE --motion FOLDER

The exported graph takes one frame and a state and gives a body and the next state, geometry included, so that nothing is
computed twice in two languages. It is compared with the trained network over a stream of frames before it is kept.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnxruntime
import torch
import typer
from torch import Tensor, nn

from body.lbs_torch import TorchBody
from body.model import load_body
from engines.manifest import MODELS_FOLDER
from export.manifest import ModelCard, ship
from export.onnx_tools import IR_VERSION, MAX_OPSET, check, store_fp16
from training.bank import NONE, MotionBank
from training.batches import Batch, BatchMaker
from training.evaluate import load_checkpoint, open_clips
from training.networks.lifter import Lifter
from training.noise import NoiseSampler, load_noise

INPUTS = ("points", "confidence", "camera", "dt", "state")
OUTPUTS = ("rotations", "betas", "pelvis", "next_state")
FRAMES = 100
"""Length of the stream on which graph and network are compared."""
TOLERANCE = 5e-3
"""Largest difference allowed after `FRAMES` frames: rotation entries, betas, share of the pelvis' distance."""


class LifterStep(nn.Module):
    """One frame of a `Lifter` for P people, in plain operators that every runtime has.

    Inputs: points (P, 17, 2) px, confidence (P, 17), camera (P, 4) fx, fy, cx, cy px, dt (P,) s, state (P, M).
    Outputs: rotations (P, 24, 3, 3), the first one to the camera frame; betas (P, 10); pelvis (P, 3) m; next_state.
    """

    def __init__(self, lifter: Lifter) -> None:
        super().__init__()
        self.lifter = lifter

    def forward(
        self, points: Tensor, confidence: Tensor, camera: Tensor, dt: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        net, gru, m = self.lifter, self.lifter.recurrent, self.lifter.config.memory
        into, again = (gru.get_parameter(f"{kind}_l0") for kind in ("weight_ih", "weight_hh"))
        into_bias, again_bias = (gru.get_parameter(f"{kind}_l0") for kind in ("bias_ih", "bias_hh"))
        x, turn, size = net.features(points, confidence, camera, dt)
        seen = net.frame(x)
        a = nn.functional.linear(net.into_memory(seen), into, into_bias)
        b = nn.functional.linear(state, again, again_bias)
        reset = torch.sigmoid(a[:, :m] + b[:, :m])
        update = torch.sigmoid(a[:, m : 2 * m] + b[:, m : 2 * m])
        fresh = torch.tanh(a[:, 2 * m :] + reset * b[:, 2 * m :])
        memory = (1 - update) * fresh + update * state
        raw = net.frame_head(seen) + net.merge(torch.cat([memory, seen], -1))
        return (*net.decode(raw, turn, size), memory)


def round_to_half(lifter: Lifter) -> Lifter:
    """Round all weights to float16 values, in place, so that they can be stored in half the space without loss."""
    with torch.no_grad():
        for parameter in lifter.parameters():
            parameter.copy_(parameter.half().float())
    return lifter


def to_onnx(lifter: Lifter) -> onnx.ModelProto:
    """The streaming graph of a trained network, for any number of people (see `LifterStep`)."""
    camera = torch.tensor([[600.0, 600.0, 320.0, 240.0]] * 2)
    dt = torch.full((2,), 1 / 30)
    example = (torch.rand(2, 17, 2) * 300, torch.rand(2, 17), camera, dt, lifter.start_state(2))
    buffer = io.BytesIO()
    torch.onnx.export(
        LifterStep(lifter).eval(),
        example,
        buffer,  # type: ignore[arg-type]  # the signature forgets file objects
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_axes={name: {0: "people"} for name in (*INPUTS, *OUTPUTS)},
        opset_version=MAX_OPSET,
        dynamo=False,
    )
    model = onnx.load_from_string(buffer.getvalue())
    model.ir_version = IR_VERSION
    return model


@torch.no_grad()
def parity(model: onnx.ModelProto, lifter: Lifter, batch: Batch) -> dict[str, float]:
    """Largest difference of each output between ``model``, run frame by frame in ONNX Runtime on its own state, and
    ``lifter``, run over the whole of ``batch`` at once. The pelvis' is a share of its distance."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    people, frames = batch.dt.shape
    whole = lifter(batch.points, batch.confidence, batch.camera, batch.dt, lifter.start_state(people))
    state = lifter.start_state(people).numpy()
    worst = dict.fromkeys(OUTPUTS[:3], 0.0)
    for t in range(frames):
        now = (batch.points, batch.confidence, batch.camera, batch.dt)
        feeds = {name: value[:, t].numpy() for name, value in zip(INPUTS, now, strict=False)} | {"state": state}
        *answers, state = session.run(list(OUTPUTS), feeds)
        for name, mine in zip(OUTPUTS, answers, strict=False):
            truth = getattr(whole, name)[:, t].numpy()
            unit = np.linalg.norm(truth, axis=-1).max() if name == "pelvis" else 1.0
            worst[name] = max(worst[name], float(np.abs(mine - truth).max() / unit))
    return worst


def main(
    checkpoint: Annotated[Path, typer.Option(help="checkpoint of a training run")],
    motion: Annotated[Path, typer.Option(help="motion for the stream that network and graph are compared on")],
    name: Annotated[str, typer.Option(help="name of the model, as in --regressor")] = "keypoints",
    output: Annotated[Path, typer.Option(help="folder of models with its manifest")] = MODELS_FOLDER,
    notes: Annotated[str, typer.Option(help="what the manifest says of the model")] = "",
) -> None:
    """Write a checkpoint's averaged weights as a streaming ONNX model and its row in the manifest."""
    lifter = load_checkpoint(checkpoint)
    maker = BatchMaker(
        MotionBank(open_clips(motion, "val"), seed=5), TorchBody(load_body()), NoiseSampler(load_noise(), 6), NONE
    )
    batch = maker.draw(4, FRAMES, 30.0)
    model = to_onnx(round_to_half(lifter))
    store_fp16(model)
    check(model)
    differences = parity(model, load_checkpoint(checkpoint), batch)
    for key, value in differences.items():
        print(f"{key:10s} differs by {value:.2e} at most over {FRAMES} frames")
    if not max(differences.values()) < TOLERANCE:
        raise SystemExit(f"the exported graph differs from the network by more than {TOLERANCE}")
    command = "python -m training.train, then python -m export.regressor"
    card = ModelCard(name, "regressor", None, "Apache-2.0", command, notes)
    path = ship(card, model.SerializeToString(), output)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
