"""Any motion file by its ending: `open_motion` reads, `save_as` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from body.model import BodyArrays, load_body
from common.errors import UserError
from common.files import check_writable, readable, reason_of, write_bytes_atomically
from common.npz import names_in
from formats.amass import from_amass, to_amass
from formats.bvh import from_bvh, to_bvh
from formats.endings import READABLE, MeshLook, ReferenceFrame, ending_of
from formats.gltf import to_glb
from formats.joint_angles import to_csv
from formats.json_lines import from_jsonl, to_jsonl
from formats.motion import WORLD_SHAPES, Motion, body_of, load_motion, save_motion
from formats.tracks import MotionTrack, at_constant_rate, frame_of_reference, motion_of, rate_of, tracks_of
from formats.trc import to_trc

Gaps = Literal["hold", "split"]
"""What a file of one person at a constant rate does in a gap: hold the last pose, or end and be continued by a further file."""

_PER_PERSON: Final[dict[str, Callable[[MotionTrack, BodyArrays, float, Path], bytes]]] = {
    ".bvh": lambda track, arrays, rate, path: to_bvh(track, arrays, rate),
    ".amass.npz": lambda track, arrays, rate, path: to_amass(track, arrays, rate),
    ".trc": lambda track, arrays, rate, path: to_trc(track, arrays, rate, readable(path.name)),
}
"""Formats that hold one person at a constant rate."""


class Saved(NamedTuple):
    """What was written."""

    paths: list[Path]
    """The files."""
    lines: list[str]
    """One line for the user about each of them, and about what was left out."""


def open_motion(path: Path, body: Path | None = None) -> Motion:
    """Read a motion in any format of `formats.endings.READABLE`.

    ``body`` is the body that the shape of a .bvh or AMASS file is told in, None for the default one. Raises `UserError` for
    a file that is missing, damaged or something else.
    """
    ending = ending_of(path, READABLE)
    if ending == ".npz" and _holds_amass(path):
        ending = ".amass.npz"
    if ending == ".npz":
        return load_motion(path)
    if ending == ".jsonl":
        return from_jsonl(path)
    arrays = load_body(body)
    track, rate = (from_bvh if ending == ".bvh" else from_amass)(path, arrays)
    return motion_of([track], arrays, rate, readable(path.name))


def _holds_amass(path: Path) -> bool:
    """Whether an .npz file without ``.amass`` in its name is in AMASS' layout, as the archive's own files are."""
    return {"trans", "mocap_framerate"} <= names_in(path)


def save_as(
    motion: Motion,
    path: str | Path,
    body: Path | BodyArrays | None = None,
    frame: ReferenceFrame | None = None,
    person: int | None = None,
    gaps: Gaps = "hold",
    look: MeshLook = "suit",
) -> Saved:
    """Write a motion in the format that the ending of ``path`` names, one of `formats.endings.WRITABLE`.

    ``body`` is the one that the motion was made with, where it is not one that ships with the project. ``frame`` None takes
    the world's where the motion has it; a .jsonl file has both then, and an .npz file always. ``person`` keeps one alone.
    ``look`` is how meshes of a .glb file look.
    Formats that hold one person get a file for each, named like ``NAME.person-2.bvh``, where there are several.

    Raises `UserError` where nobody is in the motion, for another body, and where a file cannot be written; then none is.
    """
    path = Path(path)
    ending = ending_of(path)
    check_writable(path)
    if ending in (".npz", ".jsonl"):
        chosen = motion if person is None else _alone(motion, person)
        if ending == ".npz":
            try:
                save_motion(path, chosen.arrays())
            except OSError as error:
                raise UserError(f"cannot write {path} ({reason_of(error, path)})") from None
        else:
            in_camera = frame is not None and frame_of_reference(motion, frame) == "camera"
            _write(path, to_jsonl(_without_world(chosen) if in_camera else chosen))
        return Saved([path], [f"{path}: {_people(len(chosen.people))}, {len(chosen.frame)} rows"])
    arrays = body if isinstance(body, BodyArrays) else body_of(motion, body)
    found = tracks_of(motion, frame, person)
    tracks, where, remarks = found.people, f"{found.frame} frame", found.remarks
    if ending in (".glb", ".csv"):
        content = to_csv(tracks) if ending == ".csv" else to_glb(motion, arrays, found, look)
        _write(path, content)
        size = f"{len(content) / 1e6:.1f} MB"
        return Saved([path], [f"{path}: {_people(len(tracks))}, {where}, {size}", *remarks])
    begin = float(np.nanmin(motion.time_s))
    parts = list(_parts(tracks, motion.fps, gaps, path, ending))
    for name, _, _ in parts:
        check_writable(name)
    lines = []
    for name, track, rate in parts:
        _write(name, _PER_PERSON[ending](track, arrays, rate, name))
        since = track.time_s[0] - begin
        lines.append(
            f"{name}: person {track.person}, {len(track.time_s)} frames at {rate:.6g}/s from {since:.3f} s, {where}"
        )
    return Saved([name for name, _, _ in parts], lines + remarks)


def _parts(
    tracks: list[MotionTrack], nominal: float, gaps: Gaps, path: Path, ending: str
) -> Iterator[tuple[Path, MotionTrack, float]]:
    """Name, content and rate of every file."""
    rate = rate_of(tracks, nominal)
    stem = path.name[: -len(ending)]
    for track in tracks:
        whose = stem if len(tracks) == 1 else f"{stem}.person-{track.person}"
        segments = track.segments() if gaps == "split" else [track]
        for number, segment in enumerate(segments, 1):
            name = whose if len(segments) == 1 else f"{whose}.part-{number}"
            yield path.with_name(name + path.name[-len(ending) :]), *at_constant_rate(segment, rate)


def _alone(motion: Motion, person: int) -> Motion:
    """The motion with the rows of one person alone."""
    if person not in motion.people:
        there = ", ".join(map(str, motion.people)) or "nobody"
        raise UserError(f"person {person} is not in the motion of {motion.source}: these are: {there}")
    rows = motion.person == person
    return motion.rows(rows)


def _without_world(motion: Motion) -> Motion:
    nothing: dict[str, Any] = dict.fromkeys(WORLD_SHAPES)
    return replace(motion, **nothing)


def _write(path: Path, content: bytes) -> None:
    try:
        write_bytes_atomically(path, content)
    except OSError as error:
        raise UserError(f"cannot write {path} ({reason_of(error, path)})") from None


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
