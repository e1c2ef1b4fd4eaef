"""What the page makes of the messages, in Node.js, against the body and the joint angles in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from body.rotations import axis_angle_to_matrix
from formats.joint_angles import COLUMNS, angles_of
from formats.tracks import MotionTrack
from realtime.browser import protocol
from realtime.browser.files import STATIC
from realtime.browser.protocol import PERSON_DTYPE, body_message, pose_message, video_message
from realtime.draw.mannequin import mannequin_for
from realtime.options import Look
from realtime.records import BodyEstimate, Result, WorldFrame
from tests.realtime.browser.people import CAMERA, person_of, result_of

NODE = shutil.which("node")

READ = """
import fs from "node:fs";
import { decode, decodeBody } from "./protocol.js";
import { Poser } from "./skinning.js";
import { anglesOf } from "./angles.js";
const bytes = (name) => { const b = fs.readFileSync(name); return b.buffer.slice(b.byteOffset, b.byteOffset + b.length); };
const pose = decode(bytes("pose.bin"));
const out = { ...pose, people: [] };
const body = decodeBody(bytes("body.bin"));
for (const estimate of pose.people) {
  const poser = new Poser(body);
  poser.setShape(estimate.betas);
  poser.pose(estimate.rotations, estimate.transl);
  out.people.push({ ...estimate, vertices: poser.skin(), joints: poser.joints, angles: anglesOf(estimate.rotations) });
}
const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
if (fs.existsSync("video.bin")) out.video = decode(bytes("video.bin"));
console.log(JSON.stringify(out, plain));
"""


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body()


def read_by_page(
    folder: Path, arrays: BodyArrays, result: Result, video: bytes | None = None, look: Look = "clay"
) -> dict[str, Any]:
    """What the page's own scripts make of ``result``."""
    if NODE is None:
        pytest.skip("needs Node.js, which runs the page's scripts here")
    for script in STATIC.glob("*.js"):
        if not script.name.startswith("three"):
            shutil.copy(script, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "read.js").write_text(READ)
    (folder / "body.bin").write_bytes(body_message(arrays, mannequin_for(arrays, look)))
    (folder / "pose.bin").write_bytes(pose_message(result, 0, result.finished_ns))
    if video is not None:
        (folder / "video.bin").write_bytes(video)
    done = subprocess.run([NODE, "read.js"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def errors_mm(told: dict[str, Any], result: Result) -> np.ndarray[Any, np.dtype[np.float64]]:
    pairs = zip(told["people"], result.people, strict=True)
    off = [np.reshape(page["vertices"], (-1, 3)) - body.vertices for page, body in pairs]
    return np.asarray(np.linalg.norm(np.stack(off), axis=-1) * 1e3, np.float64)


def test_the_page_poses_the_body_as_python_does(tmp_path: Path, arrays: BodyArrays) -> None:
    result = result_of(arrays, 1, 3)
    told = read_by_page(tmp_path, arrays, result)
    assert errors_mm(told, result).max() < 0.02
    for page, body in zip(told["people"], result.people, strict=True):
        assert np.allclose(np.reshape(page["joints"], (24, 3)), body.joints, atol=1e-5)


def test_the_page_smooths_forms_as_the_window_does(tmp_path: Path, arrays: BodyArrays) -> None:
    result = result_of(arrays, 1, 2)
    told = read_by_page(tmp_path, arrays, result, look="suit")
    drawn = replace(result, people=tuple(mannequin_for(arrays, "suit").dress(result.people)))
    off = errors_mm(told, drawn)
    assert off[:, : arrays.vertex_count].max() < 0.02
    assert off.max() < 2, "vertices at seams are skinned here, and lie between skinned vertices there"
    estimated = replace(result, people=tuple(extended(arrays, body) for body in result.people))
    assert errors_mm(told, estimated).max() > 5, "the surface is another one than estimated"


def extended(arrays: BodyArrays, body: BodyEstimate) -> BodyEstimate:
    """``body`` with the vertices of the suit's seams, its forms as estimated."""
    seams = mannequin_for(arrays, "suit").seams
    assert seams is not None
    return replace(body, vertices=seams.extend(body.vertices))


def test_a_shape_beyond_the_bodys_limit_is_clamped_as_in_python(tmp_path: Path, arrays: BodyArrays) -> None:
    body = NumpyBody(arrays)
    one = person_of(body, 0, 3)
    betas = np.linspace(-5, 5, 10).astype(np.float32)
    body.set_shape(betas)
    vertices, joints = body.pose(one.global_orient, one.body_pose, one.transl)
    result = replace(result_of(arrays, 1, 0), people=(replace(one, betas=betas, vertices=vertices, joints=joints),))
    assert errors_mm(read_by_page(tmp_path, arrays, result), result).max() < 0.02


def test_correctives_that_do_not_fit_are_the_small_ones(
    tmp_path: Path, arrays: BodyArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with SMPL, whose correctives are too many for a phone."""
    result = result_of(arrays, 1, 2)
    monkeypatch.setattr(protocol, "MAX_CORRECTIVES", 20_000)
    few = errors_mm(read_by_page(tmp_path, arrays, result), result)
    monkeypatch.setattr(protocol, "MAX_CORRECTIVES", 1)
    none = errors_mm(read_by_page(tmp_path, arrays, result), result)
    assert few.mean() < none.mean() / 2


def test_angles_are_those_of_the_csv_export(tmp_path: Path, arrays: BodyArrays) -> None:
    result = result_of(arrays, 4, 2)
    told = read_by_page(tmp_path, arrays, result)
    for page, body in zip(told["people"], result.people, strict=True):
        rotations = np.concatenate([body.global_orient[None], body.body_pose])[None].astype(np.float64)
        track = MotionTrack(0, np.zeros(1), rotations, np.zeros((1, 3)), body.betas, np.ones(1, bool))
        expected = dict(zip(COLUMNS[2:], angles_of(track)[0].tolist(), strict=True))
        assert len(page["angles"]) == 11
        for name, degrees in page["angles"].items():
            assert (degrees - expected[name] + 180) % 360 - 180 == pytest.approx(0, abs=1e-3), name


def test_a_pose_message_says_what_the_result_says(tmp_path: Path, arrays: BodyArrays) -> None:
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = axis_angle_to_matrix(np.array([3, 0.1, 0.2], np.float32))
    matrix[:3, 3] = 1, 2, 3
    result = result_of(arrays, 7, 2, WorldFrame(matrix, 0.1, 0.02))
    told = read_by_page(tmp_path, arrays, result)
    assert (told["sequence"], told["hasWorld"]) == (7, True)
    assert told["finishedMs"] - told["capturedMs"] == pytest.approx(40, abs=1e-3)
    assert np.allclose(told["camera"], [CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy])
    assert np.allclose(np.reshape(told["world"], (3, 4)), matrix[:3])
    assert told["timeS"] == pytest.approx(7 / 30, abs=1e-6)
    for page, body in zip(told["people"], result.people, strict=True):
        assert page["person"] == body.person
        assert np.allclose(np.reshape(page["keypoints"], (17, 2)), body.keypoints.points)
        assert np.allclose(np.array(page["confidence"]) / 255, body.keypoints.confidence, atol=1 / 255)
    assert read_by_page(tmp_path, arrays, replace(result, world=None))["hasWorld"] is False


def test_a_video_message_carries_the_frame_and_its_flow(tmp_path: Path, arrays: BodyArrays) -> None:
    result = result_of(arrays, 7, 2)
    told = read_by_page(
        tmp_path, arrays, result, video_message(result, pose_message(result, 0, 0), b"\xff\xd8jpeg", 320, 240)
    )["video"]
    assert (told["sequence"], told["width"], told["height"], told["scale"]) == (7, 320, 240, 0.5)
    assert bytes(told["jpeg"]) == b"\xff\xd8jpeg"
    assert told["pose"]["sequence"] == 7
    for page, body in zip(told["pose"]["people"], result.people, strict=True):
        assert np.allclose(page["transl"], body.transl)
    for page, flow in zip(told["flows"], result.flows, strict=True):
        assert (page["person"], page["x"], page["y"], page["size"]) == (flow.person, *flow.box)
        means = flow.field.reshape(16, 8, 16, 8, 2).mean((1, 3)) * (flow.box.size / 128)
        assert np.allclose(np.reshape(page["field"], (16, 16, 2)) * page["step"], means, atol=page["step"])


def test_a_person_costs_500_bytes_a_frame_and_the_body_travels_once(arrays: BodyArrays) -> None:
    assert PERSON_DTYPE.itemsize == 500
    sizes = [len(pose_message(result_of(arrays, 1, people), 0, 0)) for people in (0, 1, 6)]
    assert sizes == [112, 612, 3112]
    with_flow, without = (
        len(video_message(result, b"", b"", 320, 240))
        for result in (result_of(arrays, 1, 1), replace(result_of(arrays, 1, 1), flows=()))
    )
    assert with_flow - without == 532


def test_points_that_are_no_numbers_reach_no_page(arrays: BodyArrays) -> None:
    result = result_of(arrays, 1, 1)
    seen = result.people[0].keypoints
    seen.points[3], seen.confidence[3] = np.nan, np.nan
    row = np.frombuffer(pose_message(result, 0, 0)[112:], PERSON_DTYPE)[0]
    assert np.isfinite(row["keypoints"]).all()
    assert row["confidence"][3] == 0
