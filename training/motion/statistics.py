"""Joint angles of the motion that training draws, compared with those of the motion as recorded.

A network also learns how frequent poses are: augmentation that bends all knees a little would teach it that nobody stands
straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import roma
import torch
from rich.table import Table
from torch import Tensor

from body.lbs_torch import TorchBody
from body.packed import BETAS
from common.arrays import FloatArray
from training.motion.bank import Augmentation, MotionBank
from training.motion.clip import Clip
from training.motion.posture import POSTURE_ANGLES, joint_angles

SECONDS: Final = 3.0
WINDOW_FPS: Final = 15.0
"""Frame rate of the windows that are measured."""

STRAIGHT_DEG: Final = 8.0
UPRIGHT_DEG: Final = 20.0
"""Limits for standing straight: of the flexion of both knees, and of the trunk's lean, degrees."""

PERCENTILES: Final = (5, 25, 50, 75, 95)
STEP_DEG: Final = 10
"""Width of a histogram's bins."""

TRANSITIONS: Final = ("both knees, straight to bent", "both thighs, upright to level", "lunge")


@dataclass(frozen=True, slots=True, eq=False)
class MotionStatistics:
    """Of many windows of motion."""

    angles: dict[str, FloatArray]
    """Angles of all frames (M,), degrees, left and right sides together, by the names of `posture.ANGLES`."""
    standing_straight: float
    """Share of the frames."""
    transitions: dict[str, float]
    """Share of the windows in which a transition happens, by the names of `TRANSITIONS`."""


@torch.no_grad()
def measure_motion(
    clips: Sequence[Clip], body: TorchBody, augmentation: Augmentation, windows: int = 1024, seed: int = 0
) -> MotionStatistics:
    """Draw ``windows`` windows of `SECONDS` and measure them on the mean body.

    Raises:
        ValueError: There are no clips.
    """
    bank = MotionBank(clips, seed=seed)
    angles: dict[str, list[Tensor]] = {}
    straight, happened = [], []
    for start in range(0, windows, 128):
        count = min(128, windows - start)
        window = bank.sample(count, round(SECONDS * WINDOW_FPS), augmentation, torch.full((count,), WINDOW_FPS))
        turned, joints, _ = body.frames(window.rotations, torch.zeros(*window.rotations.shape[:2], BETAS))
        found = joint_angles(joints, turned)
        for name, values in found.items():
            angles.setdefault(name, []).append(values.flatten())
        knees = found["knee flexion"]
        straight.append(((knees < STRAIGHT_DEG).all(-1) & (found["trunk lean"][..., 0] < UPRIGHT_DEG)).float().mean(1))
        happened.append(transitions(joints, knees))
    return MotionStatistics(
        {name: torch.cat(parts).numpy() for name, parts in angles.items()},
        float(torch.cat(straight).mean()),
        dict(zip(TRANSITIONS, torch.cat(happened).float().mean(0).tolist(), strict=True)),
    )


def transitions(joints: Tensor, knees: Tensor) -> Tensor:
    """Which of `TRANSITIONS` happen in windows (B, 3) bool, in either direction.

    - both knees are straighter than 25 degrees at one time and more bent than 65 at another: squats, sitting down, rising;
    - both thighs are within 25 degrees of the vertical at one time and more than 65 off it at another: to a chair's height;
    - one thigh is more than 50 degrees forward while the other is not and its knee is bent by more than 25; at another
      time both knees are straighter than 25.

    Args:
        joints: (B, T, 24, 3) metres, y up.
        knees: (B, T, 2) flexion, degrees.
    """
    thighs = torch.nn.functional.normalize(joints[:, :, [4, 5]] - joints[:, :, [1, 2]], dim=-1)
    lifted = torch.rad2deg(torch.acos((-thighs[..., 1]).clamp(-1, 1)))
    straight = (knees < 25).all(-1).any(1)
    bent = (knees > 65).all(-1).any(1)
    upright, level = (lifted < 25).all(-1).any(1), (lifted > 65).all(-1).any(1)
    low = knees.amin(-1) > 25
    one = ((lifted[..., 0] > 50) & (lifted[..., 1] < 30)) | ((lifted[..., 1] > 50) & (lifted[..., 0] < 30))
    return torch.stack([straight & bent, upright & level, straight & (low & one).any(1)], -1)


def largest_gap(first: FloatArray, second: FloatArray) -> float:
    """Largest difference of two samples' cumulative distributions (Kolmogorov and Smirnov's statistic), 0 to 1."""
    one, other = np.sort(first), np.sort(second)
    at = np.concatenate([one, other])
    below = np.searchsorted(one, at, "right") / len(one) - np.searchsorted(other, at, "right") / len(other)
    return float(np.abs(below).max())


@torch.no_grad()
def clip_angles(clips: Sequence[Clip], body: TorchBody) -> dict[str, FloatArray]:
    """Joint angles, degrees (M,), of all frames of ``clips`` on the mean body, left and right together, by the names of
    `posture.ANGLES`. The clips refer to the default body's rest pose."""
    vectors = torch.from_numpy(np.concatenate([clip.rotations for clip in clips])).float()
    angles: dict[str, list[Tensor]] = {}
    for start in range(0, len(vectors), 8192):
        part = vectors[start : start + 8192]
        turned, joints, _ = body.frames(roma.rotvec_to_rotmat(part), torch.zeros(len(part), BETAS))
        for name, values in joint_angles(joints, turned).items():
            angles.setdefault(name, []).append(values.flatten())
    return {name: torch.cat(parts).numpy() for name, parts in angles.items()}


def sources_table(clips: Sequence[Clip], body: TorchBody, title: str) -> Table:
    """Medians, with the 5th and the 95th percentile, of the angles of each source, side by side. The same kind of motion
    should look alike whoever recorded it: a constant difference of a joint is one of the skeletons."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.source or clip.licence, []).append(clip)
    headings = [
        f"{name} ({len({clip.subject for clip in part})} people, {sum(clip.seconds for clip in part):.0f} s)"
        for name, part in groups.items()
    ]
    table = Table("degrees: median (5 % to 95 %)", *headings, title=title)
    measured = [clip_angles(part, body) for part in groups.values()]
    for name in POSTURE_ANGLES:
        cells = [np.percentile(angles[name], (50, 5, 95)) for angles in measured]
        table.add_row(name, *(f"{middle:.0f} ({low:.0f} to {high:.0f})" for middle, low, high in cells))
    return table


def angles_table(raw: MotionStatistics, drawn: MotionStatistics, title: str) -> Table:
    """A line for each angle, both sets in it, and one for each share."""
    table = Table(
        "degrees", *(f"{percent} %" for percent in PERCENTILES), "raw to drawn, at the median", "largest gap of shares",
        title=title,
    )  # fmt: skip
    for name, values in raw.angles.items():
        mine, theirs = (np.percentile(part, PERCENTILES) for part in (values, drawn.angles[name]))
        cells = [f"{a:.0f} → {b:.0f}" for a, b in zip(mine, theirs, strict=True)]
        middle = PERCENTILES.index(50)
        gap = largest_gap(values, drawn.angles[name])
        table.add_row(name, *cells, f"{theirs[middle] - mine[middle]:+.1f}", f"{gap:.3f}")
    return table


def shares(raw: MotionStatistics, drawn: MotionStatistics) -> Table:
    """Shares of straight standing and of the transitions, raw and drawn."""
    table = Table("share", "raw", "drawn", title=f"windows of {SECONDS:g} s")
    table.add_row(
        f"frames standing straight (knees < {STRAIGHT_DEG:g}°, trunk < {UPRIGHT_DEG:g}°)",
        f"{raw.standing_straight:.1%}",
        f"{drawn.standing_straight:.1%}",
    )
    for name in TRANSITIONS:
        table.add_row(f"windows with {name}", f"{raw.transitions[name]:.1%}", f"{drawn.transitions[name]:.1%}")
    return table


def histograms(raw: MotionStatistics, drawn: MotionStatistics) -> Table:
    """Shares of the frames in bins of `STEP_DEG`, in percent, raw over drawn; where there are some."""
    table = Table(
        "degrees", "from", *(f"+{step}" for step in range(0, 180, STEP_DEG)), title="% of frames, raw / drawn"
    )
    for name, values in raw.angles.items():
        lowest = int(np.floor(min(values.min(), drawn.angles[name].min()) / STEP_DEG) * STEP_DEG)
        lowest = max(lowest, -90)
        edges = np.arange(lowest, lowest + 180 + 1, STEP_DEG)
        parts = [100 * np.histogram(part, edges)[0] / len(part) for part in (values, drawn.angles[name])]
        cells = [f"{a:.0f}/{b:.0f}" if max(a, b) >= 0.5 else "" for a, b in zip(*parts, strict=True)]
        table.add_row(name, str(lowest), *cells)
    return table
