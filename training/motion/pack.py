"""One compact file for many clips: the motion pack.

A pack is a compressed ``.npz`` of plain arrays (no pickles):

- ``index``: a string, JSON: ``{"format": "motion-pack", "version": 1, "fps": ..., "clips": [...]}``; a clip has
  ``name``, ``subject``, ``category``, ``licence``, ``split``, ``weight``, ``free``, ``source`` (newer packs), ``start`` and
  ``frames``;
- ``d_aa``: int16 (24, 3, frames), ``d_trans``: int32 (3, frames), clip after clip as in ``training.motion.coding``.
  Rotations refer to the canonical T-pose.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from common.arrays import Int32Array
from common.files import write_atomically
from common.npz import read_npz
from training.motion.amass import read_amass
from training.motion.archive import ARCHIVE_ERRORS
from training.motion.asf_amc import CMU_FPS, read_amc
from training.motion.bvh import read_bvh
from training.motion.clip import Clip, MotionError
from training.motion.coding import decode, encode
from training.motion.glb import read_glb
from training.motion.library import load_packed
from training.motion.markers import MarkerTake, read_c3d, read_vicon_text
from training.motion.resample import resample

_Item = TypeVar("_Item")

SUFFIXES: Final = (".bvh", ".amc", ".npz", ".glb", ".c3d")

_VICON_TEXT: Final = re.compile(r"m\d+_s\d+_.*\.txt(\.gz)?", re.IGNORECASE)
"""UI-PRMD's names, such as m01_s01_e01_positions.txt: other texts of a folder are no motion."""

_FORMAT, _VERSION = "motion-pack", 1
_FIELDS: Final = ("name", "subject", "category", "licence", "split", "weight", "free", "source")


@dataclass(frozen=True)
class SplitRule:
    """How subjects are shared out. No subject ever lies in two splits."""

    val: Collection[str] = ()
    """Subjects of the validation split."""
    test: Collection[str] = ()
    """Subjects of the test split."""
    val_share: float = 0.1
    """Part of the OTHER subjects that goes to validation, by a hash of the name: the same on every machine, whatever
    else is packed."""
    test_share: float = 0.1
    """The same share for the test split."""

    def split_of(self, subject: str) -> str:
        """Return "train", "val" or "test"."""
        if subject in self.test:
            return "test"
        if subject in self.val:
            return "val"
        place = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big") / 2.0**64
        if place < self.test_share:
            return "test"
        return "val" if place < self.test_share + self.val_share else "train"


def find_motions(paths: Iterable[str | Path]) -> list[Path]:
    """List the motion files among files and (deep) inside of folders, sorted, each once."""
    found: set[Path] = set()
    for path in map(Path, paths):
        inside = path.rglob("*") if path.is_dir() else [path]
        found.update(
            file
            for file in inside
            if file.suffix.lower() in SUFFIXES or _VICON_TEXT.fullmatch(file.name) or file == path
        )
    return sorted(file for file in found if not file.is_dir())


def read_motion(
    path: str | Path, *, amc_fps: float = CMU_FPS, amass_rest_joints: npt.ArrayLike | None = None
) -> list[Clip]:
    """Read one motion file by its suffix: .bvh, .amc (with its .asf beside it), AMASS .npz, or .glb (an animation a clip).

    Raises:
        MotionError: The file is damaged, or of no known kind.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".bvh":
        return [read_bvh(path)]
    if suffix == ".amc":
        return [read_amc(path, fps=amc_fps)]
    if suffix == ".npz":
        return [read_amass(path, rest_joints=amass_rest_joints)]
    if suffix == ".glb":
        return read_glb(path)
    raise MotionError(f"{path}: neither .bvh, .amc, .npz, .glb nor markers (.c3d, UI-PRMD's .txt)")


def has_markers(path: Path) -> bool:
    """Whether a file holds optical markers, which need a fit: .c3d, or UI-PRMD's text."""
    return path.suffix.lower() == ".c3d" or _VICON_TEXT.fullmatch(path.name) is not None


def read_motions(
    files: Iterable[Path],
    *,
    rule: SplitRule | None = None,
    fps: float = 30.0,
    min_seconds: float = 0.5,
    licence: str = "",
    free: bool = False,
    amc_fps: float = CMU_FPS,
    amass_rest_joints: npt.ArrayLike | None = None,
) -> Iterator[Clip | MotionError]:
    """Read files one by one at one frame rate; yields their clips, or for each the error that says why there is none.

    Files of markers come last, subject by subject, because a subject's skeleton is fitted to all of its takes.

    Args:
        files: See ``find_motions``.
        rule: Shares out the subjects.
        fps: Frame rate of the clips.
        min_seconds: Shorter takes count as unusable.
        licence: Terms of use of all of them; empty keeps what the reader knows.
        free: Whether weights trained on them may be given away for any use.
        amc_fps: Frame rate of .amc files.
        amass_rest_joints: See ``read_amass``.
    """
    rule = rule or SplitRule()
    taken: dict[str, int] = {}
    files = list(files)
    found = _clips_of([file for file in files if not has_markers(file)], amc_fps, amass_rest_joints)
    markers = _clips_of_markers([file for file in files if has_markers(file)], fps, min_seconds)
    for file, result in itertools.chain(found, markers):
        clip = result if isinstance(result, MotionError) else _usable(file, result, fps, min_seconds)
        if isinstance(clip, MotionError):
            yield clip
            continue
        number = taken[clip.name] = taken.get(clip.name, 0) + 1
        name = clip.name if number == 1 else f"{clip.name}#{number}"
        split = rule.split_of(clip.subject)
        yield replace(clip, name=name, split=split, licence=licence or clip.licence, free=free)


def _clips_of(
    files: Iterable[Path], amc_fps: float, amass_rest_joints: npt.ArrayLike | None
) -> Iterator[tuple[Path, Clip | MotionError]]:
    for file in files:
        for result in _try(file, lambda file: read_motion(file, amc_fps=amc_fps, amass_rest_joints=amass_rest_joints)):
            yield file, result


def _clips_of_markers(
    files: Sequence[Path], fps: float, min_seconds: float
) -> Iterator[tuple[Path, Clip | MotionError]]:
    subjects: dict[str, list[tuple[Path, MarkerTake]]] = {}
    for file in files:
        for result in _try(
            file, lambda file: [read_c3d(file) if file.suffix.lower() == ".c3d" else read_vicon_text(file)]
        ):
            if isinstance(result, MotionError):
                yield file, result
            else:
                subjects.setdefault(result.subject, []).append((file, result))
    for takes in subjects.values():
        fit = partial(_fit, [take for _, take in takes], fps, min_seconds)
        for clip in _try(takes[0][0], fit):
            yield takes[0][0], clip


def _fit(takes: list[MarkerTake], fps: float, min_seconds: float, _: Path) -> list[Clip]:
    from training.motion.marker_fit import clips_from_markers  # needs torch, which the other readers do not

    return clips_from_markers(takes, fps, min_seconds)


def _try(file: Path, read: Callable[[Path], Sequence[_Item]]) -> Sequence[_Item | MotionError]:
    """What ``read`` makes of a file, or the error that says why it makes nothing."""
    try:
        return read(file)
    except MotionError as error:
        return [error if str(file) in str(error) else MotionError(f"{file}: {error}")]
    except (OSError, ValueError) as error:
        return [MotionError(f"{file}: {error}")]


def _usable(file: Path, clip: Clip, fps: float, min_seconds: float) -> Clip | MotionError:
    """The clip at the asked rate, or why it cannot be packed."""
    try:
        clip = resample(clip, fps)
        encode(clip.rotations, clip.pelvis)  # what cannot be stored should be known before all the rest is read
    except ValueError as error:
        return MotionError(f"{file}: {error}")
    if clip.seconds < min_seconds:
        return MotionError(f"{file}: {clip.seconds:.2f} s of motion, less than {min_seconds} s")
    return clip


def save_motion_pack(path: str | Path, clips: Sequence[Clip]) -> None:
    """Write clips to a pack.

    Raises:
        ValueError: No clips, several frame rates, or a clip already adapted to a body.
        OSError: The file cannot be written.
    """
    if not clips or len({clip.fps for clip in clips}) != 1:
        raise ValueError("a pack holds one clip or more, all of one frame rate; resample them first")
    if any(clip.rest != "canonical" for clip in clips):
        raise ValueError("a pack holds clips of the canonical rest pose only")
    entries, angles, lengths, start = [], [], [], 0
    for clip in clips:
        angle_steps, length_steps = encode(clip.rotations, clip.pelvis)
        angles.append(angle_steps)
        lengths.append(length_steps)
        values = {name: getattr(clip, name) for name in _FIELDS}
        entries.append({**values, "start": start, "frames": clip.frames})
        start += clip.frames
    index = {"format": _FORMAT, "version": _VERSION, "fps": clips[0].fps, "clips": entries}
    with write_atomically(Path(path)) as file:
        np.savez_compressed(
            file,
            index=np.array(json.dumps(index)),
            d_aa=np.concatenate(angles, axis=-1),
            d_trans=np.concatenate(lengths, axis=-1),
        )


def load_motion_pack(path: str | Path) -> list[Clip]:
    """Load all clips of a pack, canonical, in the order in which they were written.

    Raises:
        MotionError: Not a motion pack, of a newer version, or damaged.
    """
    path = Path(path)
    try:
        archive = read_npz(path, ("index", "d_aa", "d_trans"))
        if "index" not in archive:
            raise MotionError(f"{path}: not a motion pack; make one with `python -m training.motion pack`")
        index: dict[str, Any] = json.loads(str(archive["index"]))
        angles, lengths = archive["d_aa"], archive["d_trans"]
        if index["format"] != _FORMAT or index["version"] != _VERSION:
            raise MotionError(f"{path}: format {index['format']!r} {index['version']!r}; this reads motion packs 1")
        if angles.dtype != np.int16 or angles.shape[:2] != (24, 3) or lengths.shape != (3, angles.shape[-1]):
            raise MotionError(f"{path}: arrays of another layout: d_aa {angles.shape}, d_trans {lengths.shape}")
        return [_clip(entry, float(index["fps"]), angles, lengths) for entry in index["clips"]]
    except MotionError:
        raise
    except FileNotFoundError:
        raise MotionError(f"there is no {path}; make a pack with `python -m training.motion pack`") from None
    except ARCHIVE_ERRORS as error:
        raise MotionError(f"{path}: not a motion pack, or damaged ({error!r})") from error


def _clip(entry: dict[str, Any], fps: float, angles: npt.NDArray[np.int16], lengths: Int32Array) -> Clip:
    start, stop = int(entry["start"]), int(entry["start"]) + int(entry["frames"])
    if not 0 <= start < stop <= angles.shape[-1] or not fps > 0.0:
        raise ValueError(f"clip {entry['name']!r} lies outside of the arrays")
    rotations, pelvis = decode(angles[..., start:stop], lengths[:, start:stop])
    return Clip(
        name=str(entry["name"]),
        subject=str(entry["subject"]),
        category=str(entry["category"]),
        licence=str(entry["licence"]),
        split=str(entry["split"]),
        fps=fps,
        rotations=rotations,
        pelvis=pelvis,
        weight=float(entry["weight"]),
        free=bool(entry["free"]),
        source=str(entry.get("source", "")),
    )


def load_motions(path: str | Path, splits: Sequence[str] = ("train",), free_only: bool = True) -> list[Clip]:
    """Load clips from a packed folder or from a motion pack.

    Args:
        path: A folder with ``index.json``, or a ``.npz`` motion pack.
        splits: Which splits.
        free_only: Leave out what is not marked as free for any use.

    Raises:
        MotionError: Unusable, or no clip is left.
    """
    path = Path(path)
    if path.is_dir():
        clips = load_packed(path, splits, free_only)
    else:
        clips = [clip for clip in load_motion_pack(path) if clip.split in splits and (clip.free or not free_only)]
    if not clips:
        terms = " that are free for any use (free_only=False takes the others too)" if free_only else ""
        raise MotionError(f"{path}: no clips of {', '.join(splits)}{terms}")
    return clips
