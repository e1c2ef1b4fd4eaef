"""Compare detections in real and rendered video.

    python -m training.noise_measurement.real_video MOTION.npz ...

The noise tables (`training.simulation.detector_noise`) come from rendered people, whose ground truth is exact but who
look unlike a detector's training data: it is much less confident on them. Recordings of real video (``run_camera.py
--save``) are therefore measured for three things, none of which needs the true pose:

- difficulty: the confidences of visible keypoints; which share of a table's better part matches them? Visibility is
  decided as in training, from the fitted body;
- jitter: how much of a keypoint's position is new in every frame, from the second differences of nearly static
  keypoints;
- error, only with ``--reference``: detections against points triangulated by several cameras (file format:
  `training.evaluation.reference`), the recordings being those cameras in order. Given their confidence, which share of
  the table's errors do they reach? Only accurately measured points count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from body.joints import COCO_NAMES
from body.lbs_torch import TorchBody
from body.rotations import axis_angle_to_matrix
from common.arrays import BoolArray, DoubleArray, Int64Array
from common.command_line import run_command
from common.errors import UserError
from formats.motion import Motion, body_of, load_motion
from training.evaluation.reference import Reference, load_reference
from training.simulation.batches import keypoint_visibility
from training.simulation.detector_noise import BINS, GROUP_OF, GROUPS, DetectorNoise, NoiseSampler, load_noise
from training.simulation.projection import project_pixels

_ENOUGH, _ENOUGH_GROUPS = 40, 4
"""Detections that make a distribution, and how many groups of keypoints make a person."""
_STILL, _SURE, _MIN_FPS = 0.004, 0.5, 20.0
"""For jitter: largest motion per frame as a share of the person's size, least confidence, and least frame rate."""
_KNOWN: Final = 0.005
"""Largest standard error of a measured point, as a share of the person's size."""
_SHARES: Final = np.linspace(0.05, 1.0, 96)
_PLACES: Final = (np.arange(200) + 0.5) / 200
_TAIL: Final = np.array([0.5, 0.75, 0.9, 0.95, 0.97, 0.99])
_COLUMNS: Final = [np.flatnonzero(np.array(GROUP_OF) == group) for group in range(len(GROUPS))]


@dataclass(frozen=True, slots=True)
class PersonDetections:
    """Detections of one person in N consecutive frames of a recording."""

    source: str
    """Name of the recorded video."""
    person: int
    """The person's id."""
    fps: float
    """Frames per second."""
    points: DoubleArray
    """(N, 17, 2) COCO keypoints, px."""
    confidence: DoubleArray
    """(N, 17) confidences, 0..1."""
    visible: BoolArray
    """(N, 17) bool, whether each keypoint is visible."""
    size: DoubleArray
    """(N,) longer side of the box around the detected keypoints, px."""


def people_in(motion: Motion) -> list[PersonDetections]:
    """Detections of everyone in a recording."""
    people = []
    for person in np.unique(motion.person[motion.person >= 0]):
        rows = np.flatnonzero(motion.person == person)
        points, confidence = (
            part[rows].astype(np.float64) for part in (motion.keypoints_px, motion.keypoint_confidence)
        )
        people.append(
            PersonDetections(
                motion.source, int(person), motion.fps, points, confidence, visible(motion, rows), _size(motion, rows)
            )
        )
    return people


def visible(motion: Motion, rows: Int64Array) -> BoolArray:
    """Which keypoints of ``rows`` are inside the image and not occluded by the fitted trunk or head: (N, 17) bool."""
    body = TorchBody(body_of(motion))
    pose = np.concatenate([motion.global_orient[rows, None], motion.body_pose[rows]], 1)
    rotations = torch.from_numpy(axis_angle_to_matrix(pose)).float()
    place = torch.from_numpy(motion.transl[rows])[:, None]
    joints, coco = (part + place for part in body.skeleton(rotations, torch.from_numpy(motion.betas[rows])))
    focal = torch.tensor(np.diag(motion.camera_matrix)[:2], dtype=torch.float32)
    centre = torch.tensor(motion.camera_matrix[:2, 2], dtype=torch.float32)
    points = project_pixels(coco, focal, centre)
    state = keypoint_visibility(joints[None], coco[None], points[None], 2 * centre[None])[0]
    return np.asarray(state.numpy() == 0)


def _size(motion: Motion, rows: Int64Array) -> DoubleArray:
    points, edge = motion.keypoints_px[rows].astype(np.float64), 2 * motion.camera_matrix[:2, 2]
    seen = ((points >= 0) & (points < edge)).all(-1) & (motion.keypoint_confidence[rows] > 0.2)
    low = np.where(seen[..., None], points, np.inf).min(1)
    high = np.where(seen[..., None], points, -np.inf).max(1)
    return np.asarray(np.maximum((high - low).max(-1), 1.0))


def confidence_at(detector: DetectorNoise, group: int, difficulty: float) -> DoubleArray:
    """Quantiles (200,) of the confidence of visible keypoints that `NoiseSampler` samples at this difficulty."""
    quantiles = detector.confidence[group, 0]
    return np.asarray(np.interp(1 - difficulty * (1 - _PLACES), np.linspace(0, 1, len(quantiles)), quantiles))


def fit_difficulty(detector: DetectorNoise, confidences: list[DoubleArray]) -> float:
    """The difficulty at which a table's confidences are nearest to ``confidences``.

    The distance is the Wasserstein distance, averaged over `GROUPS`. ``confidences`` holds an array per group; groups
    of fewer than 40 values do not count. NaN where fewer than 4 groups are left.
    """
    used = [group for group, values in enumerate(confidences) if len(values) >= _ENOUGH]
    if len(used) < _ENOUGH_GROUPS:
        return float("nan")
    theirs = [np.quantile(confidences[group], _PLACES) for group in used]
    cost = [
        sum(
            np.abs(own - confidence_at(detector, group, difficulty)).mean()
            for own, group in zip(theirs, used, strict=True)
        )
        for difficulty in _SHARES
    ]
    return float(_SHARES[int(np.argmin(cost))])


def confidences_of(person: PersonDetections) -> list[DoubleArray]:
    """Confidences of a person's visible keypoints, an array for each of `GROUPS`."""
    return [person.confidence[:, columns][person.visible[:, columns]] for columns in _COLUMNS]


def still_jitter(person: PersonDetections) -> list[DoubleArray]:
    """Per-frame noise of visible, confident, nearly static keypoints over the person's size, by `GROUPS`.

    For white noise it is the standard deviation along one axis times the square root of two.
    """
    if len(person.points) < 5:
        return [np.zeros(0) for _ in GROUPS]
    points, size = person.points, person.size[2:-2, None]
    change = np.linalg.norm(points[3:-1] - 2 * points[2:-2] + points[1:-3], axis=-1) / size / 6**0.5
    pace = np.linalg.norm(points[4:] - points[:-4], axis=-1) / size / 4
    used = person.visible[2:-2] & (person.confidence[2:-2] > _SURE) & (pace < _STILL)
    return [change[:, columns][used[:, columns]] for columns in _COLUMNS]


def fit_jitter(detector: DetectorNoise, jitters: list[DoubleArray]) -> float:
    """The `RealVideo.jitter` whose static keypoints move like ``jitters``, by the medians of each of `GROUPS`."""
    used = [group for group, values in enumerate(jitters) if len(values) >= _ENOUGH]
    if len(used) < _ENOUGH_GROUPS:
        return float("nan")
    theirs = np.log([np.median(jitters[group]) for group in used])
    shares = np.geomspace(0.03, 0.5, 15)
    cost = []
    for share in shares:
        shaking = replace(detector, real=replace(detector.real, jitter=float(share)))
        drawn = still_jitter(_drawn(NoiseSampler([shaking], 0)))
        cost.append(abs(np.mean(np.log([np.median(drawn[group]) for group in used]) - theirs)))
    return float(shares[int(np.argmin(cost))])


def _drawn(noise: NoiseSampler, windows: int = 100, length: int = 40) -> PersonDetections:
    """A static person under the noise model: windows one after the other."""
    torch.manual_seed(0)
    points = (torch.rand(windows, 1, 17, 2) * 400 + 120).expand(windows, length, 17, 2)
    state, size = torch.zeros(windows, length, 17, dtype=torch.long), torch.full((windows, 2), 640.0)
    detected, confidence = noise(points, state, size, torch.full((windows, length), 1 / 30))
    scale = (points.amax(2) - points.amin(2)).amax(-1).flatten().double().numpy()
    places, sure = detected.flatten(0, 1).double().numpy(), confidence.flatten(0, 1).double().numpy()
    return PersonDetections("drawn", 0, 30.0, places, sure, np.ones(sure.shape, bool), scale)


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of N detections against measured points."""

    length: DoubleArray
    """(N,) error over the person's size."""
    group: Int64Array
    """(N,) int64, index into `GROUPS`."""
    bin: Int64Array
    """(N,) int64, index into the confidence `BINS`."""


def errors_against(reference: Reference, camera: int, motion: Motion) -> Errors:
    """Errors of the visible keypoints of one camera's recording against the measured points.

    Where the reference gives an uncertainty, points worse than `_KNOWN` are ignored: their errors would be attributed
    to the detector.
    """
    _, truth = reference.seen_by(camera)
    length, group, bins = [], [], []
    edge = 2 * motion.camera_matrix[:2, 2]
    when = {int(frame): t for t, frame in enumerate(reference.frames)}
    rows = np.array([row for row in np.flatnonzero(motion.person >= 0) if int(motion.frame[row]) in when], np.int64)
    seen, size = visible(motion, rows), _size(motion, rows)
    for place, row in enumerate(rows):
        for column, name in enumerate(reference.names):
            keypoint = COCO_NAMES.index(name)
            point = truth[when[int(motion.frame[row])], column]
            inside = np.isfinite(point).all() and (point >= 0).all() and (point < edge).all()
            if reference.uncertainty is not None:
                inside &= reference.uncertainty[when[int(motion.frame[row])], column] < _KNOWN * size[place]
            if seen[place, keypoint] and inside:
                length.append(float(np.linalg.norm(motion.keypoints_px[row, keypoint] - point)) / size[place])
                group.append(GROUP_OF[keypoint])
                bins.append(int(np.digitize(motion.keypoint_confidence[row, keypoint], BINS[1:])))
    return Errors(np.array(length), np.array(group), np.array(bins))


def fit_error(detector: DetectorNoise, found: Errors) -> tuple[float, DoubleArray, DoubleArray]:
    """The share of a table's errors that ``found`` reaches, and the quantiles of both at that share.

    The quantiles are those from the median to 99 %.
    """
    theirs = np.quantile(found.length, _TAIL)
    repeats = max(1, 40_000 // len(found.length))
    ranks = np.random.default_rng(0).random(len(found.length) * repeats)
    kinds = np.tile(np.stack([found.group, found.bin], 1), (repeats, 1))
    places = np.linspace(0, 1, detector.error.shape[-1])
    parts = [(group, level, ranks[(kinds == (group, level)).all(1)]) for group, level in np.unique(kinds, axis=0)]

    def drawn(share: float) -> DoubleArray:
        lengths = [np.interp(part * share, places, detector.error[group, 0, level]) for group, level, part in parts]
        return np.asarray(np.quantile(np.concatenate(lengths), _TAIL))

    shares = _SHARES[_SHARES >= 0.3]
    cost = [np.abs(np.log(drawn(share) / theirs)).mean() for share in shares]
    best = float(shares[int(np.argmin(cost))])
    return best, theirs, drawn(best)


def main(
    motions: Annotated[list[Path], typer.Argument(help="motion files of real video, made with run_camera.py --save")],
    detector: Annotated[str, typer.Option(help="the keypoint network that made them")] = "movenet-lightning",
    reference: Annotated[Path | None, typer.Option(help="multi-camera reference of these recordings")] = None,
) -> None:
    """Print the parameters of `training.simulation.detector_noise.RealVideo` measured on recordings."""
    detectors = {noise.name: noise for noise in load_noise()}
    if detector not in detectors:
        raise typer.BadParameter(f"there are no tables of '{detector}': choose one of {', '.join(detectors)}")
    noise = detectors[detector]
    recordings = [load_motion(path) for path in motions]
    if reference is not None:
        try:
            measured = load_reference(reference)
        except ValueError as error:
            raise UserError(str(error)) from None
        if len(recordings) != len(measured.matrices):
            raise UserError(
                f"{reference} is of {len(measured.matrices)} cameras: give as many recordings, in their order"
            )
        parts = [errors_against(measured, camera, motion) for camera, motion in enumerate(recordings)]
        every = Errors(*(np.concatenate([getattr(part, name) for part in parts]) for name in Errors.__slots__))
        share, theirs, drawn = fit_error(noise, every)
        for what, values in (("found", theirs), ("drawn", drawn)):
            quantiles = "  ".join(
                f"{100 * place:.0f} % {value:.3f}" for place, value in zip(_TAIL, values, strict=True)
            )
            print(f"error {what}: {quantiles} of the person's size")
        print(f"{len(every.length)} visible keypoints: error {share:.2f}")
        return
    _print_people(noise, [person for motion in recordings for person in people_in(motion)])


def _print_people(noise: DetectorNoise, people: list[PersonDetections]) -> None:
    table = Table("recording", "person", "frames", *GROUPS, "difficulty", title="mean confidence of visible keypoints")
    difficulties, shaking = [], [still_jitter(person) for person in people if person.fps >= _MIN_FPS]
    for person in people:
        confidences = confidences_of(person)
        difficulty = fit_difficulty(noise, confidences)
        if np.isfinite(difficulty):
            difficulties.append(difficulty)
            means = [f"{values.mean():.2f}" if len(values) >= _ENOUGH else "" for values in confidences]
            row = (Path(person.source).name, str(person.person), str(len(person.points)))
            table.add_row(*row, *means, f"{difficulty:.2f}")
    if not difficulties:
        raise UserError("nobody is seen long enough in these recordings: give longer ones")
    for difficulty in (float(np.median(difficulties)), 1.0):
        means = [f"{confidence_at(noise, group, difficulty).mean():.2f}" for group in range(len(GROUPS))]
        table.add_row("the table", "", "", *means, f"{difficulty:.2f}", style="dim")
    Console(width=140).print(table)
    print(
        f"{len(difficulties)} people: difficulty {' '.join(f'{difficulty:.2f}' for difficulty in sorted(difficulties))}"
    )
    jitters = [np.concatenate([one[group] for one in shaking] or [np.zeros(0)]) for group in range(len(GROUPS))]
    medians = "  ".join(
        f"{name} {np.median(values):.4f}"
        for name, values in zip(GROUPS, jitters, strict=True)
        if len(values) >= _ENOUGH
    )
    print(f"still keypoints shake by {medians or '-'} of the person's size: jitter {fit_jitter(noise, jitters):.2f}")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m training.noise_measurement.real_video out/demo.npz")
