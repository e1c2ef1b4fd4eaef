"""Errors of the ablation's networks on synthetic people and on real video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import roma
import torch
from torch import Tensor

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs_torch import TorchBody
from common.arrays import AnyArray, DoubleArray, FloatArray
from formats.motion import Motion
from realtime.records import Keypoints
from realtime.stages.regressor.translation_fit import fit_translation
from training.ablation.fitting import make_batch, region_coordinates
from training.ablation.real_clips import RealClip
from training.evaluation.metrics import mean_of_known, pa_distances, pelvis_aligned
from training.evaluation.mocap_reference import MocapReference, joints_of, score_joints
from training.evaluation.reference import Comparison, Reference, compare_with_reference, join_comparisons
from training.evaluation.synthetic import JOINTS_14, UNSCORED, score_batch
from training.networks.geometry import look_at, rotation_from_6d
from training.networks.inputs import Observation
from training.networks.outputs import Lifted
from training.synth.dataset import Windows

FAST: Final = 1.5
"""m/s relative to the pelvis above which a limb counts as fast."""
MISLED: Final = 0.06
"""Error of a confident detection above which it counts as misleading, in sides of the region."""
_CONFIDENT: Final = 0.4
_LIMBS: Final = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("elbow", "wrist", "knee", "ankle")]
_LIMB_JOINTS: Final = [JOINT_NAMES.index(COCO_NAMES[i]) for i in _LIMBS]
_SHOULDERS: Final = [JOINT_NAMES.index("left_shoulder"), JOINT_NAMES.index("right_shoulder")]
_ARMS: Final = [
    JOINT_NAMES.index(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist") for side in ("left", "right")
]
_TWISTING: Final = {"left_shoulder": "left_elbow", "right_shoulder": "right_elbow", "neck": "head"}
"""Joints whose rotation about the following bone moves no joint at the end of that bone."""


@dataclass(frozen=True, slots=True)
class NetworkErrors:
    """Errors of one trained network; NaN where it was not evaluated.

    ``synthetic_*`` are on unseen synthetic people, ``real_*`` on real video: the arms against the multi-camera
    reference, the rest on clips without one. Arms: the shoulders, elbows and wrists, which that reference has.
    """

    variant: str
    """The variant of the network, by its name in the experiment."""
    seed: int
    """Seed of its training."""
    synthetic_pa: float = float("nan")
    """PA-MPJPE of 14 joints, mm."""
    synthetic_mpjpe: float = float("nan")
    """MPJPE of 14 joints, mm."""
    synthetic_acceleration: float = float("nan")
    """Acceleration error at 30 fps, m/s²."""
    synthetic_pa_arms: float = float("nan")
    """PA-MPJPE of the arms, mm."""
    synthetic_rooted_arms: float = float("nan")
    """Mean distance of the arms' joints with the shoulders' centres aligned, mm."""
    synthetic_facing: float = float("nan")
    """Angle between the lines through the shoulders, degrees."""
    synthetic_depth: float = float("nan")
    """Error of 14 joints along the camera's axis, mm."""
    synthetic_twist: float = float("nan")
    """Error of upper arms and neck about their own bones, degrees."""
    synthetic_hidden: float = float("nan")
    """Error of elbows, wrists, knees and ankles that are occluded, mm."""
    synthetic_fast: float = float("nan")
    """Error of those that are in view and move fast, mm."""
    synthetic_misled: float = float("nan")
    """Error of those that are in view and whose confident detection is far off, mm."""
    real_pa_arms: float = float("nan")
    """The same as ``synthetic_pa_arms``, on real clips."""
    real_rooted_arms: float = float("nan")
    """The same as ``synthetic_rooted_arms``, on real clips."""
    real_facing: float = float("nan")
    """The same as ``synthetic_facing``, on real clips."""
    real_reprojection: float = float("nan")
    """Distance of the fitted body's keypoints from confident detections, as a share of the height of the person's box."""
    real_acceleration: float = float("nan")
    """Mean acceleration of the joints relative to the pelvis, m/s²."""
    moving_pa: float = float("nan")
    """PA-MPJPE of a real person who moves, against motion capture, mm."""
    moving_mpjpe: float = float("nan")
    """MPJPE of the same, after one rotation for the whole clip, mm."""
    moving_knee: float = float("nan")
    """Error of the same person's knee flexion, degrees, root mean square."""


class Regressor(Protocol):
    """What can be evaluated: a `Lifter`, or anything with its interface."""

    def start_state(self, batch: int) -> Tensor:
        """Initial recurrent state of ``batch`` windows."""
        ...

    def __call__(self, seen: Observation, state: Tensor) -> Lifted:
        """Predict the bodies of the windows ``seen``."""
        ...


class ConstantRegressor:
    """Predicts the same body in the centre of the region, whatever the input: the error without any information."""

    def __init__(self, windows: Windows, body: TorchBody, steps: int = 300) -> None:
        """Find the pose with the least mean joint distance on ``windows``, in ``steps`` of gradient descent."""
        frames = windows.frames(4)
        batch = make_batch(frames, np.arange(len(frames)))
        self.depth = (batch.pelvis[..., 2] * _side(batch.seen)).mean()
        truth = (batch.joints @ look_at(_middle(batch.seen)))[
            :, 0
        ]  # in the frame of a camera whose axis points at the region
        upright = torch.tensor([1.0, 0, 0, 0, 1.0, 0]).repeat(len(JOINT_NAMES), 1)
        upright[0, 4] = -1  # facing the camera
        six, betas = upright.requires_grad_(), torch.zeros(10, requires_grad=True)
        optimizer = torch.optim.Adam([six, betas], 0.02)
        with torch.enable_grad():
            for _ in range(steps):
                joints, _ = body.skeleton(rotation_from_6d(six), betas)
                optimizer.zero_grad()
                (truth - joints).norm(dim=-1).mean().backward()
                optimizer.step()
        self.rotations, self.betas = rotation_from_6d(six).detach(), betas.detach()

    def start_state(self, batch: int) -> Tensor:
        """Initial state (batch, 1); it is not used."""
        return torch.zeros(batch, 1)

    def __call__(self, seen: Observation, state: Tensor) -> Lifted:
        """Predict the constant body for the windows ``seen``."""
        shape, ray = seen.dt.shape, _middle(seen)
        rotations = self.rotations.repeat(*shape, 1, 1, 1)
        rotations[:, :, 0] = look_at(ray) @ self.rotations[0]
        pelvis = torch.cat([ray, torch.ones(*shape, 1)], -1) * (self.depth / _side(seen))[..., None]
        rays = (seen.points - seen.camera[..., None, 2:]) / seen.camera[..., None, :2]
        unknown, betas = torch.zeros(*shape, len(JOINT_NAMES)), self.betas.repeat(*shape, 1)
        return Lifted(
            rotations=rotations,
            betas=betas,
            pelvis=pelvis,
            rays=rays,
            joint_error=unknown,
            contact=unknown[..., :4],
            betas_deviation=torch.ones_like(betas),
            up=unknown[..., :3],
            up_error=unknown[..., 0],
            root_velocity=unknown[..., :3],
            state=state,
        )


def _middle(seen: Observation) -> Tensor:
    """The ray (B, T, 2) through the region's centre."""
    return (seen.box[..., :2] - seen.camera[..., 2:]) / seen.camera[..., :2]


def _side(seen: Observation) -> Tensor:
    """The side (B, T) of the region at one metre, metres."""
    return seen.box[..., 2] / seen.camera[..., 0]


def angle_between(lines: Tensor, others: Tensor) -> Tensor:
    """Angles (...,) in degrees between directions (..., 3)."""
    cosine = torch.nn.functional.cosine_similarity(lines, others, dim=-1)
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))


def twist(rotations: Tensor, truth: Tensor, axis: Tensor) -> Tensor:
    """Difference (...,) in degrees, 0 to 180, of ``rotations`` and ``truth`` (..., 3, 3) about ``axis`` (3,)."""
    x, y, z, w = roma.rotmat_to_unitquat(rotations.transpose(-1, -2) @ truth).unbind(-1)
    along = (torch.stack([x, y, z], -1) * axis / axis.norm()).sum(-1)
    return torch.rad2deg(2 * torch.atan2(along.abs(), w.abs()))


def _rest_bones(body: TorchBody) -> dict[int, Tensor]:
    """Rest directions (3,) of the bones that twist, by joint."""
    joints, _ = body.skeleton(torch.eye(3).expand(24, 3, 3), torch.zeros(10))
    index = JOINT_NAMES.index
    return {index(start): joints[index(end)] - joints[index(start)] for start, end in _TWISTING.items()}


@torch.no_grad()
def evaluate_synthetic(errors: NetworkErrors, network: Regressor, windows: Windows, body: TorchBody) -> NetworkErrors:
    """``errors`` completed with those on ``windows`` of unseen subjects. The first `UNSCORED` frames do not count; those of
    limbs need to know which are hidden (``state``)."""
    totals, bones = [], _rest_bones(body)
    limbs: dict[str, list[Tensor]] = {"hidden": [], "fast": [], "misled": []}
    knows_hidden = "state" in windows.arrays
    for start in range(0, len(windows), 64):
        rows = np.arange(start, min(start + 64, len(windows)))
        sample = make_batch(windows, rows)
        lifted = network(sample.seen, network.start_state(len(rows)))
        joints, _ = body.skeleton(lifted.rotations, lifted.betas)
        mine, before, truth = (
            joints[:, UNSCORED:],
            sample.joints[:, UNSCORED - 1 : -1],
            sample.joints[:, UNSCORED:],
        )
        turns, true_turns = lifted.rotations[:, UNSCORED:], sample.rotations[:, UNSCORED:]
        arms, true_arms = mine[:, :, _ARMS], truth[:, :, _ARMS]
        shoulders, true_shoulders = (part[:, :, _SHOULDERS].mean(2) for part in (mine, truth))
        lines, true_lines = (part[:, :, _SHOULDERS[0]] - part[:, :, _SHOULDERS[1]] for part in (mine, truth))
        means = [
            *(score_batch(lifted, body, sample)[:3]),
            pa_distances(arms, true_arms).mean() * 1000,
            pelvis_aligned(arms, true_arms, shoulders, true_shoulders).mean() * 1000,
            angle_between(lines, true_lines).mean(),
            (mine - truth)[:, :, JOINTS_14, 2].abs().mean() * 1000,
            torch.stack([twist(turns[:, :, j], true_turns[:, :, j], bone) for j, bone in bones.items()]).mean(),
        ]
        totals.append(torch.stack(means) * len(rows))
        if not knows_hidden:
            continue
        error = (mine - truth)[:, :, _LIMB_JOINTS].norm(dim=-1) * 1000
        speed = (truth - before)[:, :, _LIMB_JOINTS].norm(dim=-1) / sample.seen.dt[:, UNSCORED:, None]
        state = torch.from_numpy(windows.take(rows)["state"])[:, UNSCORED:, _LIMBS]
        detected = (sample.seen.points - sample.seen.box[..., None, :2]) / sample.seen.box[..., None, 2:]
        off = (detected - region_coordinates(sample)).norm(dim=-1)[:, UNSCORED:, _LIMBS]
        sure = sample.seen.confidence[:, UNSCORED:, _LIMBS] > _CONFIDENT
        limbs["hidden"].append(error[state == 1])
        limbs["fast"].append(error[(speed > FAST) & (state < 2)])
        limbs["misled"].append(error[(off > MISLED) & sure & (state < 2)])
    means = (torch.stack(totals).sum(0) / len(windows)).tolist()
    names = ("pa", "mpjpe", "acceleration", "pa_arms", "rooted_arms", "facing", "depth", "twist")
    found = dict(zip(names, means, strict=True))
    found |= {name: float(torch.cat(parts).mean()) for name, parts in limbs.items() if parts}
    return replace(errors, **{f"synthetic_{name}": value for name, value in found.items()})


@torch.no_grad()
def _predict(network: Regressor, clip: RealClip, body: TorchBody) -> tuple[Lifted, Tensor, Tensor]:
    """Prediction for a real clip, with joints (T, 24, 3) and COCO keypoints (T, 17, 3) relative to the pelvis, m."""
    lifted = network(clip.seen, network.start_state(1))
    joints, coco = body.skeleton(lifted.rotations, lifted.betas)
    return lifted, joints[0], coco[0]


def evaluate_reference(
    errors: NetworkErrors,
    network: Regressor,
    reference_clips: list[list[RealClip]],
    reference: Reference,
    body: TorchBody,
) -> NetworkErrors:
    """``errors`` completed with those against a multi-camera reference, whose cameras took ``reference_clips``."""
    comparisons, angles = [], []
    for camera, clips in enumerate(reference_clips):
        if not clips:
            continue
        motion = _motion(network, clips, body)
        comparisons.append(compare_with_reference(reference, camera, motion))
        angles.append(facing_errors(reference, camera, motion))
    comparison = join_comparisons(comparisons)
    return replace(
        errors,
        real_pa_arms=mean_of_known(comparison.pa),
        real_rooted_arms=mean_of_known(_rooted(comparison)),
        real_facing=mean_of_known(np.concatenate(angles)),
    )


def evaluate_moving(
    errors: NetworkErrors, network: Regressor, clips: list[RealClip], reference: MocapReference, body: TorchBody
) -> NetworkErrors:
    """``errors`` completed with those against motion capture of a person who moves, filmed in ``clips``."""
    scores = score_joints(reference, joints_of(reference, _motion(network, clips, body)))
    return replace(
        errors,
        moving_pa=mean_of_known(scores.pose.pa),
        moving_mpjpe=mean_of_known(scores.pose.mpjpe),
        moving_knee=scores.knee.rmse,
    )


def _rooted(comparison: Comparison) -> DoubleArray:
    return comparison.rooted["shoulder" if "shoulder" in comparison.rooted else "hip"]


def facing_errors(reference: Reference, camera: int, motion: Motion) -> DoubleArray:
    """Angles (N,) in degrees between the lines through both shoulders, of the frames in ``motion`` and ``reference``.

    NaN where a shoulder was not measured.
    """
    truth, _ = reference.seen_by(camera)
    _, mine, theirs = np.intersect1d(motion.frame, reference.frames, return_indices=True)
    left, right = (reference.names.index(f"{side}_shoulder") for side in ("left", "right"))
    lines = motion.joints_m[mine][:, _SHOULDERS[0]] - motion.joints_m[mine][:, _SHOULDERS[1]]
    true_lines = truth[theirs][:, left] - truth[theirs][:, right]
    angles = angle_between(torch.from_numpy(lines.astype(np.float64)), torch.from_numpy(true_lines))
    return np.asarray(angles.numpy(), np.float64)


def _motion(network: Regressor, clips: list[RealClip], body: TorchBody) -> Motion:
    """A network's predictions for all clips of one video, as the record that comparisons read."""
    rows: dict[str, list[AnyArray]] = {"frame": [], "joints": [], "points": [], "confidence": []}
    for clip in clips:
        lifted, joints, _ = _predict(network, clip, body)
        rows["frame"].append(clip.frames)
        rows["joints"].append((joints + lifted.pelvis[0, :, None]).numpy())
        rows["points"].append(clip.seen.points[0].numpy())
        rows["confidence"].append(clip.seen.confidence[0].numpy())
    merged = {name: np.concatenate(parts) for name, parts in rows.items()}
    count = len(merged["frame"])

    def zeros(*shape: int) -> FloatArray:
        return np.zeros((count, *shape), np.float32)

    return Motion(
        merged["frame"],
        merged["frame"] / clips[0].fps,
        np.zeros(count, np.int64),
        merged["joints"].astype(np.float32),
        zeros(24, 2),
        merged["points"],
        merged["confidence"],
        zeros(3),
        zeros(23, 3),
        zeros(10),
        zeros(3),
        clips[0].camera.matrix,
        clips[0].fps,
        clips[0].name,
        "",
        1,
    )


def evaluate_clips(errors: NetworkErrors, network: Regressor, clips: list[RealClip], body: TorchBody) -> NetworkErrors:
    """``errors`` completed with those on other real video, weighted by the number of frames."""
    rows = np.array([evaluate_clip(network, clip, body) for clip in clips])
    length = np.array([len(clip.frames) for clip in clips], np.float64)
    share, shake = (rows * length[:, None]).sum(0) / length.sum()
    return replace(errors, real_reprojection=float(share), real_acceleration=float(shake))


def evaluate_clip(network: Regressor, clip: RealClip, body: TorchBody) -> tuple[float, float]:
    """Reprojection error and acceleration on one clip, with the translation fitted as in the real-time program.

    Returns:
        Mean distance of the body's keypoints from confident detections, as a share of the box height, and mean
        acceleration of the joints relative to the pelvis, m/s².
    """
    lifted, joints, coco = _predict(network, clip, body)
    camera, shares = clip.camera, []
    for t in range(len(clip.frames)):
        points, confidence = clip.seen.points[0, t].numpy(), clip.seen.confidence[0, t].numpy()
        sure = confidence > _CONFIDENT
        if sure.sum() < 4:
            continue
        mine = coco[t].numpy()
        place = fit_translation(mine, Keypoints(0, 0, points, confidence), camera, lifted.pelvis[0, t].numpy())
        drawn = camera.project(mine + place)
        height = max(float(np.ptp(points[sure, 1])), 1.0)
        shares.append(np.linalg.norm(drawn - points, axis=1)[sure].mean() / height)
    about = joints - joints[:, JOINT_NAMES.index("pelvis"), None]
    shake = (about[2:] - 2 * about[1:-1] + about[:-2]).norm(dim=-1).mean() * clip.fps**2
    return float(np.mean(shares)) if shares else float("nan"), float(shake)
