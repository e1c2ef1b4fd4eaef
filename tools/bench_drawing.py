"""Measures drawing: ``python -m tools.bench_drawing [IMAGE.png]`` prints a small table, and saves what was drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from body.lbs import NumpyBody
from body.model import load_body
from common.arrays import FloatArray, ImageArray
from common.camera import Camera
from common.command_line import run_command
from common.errors import UserError
from realtime.draw.annotated_frame import AnnotatedFramePainter
from realtime.draw.error_plot import save_plot
from realtime.draw.mannequin import mannequin_for
from realtime.draw.painter import Figures, MeshPainter, skeleton, text_line, warm_up
from realtime.draw.side_view import SideView
from realtime.records import BodyEstimate, Frame, Keypoints, Result

_CAMERA = Camera(600, 600, 319.5, 239.5)


def standing(body: NumpyBody, x: float, z: float, turn: float = 0.4) -> tuple[FloatArray, FloatArray]:
    """Vertices and joints of a person who stands, pelvis at (``x``, 0, ``z``) metres, turned by ``turn`` radians."""
    pose = np.zeros((23, 3), np.float32)
    pose[15, 2], pose[16, 2] = -1.1, 1.1  # upper arms down
    pose[17, 1], pose[18, 1] = -0.5, 0.9  # elbows
    pose[0, 0], pose[3, 0] = -0.35, 0.5  # a step
    upright = cv2.Rodrigues(np.array([np.pi, 0, 0.0]))[0] @ cv2.Rodrigues(np.array([0, turn, 0.0]))[0]
    orient = cv2.Rodrigues(upright)[0].ravel().astype(np.float32)
    return body.pose(orient, pose, np.array([x, 0, z], np.float32))


def estimate(body: NumpyBody, person: int, x: float, z: float, camera: Camera = _CAMERA) -> BodyEstimate:
    """A person as the pipeline would report it, its keypoints seen without error."""
    vertices, joints = standing(body, x, z, 0.4 + 0.5 * person)
    coco = body.coco(vertices)
    points = camera.project(coco)
    keypoints = Keypoints(0, person, points.astype(np.float32), np.ones(17, np.float32))
    empty = np.zeros(3, np.float32)
    return BodyEstimate(
        0, person, empty, np.zeros((23, 3), np.float32), np.zeros(10, np.float32), joints[0], joints, coco, vertices,
        keypoints,
    )  # fmt: skip


def backdrop(height: int = 480, width: int = 640) -> ImageArray:
    """A blurred random image, where no video is given."""
    small = np.random.default_rng(3).integers(70, 170, (5, 7, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def milliseconds(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Median and 95th percentile of the CPU time of ``work`` in ms, without its first run."""
    work()
    spent = []
    for _ in range(runs):
        start = time.thread_time()
        work()
        spent.append(1e3 * (time.thread_time() - start))
    return float(np.median(spent)), float(np.percentile(spent, 95))


def bench_bodies(image: ImageArray, runs: int) -> Iterator[tuple[str, float, tuple[float, float]]]:
    """For both bodies at several distances: what is drawn, the percentage of the image that it covers, and its times."""
    for name in ("body_6890", "body_1722"):
        body = NumpyBody(load_body(name))
        mannequin = mannequin_for(body.arrays)
        painter = MeshPainter(mannequin)
        for label, places in (
            ("far", [(0.0, 6.0)]),
            ("whole", [(0.0, 2.6)]),
            ("a quarter of the image", [(0.0, 1.45)]),
            ("two", [(-0.5, 3.0), (0.5, 3.6)]),
        ):
            people = mannequin.dress([estimate(body, person, *place) for person, place in enumerate(places)])
            times = milliseconds(partial(painter.paint_people, image.copy(), people, _CAMERA), runs)
            yield f"{name}, {label}", 100 * float((painter.raster.inverse_depth > 0).mean()), times


def bench_frame(image: ImageArray, runs: int) -> tuple[dict[str, tuple[float, float]], ImageArray]:
    """The times of what an annotated frame of two people consists of, by name, and the frame itself."""
    body = NumpyBody(load_body())
    mannequin = mannequin_for(body.arrays)
    people = (estimate(body, 0, -0.35, 2.6), estimate(body, 1, 0.55, 3.4))
    dressed = mannequin.dress(people)
    result = Result(Frame(0, 0, 0.0, image), _CAMERA, people, 0)
    shown = Figures(29.7, 68, len(people))
    side, panel = SideView(mannequin, 480, 360), np.empty((480, 360, 3), np.uint8)
    whole = AnnotatedFramePainter(mannequin, side_view=True)
    canvas = image.copy()
    parts: dict[str, Callable[[], object]] = {
        "clothes of two people": lambda: mannequin.dress(people),
        "keypoints of one person": lambda: skeleton(canvas, people[0].keypoints),
        "line of figures": lambda: text_line(canvas, str(shown)),
        "side view 360x480, one person": lambda: side.paint(panel, dressed[:1]),
        "whole frame, two people": lambda: whole.paint(result, shown),
    }
    return {label: milliseconds(work, runs) for label, work in parts.items()}, whole.paint(result, shown)


def main(
    image_path: Annotated[
        Path | None, typer.Argument(metavar="IMAGE", help="write the last annotated image here (.png)")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="how often each part is drawn")] = 200,
) -> None:
    """Print how long the parts of an annotated frame take to draw."""
    if image_path is not None and image_path.suffix.lower() != ".png":
        raise UserError(f"{image_path}: give a file name that ends in .png")
    cv2.setNumThreads(1)
    print(f"loops ready after {warm_up():.1f} s (seconds only when there was no cache)\n")
    print(f"{f'640x480, {runs} runs':34} {'body on %':>9} {'median ms':>10} {'p95 ms':>8}")
    image = backdrop()
    for label, covered, (median, high) in bench_bodies(image, runs):
        print(f"{label:34} {covered:9.1f} {median:10.2f} {high:8.2f}")
    times, drawn = bench_frame(image, runs)
    for label, (median, high) in times.items():
        print(f"{label:34} {'':9} {median:10.2f} {high:8.2f}")
    if image_path is not None:
        save_plot(image_path, drawn)


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.bench_drawing out/drawn.png")
