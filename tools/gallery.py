"""Makes the animations of README.md and docs/gallery.md: python -m tools.gallery

The clips are public: this repository's own, and three that are fetched from two packages. Each clip goes through the networks
once; animations are rendered from its motion file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import av
import cv2
import numpy as np
import typer

from common.arrays import ImageArray
from common.command_line import run_command
from common.errors import UserError
from realtime.options import Look, Options, PaneLayout
from realtime.replay import replay_motion
from realtime.session import Session
from realtime.sources.demo_clip import fetch_from_package
from tools.asset_manifest import add_rows
from tools.gif import write_gif

ASSETS: Final = Path(__file__).resolve().parents[1] / "assets"
_WALK: Final = str(ASSETS / "synthetic_walk.mp4")
_DEMO: Final = {
    "origin": "frames of Demo/demo.mp4 of the package sports2d 0.8.34, painted over",
    "licence": "BSD-3-Clause (Copyright (c) 2022, perfanalytics; LICENSE.sports2d.txt), painting Apache-2.0",
}
_LAB: Final = {
    "origin": "frames of Pose2Sim/Demo_SinglePerson/videos/cam02.mp4 of the package pose2sim 0.10.49, painted over",
    "licence": "BSD-3-Clause (Copyright (c) 2022, perfanalytics; the same text as LICENSE.sports2d.txt), painting Apache-2.0",
}
_TRIO: Final = _LAB | {
    "origin": "frames of Pose2Sim/Demo_MultiPerson/videos/cam02.mp4 of the package pose2sim 0.10.49, painted over"
}
_POSE2SIM: Final = {
    "lab": (
        "Pose2Sim/Demo_SinglePerson/videos/cam02.mp4",
        "94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442",
    ),
    "trio": (
        "Pose2Sim/Demo_MultiPerson/videos/cam02.mp4",
        "8895092a7cf26359205a427b7ac2f4a935c2e0bd36d9b7a5140cb33faa468a6b",
    ),
}
_OWN: Final = {"origin": "rendered by this project", "licence": "Apache-2.0"}


@dataclass(frozen=True, slots=True)
class Piece:
    """One animation."""

    name: str
    """Path of the GIF in `ASSETS`, without its ending."""
    clip: str
    """The video that it shows: a path, ``demo``, ``lab`` or ``trio`` (see `_source`)."""
    about: dict[str, str]
    """Origin and licence, for the manifest."""
    layout: PaneLayout = "overlay"
    """Value of ``--layout``."""
    look: Look = "suit"
    """Value of ``--look``."""
    alone: bool = False
    """Without the video."""
    width: int = 480
    """Width of the GIF, pixels."""
    start: int = 0
    """First frame."""
    frames: int = 30
    """Number of frames shown."""
    step: int = 3
    """Every so many frames."""
    columns: tuple[slice, ...] = (slice(None),)
    """Columns of the recording's image that are shown, side by side."""


PIECES: Final = (
    Piece("demo", "demo", _DEMO, width=575, start=50, frames=23, step=2, columns=(slice(400, 1560), slice(1768, None))),
    Piece("gallery/panes", "demo", _DEMO, layout="grid", width=640, start=60, frames=24),
    Piece("gallery/lab", "lab", _LAB, layout="side", width=520, start=4, frames=28, step=2),
    Piece("gallery/trio", "trio", _TRIO, layout="side", width=440, frames=33),
    Piece("gallery/floor", _WALK, _OWN, alone=True, frames=30),
    Piece("gallery/walk", _WALK, _OWN, width=520, frames=30),
    Piece("gallery/wire", _WALK, _OWN, layout="side", look="wire", width=520, frames=30),
)


def main() -> None:
    """The program's entry."""
    run_command(gallery, examples="Example: python -m tools.gallery")


def gallery(
    folder: Annotated[Path, typer.Option(help="where the animations go, and the manifest with their rows")] = ASSETS,
    only: Annotated[
        list[str] | None, typer.Option(help="make this one alone, such as gallery/walk; repeatable")
    ] = None,
) -> None:
    """Make the animations and their rows in the manifest."""
    names = [piece.name for piece in PIECES]
    for name in only or ():
        if name not in names:
            raise UserError(f"there is no animation {name}: give --only one of {', '.join(names)}")
    pieces = [piece for piece in PIECES if not only or piece.name in only]
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    rows = {}
    with tempfile.TemporaryDirectory() as work:
        for clip in dict.fromkeys(piece.clip for piece in pieces):
            motion, shown = Path(work) / "motion.npz", _source(clip, Path(work))
            Session(Options(source=shown, view="none", save=(motion,))).run()
            for piece in (piece for piece in pieces if piece.clip == clip):
                video, target = Path(work) / "video.mp4", folder / f"{piece.name}.gif"
                source = None if piece.alone else Options(source=shown)
                replay_motion(motion, source, record=video, look=piece.look, layout=piece.layout)
                write_gif(target, _images(video, piece), 30 / piece.step)
                print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")
                rows[f"{piece.name}.gif"] = piece.about
    add_rows(folder, rows, "python -m tools.gallery")


def _source(clip: str, folder: Path) -> str:
    """What to give as ``--source``. ``lab`` and ``trio`` are taken out of the package Pose2Sim (50 MB) into ``folder``."""
    if clip not in _POSE2SIM:
        return clip
    target = folder / f"{clip}.mp4"
    fetch_from_package("pose2sim==0.10.49", *_POSE2SIM[clip], target)
    return str(target)


def _images(video: Path, piece: Piece) -> Iterator[ImageArray]:
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            place, left = divmod(number - piece.start, piece.step)
            if left or not 0 <= place < piece.frames:
                continue
            whole = frame.to_ndarray(format="bgr24")
            image: ImageArray = np.hstack([whole[:, part] for part in piece.columns])
            size = piece.width, round(image.shape[0] * piece.width / image.shape[1])
            yield np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    main()
