"""Marker trajectories (.trc) for OpenSim: one person's joints, and points of the skin that its models place markers at.

Millimetres, y up, and OpenSim's own axes: x is where somebody looks who faces the camera, z is to that person's right. The
24 joints have SMPL's names; 26 more have those of the HALPE_26 set, so that set-up files made for markerless data find them.
Where the person was not seen, fields are NaN: OpenSim does not read lines that end in empty ones.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

import numpy as np

from body.joints import JOINT_NAMES
from body.lbs import NumpyBody
from body.model import BodyArrays
from common.arrays import DoubleArray, FloatArray
from formats.axes import TO_OPENSIM
from formats.tracks import MotionTrack

_LIMBS: Final = {
    "Hip": "hip",
    "Knee": "knee",
    "Ankle": "ankle",
    "Shoulder": "shoulder",
    "Elbow": "elbow",
    "Wrist": "wrist",
}
_JOINT_MARKERS: Final[dict[str, str]] = {
    "Hip": "pelvis",
    "Neck": "neck",
    **{f"{side[0].upper()}{name}": f"{side}_{joint}" for side in ("right", "left") for name, joint in _LIMBS.items()},
}
"""Markers of HALPE_26 that are joints of SMPL."""
_SKIN_MARKERS: Final[dict[str, str]] = {
    "Nose": "nose", "LEye": "leye", "REye": "reye", "LEar": "lear", "REar": "rear",
    "LBigToe": "LBigToe", "LSmallToe": "LSmallToe", "LHeel": "LHeel",
    "RBigToe": "RBigToe", "RSmallToe": "RSmallToe", "RHeel": "RHeel",
}  # fmt: skip
"""Markers of HALPE_26 that are landmarks of the skin."""
_MM: Final = 1000.0


def markers_of(track: MotionTrack, arrays: BodyArrays) -> tuple[list[str], FloatArray]:
    """Names of M markers and where they are, (N, M, 3) metres in the track's frame. A body without landmarks has joints
    and the top of the head alone."""
    body = NumpyBody(arrays)
    body.set_shape(track.betas)
    surface = arrays.v_template + arrays.shapedirs @ arrays.clamp_betas(track.betas)
    skin = {"Head": int(surface[:, 1].argmax())}
    skin |= {name: arrays.landmarks[mark] for name, mark in _SKIN_MARKERS.items() if mark in arrays.landmarks}
    joints = [*range(len(JOINT_NAMES)), *(JOINT_NAMES.index(name) for name in _JOINT_MARKERS.values())]
    vertices = list(skin.values())
    points = np.empty((len(track.time_s), len(joints) + len(vertices), 3), np.float32)
    for row, (turns, pelvis) in enumerate(zip(track.rotations, track.pelvis, strict=True)):
        posed, placed = body.pose(turns[0], turns[1:], pelvis)
        points[row, : len(joints)] = placed[joints]
        points[row, len(joints) :] = posed[vertices]
    return [*JOINT_NAMES, *_JOINT_MARKERS, *skin], points


def to_trc(track: MotionTrack, arrays: BodyArrays, rate: float, name: str) -> bytes:
    """The content of a .trc file called ``name``. ``track`` has one row every ``1 / rate`` seconds; times are the source's."""
    names, points = markers_of(track, arrays)
    places: DoubleArray = points.astype(np.float64) @ TO_OPENSIM.T * _MM
    count = len(track.time_s)
    about = [f"{rate:.6f}", f"{rate:.6f}", str(count), str(len(names)), "mm", f"{rate:.6f}", "1", str(count)]
    numbers = range(1, len(names) + 1)
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{PurePath(name).name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        "\t".join(about),
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"X{number}\tY{number}\tZ{number}" for number in numbers),
        "",
    ]
    for row, (time_s, seen) in enumerate(zip(track.time_s.tolist(), track.seen.tolist(), strict=True)):
        values = [f"{value:.4f}" if seen else "NaN" for value in places[row].ravel().tolist()]
        lines.append("\t".join([str(row + 1), f"{time_s:.6f}", *values]))
    return ("\n".join(lines) + "\n").encode()
