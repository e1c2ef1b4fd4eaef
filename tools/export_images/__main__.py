"""Makes the images of docs/exports.md: python -m tools.export_images out/demo.npz

A motion is exported, and what other programs read of it is shown: the .glb and a .bvh as Blender renders them, and the markers
of a .trc as OpenSim reads them beside angles of the .csv. make readers installs both programs, which takes 1.2 GB.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import typer

from body.joints import JOINT_NAMES
from common.arrays import AnyFloatArray, DoubleArray, ImageArray
from common.command_line import run_command
from common.errors import UserError
from formats.axes import Z_UP
from formats.motion import Motion, body_of
from formats.save import open_motion
from realtime.sources import open_source
from tools.asset_manifest import add_rows
from tools.export_images.figure import Markers, draw_markers_and_angles, read_angles
from tools.gallery import ASSETS
from tools.round_trips.comparisons import Exported, exported
from tools.round_trips.programs import read_with_opensim, run_script

RENDER: Final = Path(__file__).parent / "render.py"
IMAGES: Final = ("exports/blender-glb.jpg", "exports/blender-bvh.jpg", "exports/opensim.png")
"""Paths in `ASSETS`."""
_ABOUT: Final = {
    "origin": "rendered from what was exported of the motion in Demo/demo.mp4 of the package sports2d 0.8.34",
    "licence": "BSD-3-Clause (Copyright (c) 2022, perfanalytics; LICENSE.sports2d.txt), rendering Apache-2.0",
}
_HALF: Final = (480, 270)
_WIDE: Final = (960, 300)
_INSTANTS: Final = 8
_RENDER_S: Final = 600.0  # most of it is waiting for others, where a machine is busy
_LENS_MM: Final = 50.0
_WIDTH_MM: Final = 36.0  # of the sensor of Blender's cameras


def main() -> None:
    """The program's entry."""
    run_command(export_images, examples="Example: python -m tools.export_images out/demo.npz")


def export_images(
    motion: Annotated[Path, typer.Argument(help="a motion of several people, as make demo writes out/demo.npz")],
    video: Annotated[str, typer.Option(help="the video it was made from")] = "demo",
    second: Annotated[float, typer.Option(help="when everybody is shown, seconds")] = 3.4,
    walker: Annotated[int, typer.Option(help="the person shown alone, by the number in the motion")] = 1,
    start: Annotated[float, typer.Option(help="when that person is whole in the video, seconds")] = 1.6,
    end: Annotated[float, typer.Option(help="until when, seconds")] = 6.3,
    folder: Annotated[Path, typer.Option(help="where the images go, and the manifest with their rows")] = ASSETS,
) -> None:
    """Export a motion, let Blender and OpenSim read it, and make an image of each."""
    saved = open_motion(motion)
    with tempfile.TemporaryDirectory() as work:
        given = exported(saved, body_of(saved), Path(work))
        number = _number_of(given, walker, (start, end))
        (folder / "exports").mkdir(parents=True, exist_ok=True)
        glb, bvh, figure = (folder / name for name in IMAGES)
        _write(glb, _meshes(given, video, second))
        _write(bvh, _bones(given, number, np.linspace(start, end, _INSTANTS)))
        _markers_and_angles(given, number, (start, end), figure)
    add_rows(folder, dict.fromkeys(IMAGES, _ABOUT), "python -m tools.export_images out/demo.npz")
    for name in IMAGES:
        print(f"{folder / name}: {(folder / name).stat().st_size / 1e3:.0f} kB")


def _number_of(given: Exported, walker: int, seconds: tuple[float, float]) -> int:
    """The place of the ``walker`` among the tracks."""
    for number, track in enumerate(given.tracks):
        if track.person == walker:
            first, last = track.time_s[0], track.time_s[-1]
            if not first <= seconds[0] < seconds[1] <= last:
                raise UserError(
                    f"person {walker} is seen from {first:.1f} to {last:.1f} s: give --start and --end within"
                )
            return number
    people = ", ".join(str(track.person) for track in given.tracks)
    raise UserError(f"the motion has no person {walker}: give --walker one of {people}")


def _meshes(given: Exported, video: str, second: float) -> ImageArray:
    """Everybody at ``second``: through the exported camera over the video, and from elsewhere."""
    (path,) = given.save(".glb")
    places = [
        track.joints(given.body)[np.abs(track.time_s - second).argmin()]
        for track in given.tracks
        if track.time_s[0] <= second <= track.time_s[-1]
    ]
    if not places:
        raise UserError(f"nobody is seen at {second} s: give another --second")
    start = float(np.nanmin(given.motion.time_s))
    job = {"files": [str(path)], "starts": [start], "seconds": [second], "size": _HALF}
    people = _render(job | {"eye": None}, given.folder)
    share = people[..., 3:] / 255.0
    frame = cv2.resize(_frame_at(video, given.motion, second), _HALF, interpolation=cv2.INTER_AREA)
    through = np.asarray(people[..., :3] * share + frame * (1 - share) + 0.5, np.uint8)
    eye = _eye(np.concatenate(places), np.array([0.6, -0.8]), _HALF)
    return np.hstack([through, _render(job | eye, given.folder)[..., :3]])


def _bones(given: Exported, number: int, instants: DoubleArray) -> ImageArray:
    """The skeleton of the track with this number at ``instants`` (N,), seconds, across the direction of walking."""
    track = given.tracks[number]
    joints = track.joints(given.body)[[int(np.abs(track.time_s - instant).argmin()) for instant in instants]]
    way = Z_UP @ (joints[-1, 0] - joints[0, 0])
    across = np.array([way[1], -way[0]]) / max(float(np.hypot(way[0], way[1])), 1e-6)
    across *= -1.0 if across[1] > 0 else 1.0  # from the side of the film's camera, which looks along +y
    files = [str(given.save(".bvh")[number])]
    job = {"files": files, "starts": [float(track.time_s[0])], "seconds": instants.tolist(), "size": _WIDE}
    return _render(job | _eye(joints.reshape(-1, 3), across, _WIDE), given.folder)[..., :3]


def _eye(points: AnyFloatArray, towards: DoubleArray, size: tuple[int, int]) -> dict[str, Any]:
    """Where a camera stands that sees all ``points`` (N, 3), y up, from the horizontal direction ``towards`` (2,) in Blender's
    axes, a little from above."""
    shown = points @ Z_UP.T
    target = (shown.min(0) + shown.max(0)) / 2
    away = np.array([*towards, 0.22]) / np.linalg.norm([*towards, 0.22])
    right = np.cross([0, 0, 1], away) / np.linalg.norm(np.cross([0, 0, 1], away))
    seen = np.stack([(shown - target) @ right, (shown - target) @ np.cross(away, right)], 1)
    half = _WIDTH_MM / 2 / _LENS_MM * np.array([1, size[1] / size[0]])
    distance = ((np.abs(seen) + 0.3) / half + ((shown - target) @ away)[:, None]).max()
    return {"eye": (target + distance * away).tolist(), "target": target.tolist(), "lens_mm": _LENS_MM}


def _render(job: dict[str, Any], folder: Path) -> ImageArray:
    """The image of a job for `render`, uint8 (H, W, 4) BGRA."""
    out, told = folder / "out.png", folder / "job.json"
    told.write_text(json.dumps(job | {"out": str(out)}), encoding="utf-8")
    run_script("blender", RENDER, told, timeout_s=_RENDER_S)
    image = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UserError("Blender wrote no image: is the disk full?")
    return np.asarray(image if image.shape[2] == 4 else cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), np.uint8)


def _frame_at(video: str, motion: Motion, second: float) -> ImageArray:
    """The frame of the video that the motion's rows at ``second`` were made of."""
    wanted = int(motion.frame[np.nanargmin(np.abs(motion.time_s - second))])
    with open_source(video) as source:
        buffer = source.new_buffer()
        while (timestamp := source.read_into(buffer)) is not None:
            if timestamp.index == wanted:
                return buffer
    raise UserError(f"{video} has no frame {wanted}: give the video that the motion was made from")


def _markers_and_angles(given: Exported, number: int, seconds: tuple[float, float], out: Path) -> None:
    found = read_with_opensim(given.save(".trc")[number])
    names, times = found["names"].tolist(), found["times"] + given.tracks[number].time_s[0] - found["times"][0]
    extra = [place for place, name in enumerate(names) if name not in JOINT_NAMES]
    rows = (times >= seconds[0]) & (times <= seconds[1])
    markers = Markers(times[rows], [names[place] for place in extra], found["places"][rows][:, extra] / 1000)
    draw_markers_and_angles(markers, read_angles(given.save(".csv")[0], given.tracks[number].person, seconds), out)


def _write(path: Path, image: ImageArray) -> None:
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 88]):
        raise UserError(f"cannot write {path}")


if __name__ == "__main__":
    main()
