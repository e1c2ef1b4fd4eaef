"""The body as an ONNX model: python -m export.body_graph

With it on a GPU, what leaves the device is what is drawn. Numbers, frames and the meaning of ``translation`` are those of
`body.lbs.NumpyBody`: metres, camera frame, the pelvis joint goes where the translation says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from body.errors import BodyError
from body.joints import JOINT_NAMES, PARENTS
from body.lbs import NumpyBody
from body.lbs_torch import TorchBody
from body.model import BodyArrays, load_body
from body.packed import BETAS
from body.rotations import axis_angle_to_matrix
from engines.ort import OnnxRuntimeEngine
from export.manifest import write_atomically
from export.onnx_tools import check
from export.tracing import trace

INPUTS = ("betas", "rotations", "translation")
OUTPUTS = ("vertices", "joints")
TOLERANCE_MM = 0.01
"""Largest distance from `NumpyBody` that is let pass."""

_JOINTS = len(JOINT_NAMES)
_ROUNDS = 4
"""Doublings that reach over the tree's eight bones from the pelvis to a hand."""


class BodyGraph(nn.Module):
    """A `TorchBody` for N people in operators that every runtime has, without a loop over the tree's levels.

    Inputs: betas (N, 10), clamped to the body's limit; rotations (N, 24, 3, 3) local, root included; translation (N, 3)
    of the pelvis, m. Outputs: vertices (N, V, 3) and joints (N, 24, 3), m, in the camera frame.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        super().__init__()
        self.body = TorchBody(arrays)
        self.limit = min(arrays.beta_limit, float(np.finfo(np.float32).max))
        moved = self.body.get_buffer("moved").numpy()
        # Vertices that no corrective moves take the row of zeros behind the last corrective.
        row = np.full(arrays.vertex_count, len(moved))
        row[moved] = np.arange(len(moved))
        self.register_buffer("row", torch.from_numpy(row), persistent=False)
        self.register_buffer("last_row", torch.tensor([0.0, 0.0, 0.0, 1.0]), persistent=False)
        self.register_buffer("identity", torch.eye(4), persistent=False)
        # One more joint, which never moves, is the pelvis' parent and its own.
        parents = torch.tensor([_JOINTS if parent < 0 else parent for parent in (*PARENTS, -1)])
        for number in range(_ROUNDS):
            self.register_buffer(f"ancestor{number}", parents, persistent=False)
            parents = parents[parents]
        assert bool((parents == _JOINTS).all()), "the tree is deeper than the doublings reach"

    def forward(self, betas: Tensor, rotations: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
        constant = self.body.get_buffer
        clamped = betas.clamp(-self.limit, self.limit)
        features = torch.cat([clamped[:, :1] * 0 + 1, clamped], 1)
        bones = (features @ constant("offsets").T).reshape(-1, _JOINTS, 3, 1)
        frames = self._walk(rotations, bones)
        turns, places = frames[:, :, :3, :3], frames[:, :, :3, 3:]
        rest = (features @ constant("rest_joints")).reshape(-1, _JOINTS, 3, 1)
        # Each joint's motion from the rest body, which is what skin takes on: p ↦ turn · (p - rest) + place.
        motions = torch.cat([turns, places - turns @ rest], 3).reshape(-1, _JOINTS, 12)
        feature = (rotations[:, 1:] - self.get_buffer("identity")[:3, :3]).reshape(-1, 207)
        correction = (feature @ constant("posedirs")).reshape(-1, constant("moved").numel(), 3)
        correction = torch.cat([correction, correction[:, :1] * 0], 1)[:, self.get_buffer("row")]
        shaped = (features @ constant("rest_vertices")).reshape(-1, constant("weights").shape[0], 3) + correction
        blend = (constant("weights") @ motions).reshape(-1, constant("weights").shape[0], 3, 4)
        skin = (blend[..., :3] * shaped[:, :, None]).sum(3) + blend[..., 3]
        return skin + translation[:, None], places[..., 0] + translation[:, None]

    def _walk(self, rotations: Tensor, bones: Tensor) -> Tensor:
        """Frame of every joint (N, 24, 4, 4) from local rotations and bones (N, 24, 3, 1).

        Each round multiplies a joint's frame with that of the ancestor where it ends, and so doubles its reach.
        """
        upper = torch.cat([rotations, bones], 3)
        lower = upper[:, :, :1] * 0 + self.get_buffer("last_row")
        frames = torch.cat([upper, lower], 2)
        still = frames[:, :1] * 0 + self.get_buffer("identity")
        for number in range(_ROUNDS):
            whole = torch.cat([frames, still], 1)
            frames = whole[:, self.get_buffer(f"ancestor{number}")[:_JOINTS]] @ frames
        return frames


def to_onnx(arrays: BodyArrays) -> onnx.ModelProto:
    """The body as an ONNX model for any number of people (see `BodyGraph`)."""
    example = (torch.zeros(2, BETAS), torch.eye(3).repeat(2, _JOINTS, 1, 1), torch.zeros(2, 3))
    model = trace(BodyGraph(arrays), example, INPUTS, OUTPUTS, ((arrays.vertex_count, 3), (_JOINTS, 3)))
    check(model)
    return model


def sample_poses(count: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Inputs of ``count`` people in random poses and shapes, a few metres before the camera, with the axis-angle
    ``pose`` (N, 24, 3) that the rotations were made of."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.6, (count, _JOINTS, 3)).astype(np.float32)
    return {
        "betas": rng.normal(0, 1.5, (count, BETAS)).astype(np.float32),
        "rotations": axis_angle_to_matrix(pose).astype(np.float32),
        "translation": rng.uniform((-1, -1, 2), (1, 1, 6), (count, 3)).astype(np.float32),
        "pose": pose,
    }


def parity(model: bytes, arrays: BodyArrays, people: int = 16) -> dict[str, float]:
    """Largest distance of each output from `NumpyBody`, mm, over random people posed one by one and all at once."""
    poses = sample_poses(people)
    pose = poses.pop("pose")
    body = NumpyBody(arrays)
    worst = dict.fromkeys(OUTPUTS, 0.0)
    with OnnxRuntimeEngine(model, label="body") as engine:
        together = {name: array.copy() for name, array in engine.infer(poses).items()}
        for person in range(people):
            body.set_shape(poses["betas"][person])
            truth = body.pose(pose[person, 0], pose[person, 1:], poses["translation"][person])
            alone = engine.infer({name: array[person : person + 1] for name, array in poses.items()})
            for name, expected in zip(OUTPUTS, truth, strict=True):
                for found in (alone[name][0], together[name][person]):
                    gap = np.linalg.norm(found - expected, axis=-1).max() * 1e3
                    worst[name] = max(worst[name], float(gap))
    return worst


def main(
    body: Annotated[Path | None, typer.Option(help="a licensed SMPL .pkl/.npz or another SMPL-layout file")] = None,
    output: Annotated[Path, typer.Option(help="the ONNX file to write")] = Path("out/body.onnx"),
) -> None:
    """Write a body as an ONNX model, after comparing it with the body that poses on the CPU."""
    try:
        arrays = load_body(body)
    except BodyError as error:
        raise SystemExit(str(error)) from None
    data = to_onnx(arrays).SerializeToString()
    worst = parity(data, arrays)
    for name, gap in worst.items():
        print(f"{name:8s} differ by {gap:.5f} mm at most")
    # Written so that NaN fails too.
    if not max(worst.values()) <= TOLERANCE_MM:
        raise SystemExit(f"the exported graph differs from the body by more than {TOLERANCE_MM} mm")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, data)
    print(f"{output}: {len(data) / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
