"""Export a trained regressor: python -m export.regressor --checkpoint FILE --motion FOLDER

The exported graph takes one frame and a state and gives a body and the next state, geometry included, so that nothing is
implemented twice. It is compared with the trained network over a stream of frames before it is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import torch
import typer
from torch import Tensor, nn

from body.joints import JOINTS, KEYPOINTS
from body.lbs_torch import TorchBody
from body.model import load_body
from body.packed import BETAS
from body.soles import CONTACTS
from common.command_line import run_command
from engines.manifest import MODELS_FOLDER
from engines.ort import load_onnxruntime
from export.conversion.kinematics import SkeletonGraph
from export.conversion.onnx_tools import check, drop_identities, normalise, store_fp16
from export.conversion.shapes import fix_shapes
from export.conversion.tracing import trace
from export.manifest import ModelCard, completed, ship
from training.evaluation.synthetic import load_checkpoint
from training.motion.bank import NONE, MotionBank
from training.motion.opening import open_clips
from training.networks.inputs import FLOW_CELLS, Observation
from training.networks.keypoint_filter import sample_flow
from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig
from training.simulation.batches import Batch, BatchMaker, FlowSource
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import FlowGrid
from training.simulation.flow_noise import FlowDegrader, load_flow_noise

REGRESSOR_INPUTS = ("points", "confidence", "camera", "dt", "state")
REGRESSOR_FLOW_INPUTS = ("flow", "box", "flow_valid")
REGRESSOR_OUTPUTS = (
    *("rotations", "betas", "pelvis", "steady_points", "joint_error", "contact"),
    *("betas_sigma", "up", "up_sigma", "root_velocity", "next_state"),
)
_FRAMES = 100
"""Length of the stream on which graph and network are compared."""
TOLERANCE = 5e-4
"""Largest difference allowed between graph and network over `_FRAMES` frames: rotation entries, betas, share of the pelvis'
distance, rays."""
ROUNDING_MM = 1.0
"""Allowed for what rounding the weights moves joints by, 99th percentile. The largest says little: where a keypoint is
hardly seen, the last digit decides whether the keypoint filter believes it."""


class _Streaming(Lifter):
    """A `Lifter` whose kinematics and reading of flow are written in plain operators, for one frame at a time."""

    def __init__(self, config: LifterConfig) -> None:
        super().__init__(config)
        if self.filter is not None:
            self.filter.sample = sample_flow
        if config.rounds:
            self.mechanics.body = SkeletonGraph(TorchBody(load_body()))

    def read_flow(self, seen: Observation) -> tuple[Tensor, Tensor]:
        vectors, behind = self.flow_encoder(seen.flow[:, 0], seen.flow_valid[:, 0], seen.dt[:, 0])
        return vectors, behind


class LifterStep(nn.Module):
    """One frame of a `Lifter` for P people.

    Inputs: points (P, 17, 2) px, confidence (P, 17), camera (P, 4) fx, fy, cx, cy px, dt (P,) s, state (P, M); where the
    network reads flow, also flow (P, 32, 32, 2) in sides of the region, box (P, 3) the region's centre and side in px, and
    flow_valid (P,) 1 or 0.
    Outputs: rotations (P, 24, 3, 3), the first one to the camera frame; betas (P, 10); pelvis (P, 3) m; steady_points
    (P, 17, 2) px, the filtered keypoints; joint_error (P, 24) m, the error it expects; contact (P, 4)
    0..1, how surely left heel, left toes, right heel and right toes stand; betas_sigma (P, 10), standard deviations; up (P, 3),
    the unit vector away from the ground in the camera frame, and up_sigma (P,) rad, the error it expects; root_velocity (P, 3)
    m/s of the pelvis over the ground, in the root's own axes; next_state (P, M).
    """

    def __init__(self, lifter: Lifter) -> None:
        super().__init__()
        self.lifter = _Streaming(lifter.config)
        self.lifter.load_state_dict(lifter.state_dict())

    def forward(
        self,
        points: Tensor,
        confidence: Tensor,
        camera: Tensor,
        dt: Tensor,
        state: Tensor,
        flow: Tensor | None = None,
        box: Tensor | None = None,
        flow_valid: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """One frame; see above."""
        if flow is None or box is None or flow_valid is None:
            flow, flow_valid = points.new_zeros(1, FLOW_CELLS, FLOW_CELLS, 2), torch.zeros_like(dt)
            box = torch.cat([camera[:, 2:], camera[:, :1]], -1)
        now = (points, confidence, camera, dt, flow, box, flow_valid)
        lifted = self.lifter(Observation(*(part[:, None] for part in now)), state)
        steady = lifted.rays[:, 0] * camera[:, None, :2] + camera[:, None, 2:]
        body = (lifted.rotations[:, 0], lifted.betas[:, 0], lifted.pelvis[:, 0])
        world = (lifted.up[:, 0], lifted.up_error[:, 0].clamp(-5, 1).exp(), lifted.root_velocity[:, 0])
        sure = (lifted.joint_error[:, 0].exp(), torch.sigmoid(lifted.contact[:, 0]), lifted.betas_deviation[:, 0])
        return (*body, steady, *sure, *world, lifted.state)


def inputs_of(lifter: Lifter) -> tuple[str, ...]:
    """Names of the inputs that the network's graph has."""
    return (*REGRESSOR_INPUTS, *REGRESSOR_FLOW_INPUTS) if lifter.config.flow else REGRESSOR_INPUTS


def round_to_fp16(lifter: Lifter) -> Lifter:
    """Round all weights to float16 values, in place, so that they can be stored in half the space without loss."""
    with torch.no_grad():
        for parameter in lifter.parameters():
            parameter.copy_(parameter.half().float())
    return lifter


def regressor_to_onnx(lifter: Lifter) -> onnx.ModelProto:
    """The streaming graph of a trained network, for any number of people (see `LifterStep`)."""
    camera = torch.tensor([[600.0, 600.0, 320.0, 240.0]] * 2)
    dt = torch.full((2,), 1 / 30)
    example: tuple[Tensor, ...] = (torch.rand(2, 17, 2) * 300, torch.rand(2, 17), camera, dt, lifter.start_state(2))
    names = inputs_of(lifter)
    if lifter.config.flow:
        example += (
            torch.rand(2, FLOW_CELLS, FLOW_CELLS, 2) * 0.01,
            torch.tensor([[300.0, 200.0, 300.0]] * 2),
            torch.ones(2),
        )
    sizes = ((JOINTS, 3, 3), (BETAS,), (3,), (KEYPOINTS, 2), (JOINTS,), (len(CONTACTS),), (BETAS,), (3,), (), (3,))
    model = trace(LifterStep(lifter), example, names, REGRESSOR_OUTPUTS, (*sizes, (lifter.state_size,)))
    fix_shapes(model, {name: value.numpy() for name, value in zip(names, example, strict=True)})
    drop_identities(model)
    normalise(model)
    return model


@torch.no_grad()
def regressor_parity(model: onnx.ModelProto, lifter: Lifter, batch: Batch) -> dict[str, float]:
    """Largest difference of each output between ``model``, run frame by frame in ONNX Runtime on its own state, and
    ``lifter``, run over the whole of ``batch`` at once. The pelvis' is a share of its distance, the keypoints' is in rays."""
    session = load_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    people, frames = batch.seen.dt.shape
    whole = lifter(batch.seen, lifter.start_state(people))
    state = lifter.start_state(people).numpy()
    truth = {"rotations": whole.rotations, "betas": whole.betas, "pelvis": whole.pelvis, "steady_points": whole.rays}
    truth["up"] = whole.up
    worst = dict.fromkeys(truth, 0.0)
    focal, centre = batch.seen.camera[:, 0, None, :2].numpy(), batch.seen.camera[:, 0, None, 2:].numpy()
    names = [name for name in inputs_of(lifter) if name != "state"]
    for t in range(frames):
        feeds = {name: getattr(batch.seen, name)[:, t].numpy() for name in names} | {"state": state}
        answers = dict(zip(REGRESSOR_OUTPUTS, session.run(list(REGRESSOR_OUTPUTS), feeds), strict=True))
        state = answers["next_state"]
        answers["steady_points"] = (answers["steady_points"] - centre) / focal
        for name, wanted in truth.items():
            true = wanted[:, t].numpy()
            unit = np.linalg.norm(true, axis=-1).max() if name == "pelvis" else 1.0
            worst[name] = max(worst[name], float(np.abs(answers[name] - true).max() / unit))
    return worst


@torch.no_grad()
def moved_by_rounding(exact: Lifter, rounded: Lifter, body: TorchBody, batch: Batch) -> Tensor:
    """Distances (people, frames, 24), mm, of the joints that both networks see in ``batch``, relative to the pelvis."""
    joints = []
    for network in (exact, rounded):
        lifted = network(batch.seen, network.start_state(len(batch.betas)))
        joints.append(body.skeleton(lifted.rotations, lifted.betas)[0])
    return 1000 * (joints[0] - joints[1]).norm(dim=-1)


def main(
    checkpoint: Annotated[Path, typer.Option(help="checkpoint of a training run")],
    motion: Annotated[Path, typer.Option(help="motion for the stream that network and graph are compared on")],
    name: Annotated[str, typer.Option(help="name of the model, as in --regressor")] = "motion",
    output: Annotated[Path, typer.Option(help="folder of models with its manifest")] = MODELS_FOLDER,
    command: Annotated[
        str, typer.Option(help="the commands that made it, for the manifest (default: as it says)")
    ] = "",
    notes: Annotated[str, typer.Option(help="what the manifest says of the model (default: as it says)")] = "",
) -> None:
    """Write a checkpoint's averaged weights as a streaming ONNX model and its row in the manifest."""
    lifter, body = round_to_fp16(load_checkpoint(checkpoint)), TorchBody(load_body())
    bank, noise = MotionBank(open_clips(motion, "val"), seed=5), NoiseSampler(load_noise(), 6)
    flow = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 7)) if lifter.config.flow else None
    maker = BatchMaker(bank, body, noise, NONE, flow=flow)
    batch = maker.draw(4, _FRAMES, 30.0)
    moved = moved_by_rounding(load_checkpoint(checkpoint), lifter, body, batch)
    most = float(moved.quantile(0.99))
    print(
        f"rounding the weights moves joints by {float(moved.mean()):.2f} mm on average, 99 % by less than {most:.2f} mm"
    )
    # Written so that NaN fails too.
    if not most < ROUNDING_MM:
        raise SystemExit(f"rounding the weights moves joints by more than {ROUNDING_MM} mm: were they trained?")
    model = regressor_to_onnx(lifter)
    store_fp16(model)
    check(model)
    differences = regressor_parity(model, lifter, batch)
    for key, value in differences.items():
        print(f"{key:10s} differs by {value:.2e} at most over {_FRAMES} frames")
    if not max(differences.values()) < TOLERANCE:
        raise SystemExit(f"the exported graph differs from the network by more than {TOLERANCE}")
    card = completed(ModelCard(name, "regressor", None, "Apache-2.0", command, notes), output)
    path = ship(card, model.SerializeToString(), output)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_command(
        main,
        examples="Example: python -m export.regressor --checkpoint runs/motion/checkpoint.pt --motion motion.npz",
    )
