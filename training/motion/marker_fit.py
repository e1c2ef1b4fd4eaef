"""From optical markers to joints: one skeleton for each subject, one pose for each frame.

Poses: `training.motion.marker_solver` solves every fifth frame from rest and the others from their neighbours; a frame that
fits much worse than its neighbour is tried again from there.

Skeleton: on a sample of a subject's frames, poses and the places of the markers on the bones are solved alternately. With the
poses known, the markers are linear in the lengths of the bones and in their own places: least squares with both near those of
a mean person, left and right alike. Takes of a T-pose or of quiet standing determine the zero of pelvis, spine, head and feet;
without any the mean person's is taken, which may be some degrees off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    frames_of,
    local_rotations,
)
from training.motion.marker_solver import FAR_M, MarkerSkeleton, marker_places, solve
from training.motion.markers import MARKERS, MarkerTake, resample_markers
from training.motion.retarget import PELVIS_ABOVE_HIPS

FITTED_FPS: Final = 30.0
SAMPLE: Final = 200
"""Frames by which a subject's skeleton is found."""
MIN_MARKERS: Final = 20
LARGEST_MEAN_MM: Final = 30.0
"""Frames with fewer markers, or that fit worse in the mean, are left out."""

_FAR_AT_FIRST: Final = 0.10  # the same in the first rounds, while poses are rough
_TRUNK: Final = [MARKERS.index(name) for name in ("LASI", "RASI", "LPSI", "RPSI", "C7", "T10", "CLAV", "STRN", "RBAK")]


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
            poses, points, seen, skeleton, rest, 15 if number == 0 else 3, 0.08 if number < 4 else FAR_M
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
    weight = seen / MARKER_SIGMA**2 / (1 + distance**2 / FAR_M**2)
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
