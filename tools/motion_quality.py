"""How well a saved motion fits the detected keypoints: python -m tools.motion_quality MOTION.npz ...

For every confident keypoint the distance of the body's own keypoint in the image, as a share of the height of the box
around the person's confident keypoints; and the jitter of the joints, as the acceleration of still and moving joints alike.
Keypoints that a detector reports beyond the image's edge are not seen: they count in a second figure only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs import NumpyBody
from body.model import load_body
from common.arrays import DoubleArray
from common.camera import Camera
from common.command_line import run_command
from common.errors import UserError
from formats.motion import Motion, load_motion

_CONFIDENT = 0.4
_MOVING = 0.012
"""Share of the box height that a keypoint moves between two frames from which on it counts as moving."""
_LIMBS = [
    (JOINT_NAMES.index(name), COCO_NAMES.index(name))
    for name in ("left_wrist", "right_wrist", "left_elbow", "right_elbow")
]


def keypoint_distances(motion: Motion, body: NumpyBody, beyond: bool = False) -> DoubleArray:
    """Mean distance of each frame with at least four confident keypoints, as a share of its box height (N,).

    ``beyond`` counts keypoints that were named outside of the image too. The image's middle is the principal point.
    """
    shares = []
    camera, centre = Camera.from_matrix(motion.camera_matrix), motion.camera_matrix[:2, 2]
    inside = np.all((motion.keypoints_px >= 0) & (motion.keypoints_px <= 2 * centre), axis=-1)
    for row in np.flatnonzero(motion.person >= 0):
        seen = (motion.keypoint_confidence[row] > _CONFIDENT) & (inside[row] | beyond)
        if seen.sum() < 4:
            continue
        body.set_shape(motion.betas[row])
        vertices, _ = body.pose(motion.global_orient[row], motion.body_pose[row], motion.transl[row])
        mine = body.coco(vertices)
        drawn = camera.project(mine)
        height = np.ptp(motion.keypoints_px[row][seen, 1])
        shares.append(np.linalg.norm(drawn - motion.keypoints_px[row], axis=1)[seen].mean() / max(height, 1.0))
    return np.array(shares, np.float64)


def limb_lag_ms(motion: Motion) -> float:
    """How late moving wrists and elbows are behind their detections, ms; NaN where none moves.

    The detection's lead over the drawn joint along its motion, by least squares over all frames in which it moves by more
    than `_MOVING` of the box height. A limb that moves too little counts as late, too.
    """
    along = moved = 0.0
    for person in np.unique(motion.person[motion.person >= 0]):
        rows = np.flatnonzero(motion.person == person)
        height = float(np.nanmean(np.ptp(motion.keypoints_px[rows, :, 1], axis=1)))
        near = rows[2:-2][motion.frame[rows[4:]] - motion.frame[rows[:-4]] == 4]
        sure = np.stack([motion.keypoint_confidence[near + step] for step in range(-2, 3)]).min(0) > _CONFIDENT
        speed = (motion.keypoints_px[near + 1] - motion.keypoints_px[near - 1]).astype(np.float64) / 2
        for joint, keypoint in _LIMBS:
            lead = (motion.keypoints_px[near, keypoint] - motion.joints_px[near, joint]).astype(np.float64)
            pace = speed[:, keypoint]
            used = sure[:, keypoint] & (np.linalg.norm(pace, axis=-1) > _MOVING * height)
            along += float((lead * pace)[used].sum())
            moved += float((pace * pace)[used].sum())
    return along / moved * 1000 / motion.fps if moved > 0 else float("nan")


def main(
    motions: Annotated[list[Path], typer.Argument(help="files written by run_camera.py --save")],
    body: Annotated[Path | None, typer.Option(help="the body they were made with")] = None,
) -> None:
    """Print, for every file, the distance of the mesh from the detections and the joints' mean acceleration."""
    poser = NumpyBody(load_body(body))
    for path in motions:
        motion = load_motion(path)
        found = motion.person >= 0
        if not found.any():
            raise UserError(f"nobody is in {path}: give motions with somebody in them")
        shares, wider = keypoint_distances(motion, poser), keypoint_distances(motion, poser, beyond=True)
        fps = float(motion.fps)
        joints = motion.joints_m[found].astype(np.float64)
        steady = np.diff(motion.frame[found], 2) == 0
        steps = joints[2:] - 2 * joints[1:-1] + joints[:-2]
        shake = np.linalg.norm(steps, axis=-1)[steady].mean() * fps**2 if steady.any() else float("nan")
        middle, tail = (np.quantile(shares, [0.5, 0.95]) * 100) if len(shares) else (np.nan, np.nan)
        print(
            f"{path.name}: {found.sum()} of {len(found)} frames with a person, distance mean {100 * shares.mean():.2f} % "
            f"median {middle:.2f} % p95 {tail:.2f} % of box height ({100 * wider.mean():.2f} % with keypoints named beyond the "
            f"image), acceleration {shake:.1f} m/s² at {fps:.0f} fps, moving arms {limb_lag_ms(motion):.0f} ms late"
        )


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.motion_quality out/demo.npz")
