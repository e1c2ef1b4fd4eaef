"""Accuracy in lower precision: ``python -m export.checks.precision_report``.

Each network against float32 on inputs recorded in the pipeline, and the whole pipeline on a video. Computed on the CPU in
float32 arithmetic that rounds wherever the GPU's graph does; a GPU's own order of summation is not included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from body.lbs import NumpyBody
from body.model import load_body
from body.rotations import matrix_to_axis_angle
from common.arrays import FloatArray
from common.command_line import run_command
from engines.choices import Precision
from engines.device import describe_device
from engines.engine import Arrays, Engine
from engines.manifest import resolve
from engines.ort import OnnxRuntimeEngine
from export.conversion.network import PipelineNetwork
from export.conversion.precision import ConvertedNetwork, compare_models, convert, distinct
from export.networks import CLIP, PipelineOutput, load_networks, record_samples, run_pipeline
from realtime.options import FlowMethod, KeypointModel, Options
from realtime.stages.keypoints.movenet import CONFIDENT

_LOWER: tuple[Precision, ...] = ("fp16", "int8")


def stream_joints(engine: Engine, frames: Sequence[Arrays]) -> FloatArray:
    """Joints (frames, 24, 3), m in the camera frame, of bodies that a regressor gives for a stream of its inputs. Each frame
    takes the state that this engine left."""
    body = NumpyBody(load_body())
    state = np.zeros_like(frames[0]["state"])
    found = []
    for feeds in frames:
        out = engine.infer({**feeds, "state": state})
        state = out["next_state"]
        pose = matrix_to_axis_angle(out["rotations"][0])
        body.set_shape(out["betas"][0])
        found.append(body.joints_only(pose[0], pose[1:], out["pelvis"][0]))
    return np.array(found, np.float32)


def stream_row(name: str, float32: bytes, twin: bytes, frames: Sequence[Arrays]) -> str:
    """A table's row: how far bodies of a regressor's ``twin`` are from those in float32, joints pelvis-aligned, and pelvis."""
    with OnnxRuntimeEngine(float32, label="fp32") as one, OnnxRuntimeEngine(twin, label="twin") as two:
        full, rounded = stream_joints(one, frames), stream_joints(two, frames)
    aligned = np.linalg.norm((full - full[:, :1]) - (rounded - rounded[:, :1]), axis=-1).mean(1) * 1e3
    pelvis = np.linalg.norm(full[:, 0] - rounded[:, 0], axis=-1) * 1e3
    return f"| {name} | {len(full)} | {aligned.mean():.2f} / {aligned.max():.2f} | {pelvis.mean():.2f} |"


def pipeline_table(float32: PipelineOutput, others: Mapping[str, PipelineOutput]) -> list[str]:
    """Rows of what the pipeline's answers change by: detected keypoints in px, joints in mm (pelvis-aligned), pelvis in mm."""
    rows = [
        "| precision | frames | keypoints mean / p95 px | MPJPE change mean / p95 mm | pelvis mean mm |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, other in others.items():
        both = np.intersect1d(float32.frames, other.frames)
        one, two = (motion.rows(both) for motion in (float32, other))
        seen = (one.confidence > CONFIDENT) & np.isfinite(two.confidence)
        moved = np.linalg.norm(one.keypoints - two.keypoints, axis=-1)[seen]
        aligned = (one.joints - one.joints[:, :1]) - (two.joints - two.joints[:, :1])
        known = np.isfinite(aligned).all((1, 2))
        error = np.linalg.norm(aligned[known], axis=-1).mean(1) * 1e3
        pelvis = np.linalg.norm(one.joints[known, 0] - two.joints[known, 0], axis=-1) * 1e3
        rows.append(
            f"| {name} | {known.sum()} of {len(float32.frames)} | {moved.mean():.2f} / {np.percentile(moved, 95):.2f} | "
            f"{error.mean():.2f} / {np.percentile(error, 95):.2f} | {pelvis.mean():.1f} |"
        )
    return rows


_Converted = dict[str, dict[str, ConvertedNetwork]]
"""Converted networks, by precision and name."""


def print_differences(
    networks: Mapping[str, PipelineNetwork],
    calibration: Mapping[str, list[Arrays]],
    samples: Mapping[str, list[Arrays]],
) -> _Converted:
    """Print a row for each output of each network in each lower precision as soon as it is known; returns the networks."""
    print("| network | precision | what | output | mean size | max difference | mean difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    converted: _Converted = {}
    for precision in _LOWER:
        for name, network in networks.items():
            found = convert(network, precision, calibration[name])
            converted.setdefault(precision, {})[name] = found
            for gap in (
                compare_models(network.data, found.twin, samples[name]) if precision in distinct(network) else ()
            ):
                print(
                    f"| {name} | {precision} | {found.remark} | {gap.output} | {gap.size:.3g} | {gap.most:.2e} | "
                    f"{gap.mean:.2e} |",
                    flush=True,
                )
    return converted


def print_streams(
    networks: Mapping[str, PipelineNetwork], samples: Mapping[str, list[Arrays]], converted: _Converted
) -> None:
    """Print a row for each regressor: bodies of a stream in fp16 against fp32."""
    regressors = [name for name, network in networks.items() if network.kind == "regressor" and samples[name]]
    if regressors:
        print("\nBodies of a stream, the same inputs, each precision with its own state, fp16 against fp32:\n")
        print("| regressor | frames | joints mean / worst frame mm | pelvis mean mm |\n| --- | --- | --- | --- |")
        for name in regressors:
            print(stream_row(name, networks[name].data, converted["fp16"][name].twin, samples[name]))


def run_converted(options: Options, graphs: Mapping[str, ConvertedNetwork]) -> PipelineOutput:
    """Run the pipeline with ``graphs`` in place of the shipped networks of the same names."""

    def opener(model: str | Path) -> Engine:
        file = resolve(model)
        return OnnxRuntimeEngine(graphs[file.name].twin if file.name in graphs else file.read(), label=file.name)

    return run_pipeline(options, opener)


def main(
    video: Annotated[Path, typer.Option(help="what the pipeline is run on")] = CLIP,
    frames: Annotated[int, typer.Option(min=2, help="frames of it")] = 45,
    networks: Annotated[str, typer.Option(help="names of networks, with commas; all by default")] = "",
    keypoints: Annotated[KeypointModel, typer.Option(help="for the pipeline")] = "fast",
    flow: Annotated[FlowMethod, typer.Option(help="for the pipeline")] = "raft",
    focal: Annotated[float | None, typer.Option(help="focal length of the video, px")] = None,
    save: Annotated[Path | None, typer.Option(help="folder for the motion of each precision")] = None,
    regressor: Annotated[str, typer.Option(help="the pipeline's regressor, as in run_camera.py")] = Options().regressor,
) -> None:
    """Print the difference to float32 of every network, and of the pipeline."""
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    chosen = load_networks([name for name in networks.split(",") if name] or None)
    # Always calibrated on the rendered clip: the video is the test set.
    calibration = record_samples(chosen, CLIP, 45)
    samples = calibration if video == CLIP else record_samples(chosen, video, frames)
    print(f"Differences to fp32 on {video.name}, {frames} frames; {describe_device()}, ONNX Runtime.\n")
    converted = print_differences(chosen, calibration, samples)
    print_streams(chosen, samples, converted)

    options = Options(
        source=str(video),
        keypoints=keypoints,
        flow=flow,
        regressor=regressor,
        focal=focal,
        frames=frames,
        quality="live",
        persons=1,
    )

    def run(precision: Precision) -> PipelineOutput:
        saved = (save / f"{precision}.npz",) if save else ()
        return run_converted(replace(options, save=saved), converted.get(precision, {}))

    print(f"\nThe pipeline, --keypoints {keypoints} --flow {flow} --regressor {regressor}, against itself in fp32:\n")
    float32 = run("fp32")
    print("\n".join(pipeline_table(float32, {precision: run(precision) for precision in _LOWER})))


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.checks.precision_report --frames 20")
