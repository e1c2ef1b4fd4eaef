"""ASF and AMC files against closed forms and against the same motion in BVH."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from training.motion.asf_amc import parse_amc, parse_asf, read_amc
from training.motion.bvh import read_bvh
from training.motion.clip import MotionError

from .skeletons import cmu_as_bvh, write_amc, write_asf, write_bvh

UNIT = 0.0254 / 0.45


def _files(tmp_path: Path, *frames: dict[str, tuple[float, float, float]]) -> Path:
    write_asf(tmp_path / "02.asf")
    write_amc(tmp_path / "02_03.amc", frames)
    return tmp_path / "02_03.amc"


def test_a_bent_elbow_in_metres(tmp_path: Path) -> None:
    path = _files(tmp_path, {"lradius": (0, -90, 0)})
    source = parse_amc(path, parse_asf(tmp_path / "02.asf"))
    start = source.positions[0, source.names.index("lhumerus")]
    hand = source.positions[0, source.names.index("lwrist")]
    assert np.allclose(source.positions[0, 0], (0.0, 15 * UNIT, 0.0))
    assert np.allclose(hand - start, np.array([5.0, 0.0, 3.5]) * UNIT)


def test_degrees_of_freedom_turn_in_the_frame_of_the_bone(tmp_path: Path) -> None:
    write_asf(tmp_path / "02.asf", axes={"lfemur": (0, 0, 20), "ltibia": (10, 20, 30)})
    angles = {"lfemur": (30.0, 40.0, 50.0), "ltibia": (70.0, 0.0, 5.0)}
    write_amc(tmp_path / "02_03.amc", [angles], root=(1, 2, 3, 15, 25, 35))
    source = parse_amc(tmp_path / "02_03.amc", parse_asf(tmp_path / "02.asf"))

    def turn(frame: tuple[float, float, float], motion: tuple[float, float, float]) -> Rotation:
        # Lower case: about the fixed axes, x first.
        c, m = Rotation.from_euler("xyz", frame, degrees=True), Rotation.from_euler("xyz", motion, degrees=True)
        return c * m * c.inv()

    root = Rotation.from_euler("xyz", (15, 25, 35), degrees=True)
    thigh = root * turn((0, 0, 20), angles["lfemur"])
    shin = thigh * turn((10, 20, 30), angles["ltibia"])
    leg = np.array([np.sin(np.pi / 9), -np.cos(np.pi / 9), 0.0])
    hip = np.array([1.0, 2.0, 3.0]) + root.apply([1.5, -2.0, 0.0])
    knee = hip + thigh.apply(7.0 * leg)
    foot = knee + shin.apply(7.5 * leg)
    for name, expected in (("lfemur", hip), ("ltibia", knee), ("lfoot", foot)):
        assert np.allclose(source.positions[0, source.names.index(name)], expected * UNIT)


def test_the_same_motion_in_bvh_gives_the_same_clip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    poses = [{name: tuple(rng.uniform(-40, 40, 3)) for name in _TURNED} for _ in range(6)]
    path = _files(tmp_path, *poses)
    # BVH channels Z Y X multiply to Rz Ry Rx, which is x first.
    frames = [{_TURNED[name]: angles[::-1] for name, angles in pose.items()} for pose in poses]
    write_bvh(tmp_path / "02_03.bvh", cmu_as_bvh(), frames, order="ZYX", root=(0, 15, 0), frame_time=1 / 120)
    from_amc, from_bvh = read_amc(path), read_bvh(tmp_path / "02_03.bvh")
    assert from_amc.subject == from_bvh.subject == "2"
    assert from_amc.fps == pytest.approx(from_bvh.fps) == pytest.approx(120.0)
    assert np.allclose(from_amc.rotations, from_bvh.rotations, atol=1e-5)
    assert np.allclose(from_amc.pelvis, from_bvh.pelvis, atol=1e-5)


_TURNED = {
    "lowerback": "LowerBack", "thorax": "Spine1", "upperneck": "Neck1", "head": "Head", "lfemur": "LeftUpLeg",
    "ltibia": "LeftLeg", "rfoot": "RightFoot", "lhumerus": "LeftArm", "rradius": "RightForeArm", "lwrist": "LeftHand",
}  # fmt: skip


def test_which_skeleton(tmp_path: Path) -> None:
    path = _files(tmp_path, {}, {})
    assert read_amc(path).frames == 2
    write_asf(tmp_path / "03.asf")
    assert read_amc(path, fps=60.0).fps == 60.0
    (tmp_path / "02.asf").rename(tmp_path / "04.asf")
    with pytest.raises(MotionError, match="no skeleton beside it"):
        read_amc(path)
    assert read_amc(path, tmp_path / "04.asf").frames == 2


@pytest.mark.parametrize(
    ("which", "damage", "message"),
    [
        ("02_03.amc", lambda text: text.replace("lradius", "lradio", 1), "lradio"),
        ("02_03.amc", lambda text: text[: len(text) - 60], "missing|numbers"),
        ("02_03.amc", lambda text: text.replace("0.0 0.0 0.0", "0.0 0.0", 1), "numbers"),
        ("02_03.amc", lambda text: text.replace("15.0", "inf", 1), "not finite"),
        ("02_03.amc", lambda text: "", "0 frames"),
        ("02.asf", lambda text: "", "not an ASF"),
        ("02.asf", lambda text: text.replace("axis XYZ", "axis XYW"), "root's axes"),
        ("02.asf", lambda text: text.replace("dof rx ry rz", "dof rx ry rw", 1), "degrees of freedom: rw"),
        ("02.asf", lambda text: text.replace(":root", ":rot"), "not an ASF"),
        ("02.asf", lambda text: text.replace("length 0.45", "length 0"), "unit of length"),
        ("02.asf", lambda text: text.replace("lfemur ltibia", "", 1), "ltibia"),
        ("02.asf", lambda text: text.replace("direction 0 1 0", "direction 0 1", 1), "not an ASF"),
        ("02.asf", lambda text: text.replace("direction 0 1 0", "direction 0 0 0", 1), "usable"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, which: str, damage: Callable[[str], str], message: str) -> None:
    path = _files(tmp_path, {}, {})
    (tmp_path / which).write_text(damage((tmp_path / which).read_text()))
    with pytest.raises(MotionError, match=message) as caught:
        read_amc(path)
    assert which in str(caught.value)


def test_other_bones_than_cmus_are_refused(tmp_path: Path) -> None:
    path = _files(tmp_path, {})
    for file in tmp_path.iterdir():
        file.write_text(file.read_text().replace("lhumerus", "tentacle"))
    with pytest.raises(MotionError, match="no known naming"):
        read_amc(path)
