"""Each exported format against the body posed by this project: errors of joints, skin and rotations as another program reads
them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES, PARENTS
from body.lbs import NumpyBody
from body.model import BodyArrays
from body.suit.surface import suit_surface
from common.arrays import AnyArray, AnyFloatArray, DoubleArray
from formats.axes import TO_OPENSIM, Z_UP
from formats.joint_angles import COLUMNS
from formats.motion import Motion
from formats.save import open_motion, save_as
from formats.tracks import MotionTrack, at_constant_rate, rate_of, tracks_of
from tools.round_trips.programs import NotInstalled, read_with_blender, read_with_opensim, validate_gltf

_MAX_FRAMES: Final = 60
"""Frames that a slow program is asked for."""
_Z_UP_TO_Y_UP: Final = Z_UP.T
_FROM_OPENSIM: Final = TO_OPENSIM.T


class Row(NamedTuple):
    """One line of the table. Errors are the greatest of all frames, joints and people; None where nothing is compared."""

    ending: str
    """Ending of the file format."""
    reader: str
    """The program that read the file."""
    position_mm: float | None
    """Error of joint positions, mm."""
    rotation_deg: float | None
    """Error of joint rotations, degrees."""
    remark: str = ""
    """What else is to be known."""


class Exported(NamedTuple):
    """One motion in every format, and what the files are to say."""

    motion: Motion
    """That was saved."""
    body: BodyArrays
    """That it was made with."""
    folder: Path
    """Folder of the files."""
    tracks: list[MotionTrack]
    """One a person."""
    even: list[tuple[MotionTrack, float]]
    """The tracks as files of a constant rate have them."""

    def save(self, ending: str) -> list[Path]:
        """One file a person, in order of the tracks, or one of everybody."""
        return save_as(self.motion, self.folder / f"motion{ending}", self.body).paths


def exported(motion: Motion, body: BodyArrays, folder: Path) -> Exported:
    """Ready to be saved into ``folder``."""
    tracks = tracks_of(motion).people
    rate = rate_of(tracks, motion.fps)
    return Exported(motion, body, folder, tracks, [at_constant_rate(track, rate) for track in tracks])


def chains(rotations: DoubleArray) -> DoubleArray:
    """(N, 24, 3, 3) each joint's turn from the rest pose, of local axis-angle rotations (N, 24, 3)."""
    turns = Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix().reshape(-1, len(JOINT_NAMES), 3, 3)
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            turns[:, joint] = turns[:, parent] @ turns[:, joint]
    return np.asarray(turns)


def degrees_between(first: AnyFloatArray, second: AnyFloatArray) -> float:
    """The greatest angle between rotation matrices (..., 3, 3)."""
    apart = np.swapaxes(first, -1, -2).astype(np.float64) @ second
    return float(np.degrees(Rotation.from_matrix(apart.reshape(-1, 3, 3)).magnitude().max()))


def mm_between(first: AnyFloatArray, second: AnyFloatArray) -> float:
    """The greatest distance between points (..., 3), metres, in millimetres."""
    return float(np.linalg.norm(np.asarray(first, np.float64) - second, axis=-1).max() * 1000)


def _picked(count: int) -> AnyArray:
    return np.unique(np.linspace(0, count - 1, min(count, _MAX_FRAMES)).astype(int))


def npz_and_jsonl(given: Exported, ending: str) -> Row:
    """Formats that hold everything, read by this project."""
    back = open_motion(given.save(ending)[0])
    same = all(
        np.array_equal(values, back.arrays()[name], equal_nan=values.dtype.kind == "f")
        for name, values in given.motion.arrays().items()
        if name != "version"
    )
    return Row(
        ending, "motionmesh", 0.0 if same else None, 0.0 if same else None, "every bit" if same else "NOT the same"
    )


def bvh_by_pybvh(given: Exported) -> Row:
    """Forward kinematics and rotations of a reader for Python."""
    try:
        import pybvh
    except ImportError:
        raise NotInstalled("pybvh is not installed: make dev") from None
    positions, turns = [], []
    for path, (track, _) in zip(given.save(".bvh"), given.even, strict=True):
        clip = pybvh.read_bvh_file(str(path))
        order = [clip.joint_names.index(name) for name in JOINT_NAMES]
        positions.append(mm_between(clip.joint_positions()[:, order], track.joints(given.body)))
        _, local = clip.to_rotmat()
        local = local[:, order]
        turns.append(degrees_between(local, _local(track.rotations)))
    return Row(".bvh", "pybvh", max(positions), max(turns))


def _local(rotations: DoubleArray) -> DoubleArray:
    return np.asarray(Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix()).reshape(*rotations.shape, 3)


def _compare_blender(
    found: dict[str, AnyArray], name: str, track: MotionTrack, body: BodyArrays
) -> tuple[float, float]:
    order = [found[f"{name}/bones"].tolist().index(joint) for joint in JOINT_NAMES]
    joints = found[f"{name}/joints"][:, order] @ _Z_UP_TO_Y_UP.T
    turns = _Z_UP_TO_Y_UP @ found[f"{name}/turns"][:, order] @ _Z_UP_TO_Y_UP.T
    return mm_between(joints, track.joints(body)), degrees_between(turns, chains(track.rotations))


def bvh_by_blender(given: Exported) -> Row:
    """Skeletons as Blender imports them."""
    errors = []
    for path, (track, rate) in zip(given.save(".bvh"), given.even, strict=True):
        picked = _picked(len(track.time_s))
        found = read_with_blender(path, picked / rate)
        # Blender keeps a name of 63 characters and takes the file's for the skeleton.
        name = next(key.removesuffix("/joints") for key in found if key.endswith("/joints"))
        errors.append(_compare_blender(found, name, track.rows(picked), given.body))
    return Row(".bvh", "Blender", *map(max, zip(*errors, strict=True)))


def glb_by_blender(given: Exported) -> Row:
    """Skeletons and skinned meshes as Blender imports them."""
    (path,) = given.save(".glb")
    start = float(np.nanmin(given.motion.time_s))
    joints, turns = [], []
    plain = NumpyBody(replace(given.body, posedirs=np.zeros_like(given.body.posedirs)))
    suit = suit_surface(
        given.body
    )  # its seams' vertices, behind the body's own, have fewer joints in the file than they need
    for track in given.tracks:
        some = track.rows(_picked(len(track.time_s)))
        found = read_with_blender(path, some.time_s - start)
        off, turned = _compare_blender(found, f"person {track.person}", some, given.body)
        plain.set_shape(track.betas)
        skin = []
        for pose, place in zip(some.rotations, some.pelvis, strict=True):
            body, _ = plain.pose(pose[0], pose[1:], place)
            skin.append(suit.forms(body, pose, given.body.clamp_betas(track.betas)))
        meshes = found[f"body {track.person}/vertices"] @ _Z_UP_TO_Y_UP.T
        joints.append(max(off, mm_between(meshes[:, : given.body.vertex_count], np.array(skin))))
        turns.append(turned)
    return Row(".glb", "Blender", max(joints), max(turns), "joints and skin")


def glb_by_validator(given: Exported) -> Row:
    """Whether the file keeps the format's rules."""
    report = validate_gltf(given.save(".glb")[0])
    return Row(".glb", "glTF-Validator", None, None, f"{report['numErrors']} errors, {report['numWarnings']} warnings")


def trc_by_opensim(given: Exported) -> Row:
    """Markers as OpenSim reads them."""
    errors = []
    for path, (track, _) in zip(given.save(".trc"), given.even, strict=True):
        found = read_with_opensim(path)
        names = found["names"].tolist()
        places = found["places"][:, [names.index(name) for name in JOINT_NAMES]] / 1000 @ _FROM_OPENSIM.T
        if not np.isnan(places[~track.seen]).all():
            return Row(".trc", "OpenSim", None, None, "rows where nobody was seen are NOT empty")
        errors.append(mm_between(places[track.seen], track.joints(given.body)[track.seen]))
    return Row(".trc", "OpenSim", max(errors), None)


def amass_by_smplx(given: Exported) -> Row:
    """The body posed by its own code from AMASS' arrays."""
    try:
        import smplx
        import torch
    except ImportError:
        raise NotInstalled("smplx is not installed: make dev") from None
    model = smplx_model(smplx, given.body)
    errors, turns = [], []
    for path, (track, _) in zip(given.save(".amass.npz"), given.even, strict=True):
        with np.load(path, allow_pickle=False) as archive:
            poses, trans, betas = (
                torch.tensor(archive[name], dtype=torch.float32) for name in ("poses", "trans", "betas")
            )
        with torch.no_grad():
            posed = model(
                betas=betas[None, :10].expand(len(poses), -1),
                global_orient=poses[:, :3],
                body_pose=torch.cat([poses[:, 3:66], torch.zeros(len(poses), 6)], 1),
                transl=trans,
            )
        joints = posed.joints[:, :24].numpy() @ _Z_UP_TO_Y_UP.T
        errors.append(mm_between(joints, track.joints(given.body)))
        own = chains(track.rotations)[:, :22]
        z_up = poses[:, :66].numpy().reshape(-1, 22, 3).astype(np.float64)
        padded = chains(np.concatenate([z_up, np.zeros((len(z_up), 2, 3))], 1))[:, :22]
        turns.append(degrees_between(_Z_UP_TO_Y_UP @ padded, own))
    return Row(".amass.npz", "smplx", max(errors), max(turns))


def smplx_model(smplx: Any, body: BodyArrays) -> Any:
    """``smplx.SMPL`` of the project's body: the body model's own code, forward passes of which take any number of poses."""
    fields = {
        "v_template": body.v_template.astype(np.float64),
        "shapedirs": body.shapedirs.astype(np.float64),
        "posedirs": body.posedirs.astype(np.float64),
        "J_regressor": body.joint_regressor.astype(np.float64),
        "weights": body.weights.astype(np.float64),
        "kintree_table": np.array([[max(parent, 0) for parent in PARENTS], range(24)]),
        "f": body.faces,
    }
    # smplx adds 21 points of the skin behind the joints; which ones does not matter here.
    points = (
        "nose",
        "reye",
        "leye",
        "rear",
        "lear",
        *(f"{side}{toe}" for side in "LR" for toe in ("BigToe", "SmallToe", "Heel")),
    )
    fingers = tuple(f"{side}{finger}" for side in "lr" for finger in ("thumb", "index", "middle", "ring", "pinky"))
    return smplx.SMPL("", data_struct=smplx.utils.Struct(**fields), vertex_ids=dict.fromkeys((*points, *fingers), 0))


def csv_by_definition(given: Exported) -> Row:
    """The trunk and the limbs as far as the angles say where they point, put together again from the angles' definitions."""
    (path,) = given.save(".csv")
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    turns, places = [], []
    for track in given.tracks:
        mine = [row for row in rows if int(row["person"]) == track.person]
        angles = {name: np.array([float(row[name]) for row in mine]) for name in COLUMNS}
        rebuilt, own = turns_of_angles(angles), chains(track.rotations)
        turns += [degrees_between(rebuilt[name], own[:, JOINT_NAMES.index(name)]) for name in rebuilt]
        place = np.stack([angles[f"pelvis_t{axis}"] for axis in "xyz"], 1) @ _FROM_OPENSIM.T
        places.append(mm_between(place, track.pelvis))
    return Row(".csv", "scipy, from the angles", max(places), max(turns), "place of the pelvis")


def turns_of_angles(angles: dict[str, DoubleArray]) -> dict[str, DoubleArray]:
    """Turns from SMPL's rest pose (N, 3, 3) of SMPL's joints, from OpenSim's angles (N,) in degrees, by their definitions:
    rotations about moving axes x (forward), y (up) and z (to the right) of a body that hangs its arms."""
    axes = {"x": np.array([0.0, 0.0, 1.0]), "y": np.array([0.0, 1.0, 0.0]), "z": np.array([-1.0, 0.0, 0.0])}

    def joint(columns: str, order: str = "zxy", signs: tuple[int, int, int] = (1, 1, 1)) -> Rotation:
        out = Rotation.identity(len(angles["pelvis_tilt"]))
        for name, axis, sign in zip(columns.split(), order, signs, strict=True):
            out = out * Rotation.from_rotvec(np.radians(sign * angles[name])[:, None] * axes[axis])
        return out

    found = {"pelvis": joint("pelvis_tilt pelvis_list pelvis_rotation")}
    found["spine3"] = found["pelvis"] * joint("lumbar_extension lumbar_bending lumbar_rotation")
    found["head"] = found["spine3"] * joint("neck_extension neck_bending neck_rotation")
    for side, s, m in (("right", "r", 1), ("left", "l", -1)):
        signs = (1, m, m)
        found[f"{side}_hip"] = found["pelvis"] * joint(
            f"hip_flexion_{s} hip_adduction_{s} hip_rotation_{s}", signs=signs
        )
        knee = joint(f"knee_angle_{s} knee_adduction_{s} knee_rotation_{s}", signs=(-1, m, m))
        found[f"{side}_knee"] = found[f"{side}_hip"] * knee
        ankle = joint(f"ankle_angle_{s} subtalar_angle_{s} ankle_rotation_{s}", signs=signs)
        found[f"{side}_ankle"] = found[f"{side}_knee"] * ankle
        toes = joint(f"mtp_angle_{s} mtp_inversion_{s} mtp_rotation_{s}", signs=signs)
        found[f"{side}_foot"] = found[f"{side}_ankle"] * toes
        # Arms: turns from hanging; those from the T-pose follow by lowering the arm first.
        lower = Rotation.from_rotvec([0.0, 0.0, np.pi / 2 * m])
        upper = found["spine3"] * joint(f"arm_flex_{s} arm_add_{s} arm_rot_{s}", signs=signs)
        fore = upper * joint(f"elbow_flex_{s} elbow_add_{s} pro_sup_{s}", signs=signs)
        hand = fore * joint(f"wrist_flex_{s} wrist_dev_{s} wrist_rot_{s}", "xzy", (m, 1, m))
        found |= {f"{side}_shoulder": upper * lower, f"{side}_elbow": fore * lower, f"{side}_wrist": hand * lower}
    return {name: np.asarray(turn.as_matrix()) for name, turn in found.items()}


COMPARISONS: Final[dict[str, Callable[[Exported], Row]]] = {
    ".npz motionmesh": lambda given: npz_and_jsonl(given, ".npz"),
    ".jsonl motionmesh": lambda given: npz_and_jsonl(given, ".jsonl"),
    ".bvh pybvh": bvh_by_pybvh,
    ".bvh Blender": bvh_by_blender,
    ".glb Blender": glb_by_blender,
    ".glb glTF-Validator": glb_by_validator,
    ".trc OpenSim": trc_by_opensim,
    ".amass.npz smplx": amass_by_smplx,
    ".csv scipy": csv_by_definition,
}
"""Every comparison by its format and reader."""
