"""From optical markers to joints: one skeleton for each subject, one pose for each frame.

Poses: damped Gauss-Newton (Levenberg and Marquardt) on all frames at once. The residuals are the distances of the markers over
their standard deviation, joint rotations over theirs, and limits of hinges; outlying markers count less (Cauchy's
weights). Every fifth frame is solved from rest, the others from their neighbours; a frame that fits much worse than
its neighbour is tried again from there.

Skeleton: on a sample of a subject's frames, poses and the places of the markers on the bones are solved alternately. With the
poses known, the markers are linear in the lengths of the bones and in their own places: least squares with both near those of
a mean person, left and right alike. Takes of a T-pose or of quiet standing determine the zero of pelvis, spine, head and feet;
without any the mean person's is taken, which may be some degrees off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from body.joints import JOINT_NAMES, PARENTS
from common.arrays import Int64Array
from training.motion.clip import LEG_LENGTH, Clip, MotionError
from training.motion.marker_model import (
    ANGLE_COUNT,
    BALLS,
    BONE_GROUPS,
    CARRIERS,
    FOREARMS,
    KIND,
    MARKER_SIGMA,
    PARAMETERS,
    PLACE_SIGMA,
    PLACES,
    STEPS,
    Poses,
    bone_offsets,
    exp,
    frames_of,
    limits,
    local_rotations,
    prior_sigmas,
)
from training.motion.markers import MARKERS, MarkerTake, resample_markers
from training.motion.retarget import PELVIS_ABOVE_HIPS

FITTED_FPS: Final = 30.0
SAMPLE: Final = 200
"""Frames by which a subject's skeleton is found."""
MIN_MARKERS: Final = 20
LARGEST_MEAN_MM: Final = 30.0
"""Frames with fewer markers, or that fit worse in the mean, are left out."""

_BLOCK: Final = 256
_FAR, _FAR_AT_FIRST = 0.04, 0.10
_LIMIT_SIGMA: Final = 0.03
_DIFFERENCE: Final = 2e-3  # radians or metres: single precision leaves four digits of a derivative
_TRUNK: Final = [MARKERS.index(name) for name in ("LASI", "RASI", "LPSI", "RPSI", "C7", "T10", "CLAV", "STRN", "RBAK")]


@dataclass(frozen=True)
class MarkerSkeleton:
    """A subject's bones, and where the markers are on them."""

    offsets: Tensor
    """float32 (24, 3) from each joint's parent, rest pose, metres."""
    places: Tensor
    """float32 (M, 3) each marker in the frame of the joint that carries it, metres."""


def marker_places(step: Tensor, poses: Poses, skeleton: MarkerSkeleton) -> Tensor:
    """Where the markers are (..., M, 3), metres."""
    turned, places = frames_of(step, poses, skeleton.offsets)
    return places[..., CARRIERS, :] + (turned[..., CARRIERS, :, :] @ skeleton.places[..., None])[..., 0]


def solve(
    poses: Poses, points: Tensor, seen: Tensor, skeleton: MarkerSkeleton, rest: Sequence[str] | str = "free", rounds: int = 12,
    far: float = _FAR,
) -> tuple[Poses, Tensor, Tensor]:  # fmt: skip
    """Fit poses to markers.

    Args:
        poses: Where to start, N frames.
        points: (N, M, 3) metres; anything where a marker is not seen.
        seen: (N, M), 1 or 0.
        skeleton: Of the subject.
        rest: What is known of each frame (see `MarkerTake`).
        rounds: Most steps.
        far: Distance from which a marker counts less, metres.

    Returns:
        The poses, distances of the markers (N, M) in metres, and costs (N,).
    """
    kinds = [rest] * len(points) if isinstance(rest, str) else rest
    parts = [
        _solve(poses[part], points[part], seen[part], skeleton, kinds[part], rounds, far)
        for part in (slice(start, start + _BLOCK) for start in range(0, len(points), _BLOCK))
    ]
    solved = Poses(*(torch.cat([getattr(part[0], name) for part in parts]) for name in ("place", "balls", "angles")))
    return solved, torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])


@torch.no_grad()
def _solve(
    poses: Poses, points: Tensor, seen: Tensor, skeleton: MarkerSkeleton, kinds: Sequence[str], rounds: int, far: float
) -> tuple[Poses, Tensor, Tensor]:
    sigmas = torch.stack([prior_sigmas(kind)[0] for kind in kinds])
    tilt = torch.tensor([prior_sigmas(kind)[1] for kind in kinds])
    low, high = limits()
    precision = seen / MARKER_SIGMA**2

    up = torch.tensor([0.0, 1.0, 0.0])

    def terms(now: Poses) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        zero = torch.zeros(len(now.place), PARAMETERS)
        turned, places = frames_of(zero, now, skeleton.offsets)
        markers = places[:, CARRIERS] + (turned[:, CARRIERS] @ skeleton.places[..., None])[..., 0]
        error, lean = markers - points, turned[:, 0, :, 1] - up
        distance = (error**2).sum(-1)
        prior = torch.cat([roma.rotmat_to_rotvec(now.balls).flatten(1), now.angles], 1) / sigmas
        beyond = ((now.angles - low).clamp_max(0) + (now.angles - high).clamp_min(0)) / _LIMIT_SIGMA
        cost = (precision * far**2 * torch.log1p(distance / far**2)).sum(1) + (prior**2).sum(1) + (beyond**2).sum(1)
        return error, distance, prior, beyond, cost + ((lean / tilt[:, None]) ** 2).sum(1)

    damping = torch.full((len(points),), 1e-2)
    error, distance, prior, beyond, cost = terms(poses)
    for _ in range(rounds):
        of_markers, of_up = _derivatives(poses, skeleton)
        weight = precision / (1 + distance / far**2)
        weighted = (of_markers * weight[..., None, None]).flatten(1, 2).transpose(1, 2)
        flat = of_markers.flatten(1, 2)
        of_up = of_up / tilt[:, None, None]
        lean = poses.balls[:, 0, :, 1] - up
        normal = weighted @ flat + of_up.transpose(1, 2) @ of_up
        gradient = (weighted @ error.flatten(1)[..., None])[..., 0]
        gradient += (of_up.transpose(1, 2) @ (lean / tilt[:, None])[..., None])[..., 0]
        diagonal = torch.zeros(len(points), PARAMETERS)
        diagonal[:, 3:] = sigmas**-2
        diagonal[:, -ANGLE_COUNT:] += (beyond != 0) / _LIMIT_SIGMA**2
        gradient[:, 3:] += prior / sigmas
        gradient[:, -ANGLE_COUNT:] += beyond / _LIMIT_SIGMA
        scale = torch.diagonal(normal, dim1=1, dim2=2) + diagonal + 1
        step = -torch.linalg.solve(normal + torch.diag_embed(diagonal + damping[:, None] * scale), gradient[..., None])[
            ..., 0
        ]
        step = torch.nan_to_num(step * (0.8 / step[:, 3:].abs().amax(1, keepdim=True).clamp_min(1e-9)).clamp_max(1.0))
        tried = Poses(
            poses.place + step[:, :3],
            exp(step[:, 3:-ANGLE_COUNT].reshape(-1, len(BALLS), 3)) @ poses.balls,
            poses.angles + step[:, -ANGLE_COUNT:],
        )
        found = terms(tried)
        better = found[-1] <= cost
        poses = Poses(
            *(
                torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in (
                    (tried.place, poses.place), (tried.balls, poses.balls), (tried.angles, poses.angles),
                )
            )
        )  # fmt: skip
        gained = float(((cost - found[-1]) * better / (cost + 1)).max())
        error, distance, prior, beyond, cost = (
            torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(found, (error, distance, prior, beyond, cost), strict=True)
        )
        damping = torch.where(better, damping * 0.3, damping * 8).clamp(1e-6, 1e4)
        if gained < 2e-4:
            break
    poses.balls = roma.special_procrustes(poses.balls)
    return poses, distance.sqrt(), cost


def _derivatives(poses: Poses, skeleton: MarkerSkeleton) -> tuple[Tensor, Tensor]:
    """Of markers (N, M, 3, PARAMETERS) and of the pelvis' upright axis (N, 3, PARAMETERS), by differences."""
    steps = torch.cat([torch.zeros(1, PARAMETERS), _DIFFERENCE * torch.eye(PARAMETERS)])[:, None]
    turned, places = frames_of(steps, poses, skeleton.offsets)
    markers = places[..., CARRIERS, :] + (turned[..., CARRIERS, :, :] @ skeleton.places[..., None])[..., 0]
    up = turned[..., 0, :, 1]
    of_markers, of_up = ((part[1:] - part[:1]) / _DIFFERENCE for part in (markers, up))
    return of_markers.movedim(0, -1), of_up.movedim(0, -1)


def start_poses(points: Tensor, seen: Tensor, skeleton: MarkerSkeleton) -> Poses:
    """T-poses laid over the markers of pelvis and chest."""
    poses = Poses.rest(len(points))
    template = marker_places(torch.zeros(1, PARAMETERS), Poses.rest(1), skeleton)[0, _TRUNK]
    weight = seen[:, _TRUNK] * torch.tensor([1.0] * 4 + [0.25] * 5) + 1e-6
    turn, place = roma.rigid_points_registration(template.expand(len(points), -1, 3), points[:, _TRUNK], weight)
    poses.balls[:, 0], poses.place = turn, place
    return poses


def calibrate(points: Tensor, seen: Tensor, rest: Sequence[str], size: float, rounds: int = 12) -> MarkerSkeleton:
    """Find a subject's skeleton from sample frames (N, M, 3); ``size`` over the mean person's is where lengths start."""
    wanted = torch.full((len(BONE_GROUPS),), size)
    lengths, places = wanted.clone(), PLACES * size
    poses = start_poses(points, seen, MarkerSkeleton(bone_offsets(lengths), places))
    for number in range(rounds):
        skeleton = MarkerSkeleton(bone_offsets(lengths), places)
        poses, distance, _ = solve(
            poses, points, seen, skeleton, rest, 15 if number == 0 else 3, 0.08 if number < 4 else _FAR
        )
        lengths, places = _fit_skeleton(poses, points, seen, distance, skeleton, wanted, size)
    return MarkerSkeleton(bone_offsets(lengths), places)


@torch.no_grad()
def _fit_skeleton(
    poses: Poses, points: Tensor, seen: Tensor, distance: Tensor, skeleton: MarkerSkeleton, wanted: Tensor, size: float
) -> tuple[Tensor, Tensor]:
    """Lengths of bones (9,) and places of markers (M, 3) that fit best while the rotations stay."""
    turned, _ = frames_of(torch.zeros(len(points), PARAMETERS), poses, skeleton.offsets)
    count, kinds = len(MARKERS), len(BONE_GROUPS)
    design = torch.zeros(len(points), count, 3, kinds + 3 * count)
    for marker, carrier in enumerate(CARRIERS.tolist()):
        design[:, marker, :, kinds + 3 * marker : kinds + 3 * marker + 3] = turned[:, carrier]
        joint = carrier if carrier < len(JOINT_NAMES) else _WRISTS[carrier]
        while joint > 0:
            design[:, marker, :, KIND[joint]] += turned[:, PARENTS[joint]] @ STEPS[joint]
            joint = PARENTS[joint]
    weight = seen / MARKER_SIGMA**2 / (1 + distance**2 / _FAR**2)
    share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-9))[..., None]
    target = points - poses.place[:, None]
    # The pelvis' place is free in every frame: only distances from the frame's middle count.
    design = design - (design * share[..., None]).sum(1, keepdim=True)
    target = target - (target * share).sum(1, keepdim=True)
    root = (weight * (12.0 / len(points))).sqrt()[..., None]
    a, b = (design * root[..., None]).flatten(0, 2).double(), (target * root).flatten().double()
    normal, right = a.T @ a, a.T @ b
    sure = torch.cat([(0.06 * wanted) ** -2, (PLACE_SIGMA**-2)[:, None].expand(-1, 3).flatten()]).double()
    normal += torch.diag(sure)
    right += sure * torch.cat([wanted, (PLACES * size).flatten()]).double()
    for marker, name in enumerate(MARKERS):
        if name[0] == "L":
            other = MARKERS.index("R" + name[1:])
            loose = name[1:] in ("THI", "UPA", "FRM", "TIB")
            for axis, sign in enumerate((-1.0, 1.0, 1.0)):
                i, j = kinds + 3 * marker + axis, kinds + 3 * other + axis
                pull = (0.05 if loose else 0.015) ** -2
                normal[i, i] += pull
                normal[j, j] += pull
                normal[i, j] -= sign * pull
                normal[j, i] -= sign * pull
    found = torch.linalg.solve(normal, right).float()
    return found[:kinds], found[kinds:].reshape(count, 3)


_WRISTS: Final = {frame: JOINT_NAMES.index(f"{side}_wrist") for side, frame in FOREARMS.items()}


def fit_take(points: Tensor, seen: Tensor, skeleton: MarkerSkeleton) -> tuple[Poses, Tensor]:
    """Poses of a take (N, M, 3) and distances (N, M) of its markers, metres."""
    count = len(points)
    keys = torch.unique(torch.cat([torch.arange(0, count, 5), torch.tensor([count - 1])]))
    poses = start_poses(points[keys], seen[keys], skeleton)
    poses, _, _ = solve(poses, points[keys], seen[keys], skeleton, rounds=25, far=_FAR_AT_FIRST)
    poses, distance, cost = solve(poses, points[keys], seen[keys], skeleton, rounds=8)
    poses, _, _ = _retry(poses, distance, cost, points[keys], seen[keys], skeleton)
    poses = _between(poses, keys.numpy(), count)
    poses, distance, cost = solve(poses, points, seen, skeleton, rounds=8)
    poses, distance, _ = _retry(poses, distance, cost, points, seen, skeleton)
    return poses, distance


def _retry(
    poses: Poses, distance: Tensor, cost: Tensor, points: Tensor, seen: Tensor, skeleton: MarkerSkeleton
) -> tuple[Poses, Tensor, Tensor]:
    """Solve frames that fit much worse than a neighbour again from there."""
    for shift in (1, -1, 1, -1):
        rows = torch.arange(len(cost))
        beside = (rows - shift).clamp(0, len(cost) - 1)
        bad = rows[cost > 1.35 * cost[beside] + 3]
        if not len(bad):
            continue
        tried, off, new = solve(poses[beside[bad]], points[bad], seen[bad], skeleton, rounds=12)
        won = new < 0.97 * cost[bad]
        if won.any():
            poses[bad[won]] = tried[won]
            distance[bad[won]], cost[bad[won]] = off[won], new[won]
    return poses, distance, cost


def _between(poses: Poses, keys: Int64Array, count: int) -> Poses:
    """Poses of all ``count`` frames from those of some."""
    if len(keys) == 1:
        return Poses(poses.place.repeat(count, 1), poses.balls.repeat(count, 1, 1, 1), poses.angles.repeat(count, 1))
    at = np.arange(count)
    made = Poses.rest(count)
    for values, into in ((poses.place, made.place), (poses.angles, made.angles)):
        for column in range(values.shape[1]):
            into[:, column] = torch.from_numpy(np.interp(at, keys, values[:, column].numpy())).float()
    for ball in range(len(BALLS)):
        turns = Slerp(keys, Rotation.from_matrix(poses.balls[:, ball].double().numpy()))(at)
        made.balls[:, ball] = torch.from_numpy(turns.as_matrix()).float()
    return made


def clips_from_markers(
    takes: Iterable[MarkerTake], fps: float = FITTED_FPS, min_seconds: float = 0.5, seed: int = 0
) -> list[Clip]:
    """Fit all takes of one subject, and cut out frames whose markers are missing or do not fit.

    Args:
        takes: Of one subject.
        fps: Frame rate of the clips.
        min_seconds: Shorter pieces are left out.
        seed: Of the choice of the frames that the skeleton is found by.

    Raises:
        MotionError: Too few frames with enough markers.
    """
    moving: list[tuple[MarkerTake, Tensor]] = []
    rests: list[str] = []
    sample: list[Tensor] = []
    rng = np.random.default_rng(seed)
    for take in takes:
        frames = torch.from_numpy(resample_markers(take, fps))
        enough = torch.nonzero(torch.isfinite(frames[..., 0]).sum(1) >= MIN_MARKERS)[:, 0].numpy()
        if take.rest == "tpose":
            chosen = enough[:: max(len(enough) // 20, 1)]
            rests += ["tpose"] * len(chosen)
        else:
            moving.append((take, frames))
            chosen = rng.choice(enough, min(len(enough), 20), replace=False)
            first = take.rest == "stand" and len(enough) and enough[0] == 0
            if first:
                chosen = np.concatenate([[0], chosen])
            rests += (["stand"] if first else []) + ["free"] * (len(chosen) - int(first))
        sample.append(frames[chosen])
    points = torch.cat(sample) if sample else torch.empty(0, len(MARKERS), 3)
    if len(points) < 10 or not moving:
        raise MotionError("too few frames with enough markers to find the skeleton by")
    kept = [number for number, rest in enumerate(rests) if rest != "free"]
    free = [number for number, rest in enumerate(rests) if rest == "free"]
    rows = sorted(kept[:SAMPLE] + rng.permutation(free)[:SAMPLE].tolist())
    points, rests = points[rows], [rests[row] for row in rows]
    seen = torch.isfinite(points[..., 0]).float()
    filled = torch.nan_to_num(points)
    skeleton = calibrate(filled, seen, rests, _size(points))
    clips = []
    for take, frames in moving:
        seen = torch.isfinite(frames[..., 0]).float()
        poses, distance = fit_take(torch.nan_to_num(frames), seen, skeleton)
        clips += _clips_of(take, poses, distance, seen, skeleton, fps, min_seconds)
    return clips


def _size(points: Tensor) -> float:
    """Size over the mean person's: by the distances of trunk and leg markers, which do not depend on the pose much."""
    ratios = []
    for first, second in (
        ("LSHO", "LASI"),
        ("RSHO", "RASI"),
        ("LKNE", "LANK"),
        ("RKNE", "RANK"),
        ("C7", "LPSI"),
        ("C7", "RPSI"),
    ):
        pair = [MARKERS.index(first), MARKERS.index(second)]
        places = marker_places(torch.zeros(1, PARAMETERS), Poses.rest(1), MarkerSkeleton(STEPS, PLACES))[0, pair]
        ratios.append(
            torch.nanmedian((points[:, pair[0]] - points[:, pair[1]]).norm(dim=-1)) / (places[0] - places[1]).norm()
        )
    size = float(torch.stack(ratios).nanmedian())
    return size if 0.5 < size < 1.5 else 1.0


def _clips_of(
    take: MarkerTake,
    poses: Poses,
    distance: Tensor,
    seen: Tensor,
    skeleton: MarkerSkeleton,
    fps: float,
    min_seconds: float,
) -> list[Clip]:
    turned, places = frames_of(torch.zeros(len(poses.place), PARAMETERS), poses, skeleton.offsets)
    scale = LEG_LENGTH / float(skeleton.offsets[4].norm() + skeleton.offsets[7].norm())
    pelvis = places[:, 1:3].mean(1) * scale + turned[:, 0, :, 1] * PELVIS_ABOVE_HIPS
    rotations = Rotation.from_matrix(local_rotations(turned).double().numpy().reshape(-1, 3, 3)).as_rotvec()
    rotations = rotations.reshape(len(pelvis), len(JOINT_NAMES), 3).astype(np.float32)
    mean = (distance * seen).sum(1) / seen.sum(1).clamp_min(1) * 1000
    good = ((seen.sum(1) >= MIN_MARKERS) & (mean < LARGEST_MEAN_MM)).numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(np.int8)))
    clips = []
    for number, (start, stop) in enumerate(edges.reshape(-1, 2)):
        if (stop - start) / fps < min_seconds:
            continue
        track = pelvis[start:stop].numpy().astype(np.float32)
        track[:, [0, 2]] -= track[0, [0, 2]]
        name = take.name if number == 0 else f"{take.name} part {number + 1}"
        clips.append(
            Clip(name, take.subject, "", "unknown", "train", fps, rotations[start:stop], track, float(stop - start))
        )
    return clips
