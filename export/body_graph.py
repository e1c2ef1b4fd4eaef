"""The body as an ONNX file, compared with the body that poses on the CPU: ``python -m export.body_graph``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer

from body.joints import JOINT_NAMES
from body.lbs import NumpyBody
from body.lbs_onnx import BODY_OUTPUTS, body_to_onnx
from body.model import BodyArrays, load_body
from body.packed import BETAS
from body.rotations import axis_angle_to_matrix
from common.arrays import FloatArray
from common.command_line import run_command
from common.files import write_bytes_atomically
from engines.device import describe_device
from engines.openvino_cpu import OpenVinoEngine
from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import OnnxError, check
from export.conversion.operators import check_operators

TOLERANCE_MM = 0.01
"""Largest accepted distance from `NumpyBody`."""


def sample_poses(count: int, seed: int = 0) -> dict[str, FloatArray]:
    """Inputs of ``count`` people in random poses and shapes, a few metres before the camera.

    ``pose`` (N, 24, 3) is the axis-angle pose that the rotations were made of.
    """
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.6, (count, len(JOINT_NAMES), 3)).astype(np.float32)
    return {
        "betas": rng.normal(0, 1.5, (count, BETAS)).astype(np.float32),
        "rotations": axis_angle_to_matrix(pose).astype(np.float32),
        "translation": rng.uniform((-1, -1, 2), (1, 1, 6), (count, 3)).astype(np.float32),
        "pose": pose,
    }


def body_parity(model: bytes, arrays: BodyArrays, people: int = 16) -> dict[str, float]:
    """Largest distance of each output from `NumpyBody`, mm, over random people posed one by one and all at once."""
    poses = sample_poses(people)
    pose = poses.pop("pose")
    body = NumpyBody(arrays)
    worst = dict.fromkeys(BODY_OUTPUTS, 0.0)
    with OnnxRuntimeEngine(model, label="body") as engine:
        together = engine.infer(poses)
        for person in range(people):
            body.set_shape(poses["betas"][person])
            vertices, joints = body.pose(pose[person, 0], pose[person, 1:], poses["translation"][person])
            truth = vertices, joints, body.coco(vertices)
            alone = engine.infer({name: array[person : person + 1] for name, array in poses.items()})
            for name, expected in zip(BODY_OUTPUTS, truth, strict=True):
                for found in (alone[name][0], together[name][person]):
                    gap = np.linalg.norm(found - expected, axis=-1).max() * 1e3
                    worst[name] = max(worst[name], float(gap))
    return worst


def timings(model: bytes, arrays: BodyArrays, repeats: int = 200) -> dict[str, float]:
    """Median ms that one person's pose takes on this CPU, one thread, with `NumpyBody` and with the graph in each runtime."""
    poses = sample_poses(1)
    pose = poses.pop("pose")[0]
    body = NumpyBody(arrays)

    def by_hand() -> None:
        body.set_shape(poses["betas"][0])
        vertices, _ = body.pose(pose[0], pose[1:], poses["translation"][0])
        body.coco(vertices)

    found = {"numba": _median_ms(by_hand, repeats)}
    for kind in (OnnxRuntimeEngine, OpenVinoEngine):
        with kind(model, label="body") as engine:
            found[kind.runtime] = _median_ms(lambda engine=engine: engine.infer(poses), repeats)  # type: ignore[misc]
    return found


def _median_ms(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + repeats // 10):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times[repeats // 10 :]))


def main(
    body: Annotated[Path | None, typer.Option(help="a licensed SMPL .pkl/.npz or another SMPL-layout file")] = None,
    output: Annotated[Path, typer.Option(help="the ONNX file to write")] = Path("out/body.onnx"),
) -> None:
    """Write a body as an ONNX model, after comparing it with the body that poses on the CPU, in numbers and in time."""
    arrays = load_body(body)
    data = body_to_onnx(arrays)
    model = onnx.load_from_string(data)
    check(model)
    check_operators(model)
    worst = body_parity(data, arrays)
    for name, gap in worst.items():
        print(f"{name:9s} differ by {gap:.5f} mm at most")
    # Written so that NaN fails too.
    if not max(worst.values()) <= TOLERANCE_MM:
        raise OnnxError(f"the exported graph differs from the body by more than {TOLERANCE_MM} mm")
    print(", ".join(f"{name} {ms:.2f} ms" for name, ms in timings(data, arrays).items()), f"on {describe_device()}")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(output, data)
    print(f"{output}: {len(data) / 1e6:.2f} MB")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.body_graph --body SMPL_NEUTRAL.pkl --output out/body.onnx")
