"""Joint angles (.csv), degrees, with OpenSim's names and signs: one row for each person and frame, one column an angle.

The angles are those of Rajagopal's model (Rajagopal et al. 2016, "Full-Body Musculoskeletal Model for Muscle-Driven Simulation
of Human Gait") and similar ones: each joint's rotation is decomposed about moving axes z (to the right), x (forward), y (up),
as the ISB recommends for the hip (Wu et al. 2002); all are 0 in a person who stands upright, arms hanging, palms to the thighs.
The pelvis is measured in OpenSim's axes (`formats.axes`): facing the camera, all of its angles are 0.

What SMPL splits over several joints is joined: three of the spine are the lumbar joint, neck and head are the neck, collar
bone and shoulder are the arm against the trunk.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES
from common.arrays import DoubleArray
from formats.axes import TO_OPENSIM
from formats.euler import euler_degrees
from formats.tracks import MotionTrack


class _Joint(NamedTuple):
    """One joint of OpenSim's model and the joints of SMPL that it is made of."""

    columns: tuple[str, str, str]
    """Names of its three angles in the file, in the order of ``axes``."""
    joints: tuple[str, ...]
    """Joints of SMPL whose rotations it sums up, from the trunk outwards."""
    axes: str = "ZXY"
    """Order of the intrinsic rotations about OpenSim's axes."""
    signs: tuple[int, int, int] = (1, 1, 1)
    """1, or -1 where OpenSim counts an angle the other way round, in the order of ``axes``."""
    arm: bool = False
    """Whether it hangs down in OpenSim's neutral pose and points sideways in SMPL's."""


def _sided(side: str) -> tuple[_Joint, ...]:
    s, mirror = side[0], 1 if side == "right" else -1
    signs = (1, mirror, mirror)
    trunk = (f"{side}_collar", f"{side}_shoulder")
    return (
        _Joint((f"hip_flexion_{s}", f"hip_adduction_{s}", f"hip_rotation_{s}"), (f"{side}_hip",), signs=signs),
        _Joint(
            (f"knee_angle_{s}", f"knee_adduction_{s}", f"knee_rotation_{s}"),
            (f"{side}_knee",),
            signs=(-1, mirror, mirror),
        ),
        _Joint((f"ankle_angle_{s}", f"subtalar_angle_{s}", f"ankle_rotation_{s}"), (f"{side}_ankle",), signs=signs),
        _Joint((f"mtp_angle_{s}", f"mtp_inversion_{s}", f"mtp_rotation_{s}"), (f"{side}_foot",), signs=signs),
        _Joint((f"arm_flex_{s}", f"arm_add_{s}", f"arm_rot_{s}"), trunk, signs=signs, arm=True),
        _Joint((f"elbow_flex_{s}", f"elbow_add_{s}", f"pro_sup_{s}"), (f"{side}_elbow",), signs=signs, arm=True),
        _Joint(
            (f"wrist_flex_{s}", f"wrist_dev_{s}", f"wrist_rot_{s}"),
            (f"{side}_wrist",),
            axes="XZY",
            signs=(mirror, 1, mirror),
            arm=True,
        ),
    )


_JOINTS: Final = (
    _Joint(("lumbar_extension", "lumbar_bending", "lumbar_rotation"), ("spine1", "spine2", "spine3")),
    _Joint(("neck_extension", "neck_bending", "neck_rotation"), ("neck", "head")),
    *_sided("right"),
    *_sided("left"),
)
PELVIS: Final = ("pelvis_tilt", "pelvis_list", "pelvis_rotation")
PLACE: Final = ("pelvis_tx", "pelvis_ty", "pelvis_tz")
COLUMNS: Final = (
    *("person", "time_s"),
    *PELVIS,
    *PLACE,
    *(column for joint in _JOINTS for column in joint.columns),
)
"""Of the file: angles in degrees, the pelvis' place in metres."""


def angles_of(track: MotionTrack) -> DoubleArray:
    """(N, columns after ``time_s``) the pelvis' angles in degrees, its place in metres, and all other angles in degrees."""
    root = Rotation.from_rotvec(track.rotations[:, 0]).as_matrix()
    turned = TO_OPENSIM @ root @ TO_OPENSIM.T
    parts = [euler_degrees(Rotation.from_matrix(turned).as_rotvec(), "ZXY"), track.pelvis @ TO_OPENSIM.T]
    for joint in _JOINTS:
        local = Rotation.identity(len(track.time_s))
        for name in joint.joints:
            local = local * Rotation.from_rotvec(track.rotations[:, JOINT_NAMES.index(name)])
        matrices = local.as_matrix()
        if joint.arm:
            hang = _hanging(joint.joints[-1].startswith("left"))
            # The shoulder's neutral pose hangs already; elbow and wrist only change the axes that they are told in.
            matrices = matrices @ hang.T if len(joint.joints) == 2 else hang @ matrices @ hang.T
        turned = TO_OPENSIM @ matrices @ TO_OPENSIM.T
        parts.append(euler_degrees(Rotation.from_matrix(turned).as_rotvec(), joint.axes) * joint.signs)
    return np.concatenate(parts, 1)


def _hanging(left: bool) -> DoubleArray:
    """(3, 3) from the T-pose's arm to one that hangs down, in the body's rest frame (x left, y up, z forward)."""
    return np.asarray(Rotation.from_euler("z", -90 if left else 90, degrees=True).as_matrix())


def to_csv(tracks: Sequence[MotionTrack]) -> bytes:
    """The content of a .csv file: rows of everyone, one person after the other; times are the source's."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for track in tracks:
        for time_s, row in zip(track.time_s.tolist(), angles_of(track).tolist(), strict=True):
            table.writerow([track.person, f"{time_s:.6f}", *(f"{value:.5f}" for value in row)])
    return text.getvalue().encode()
