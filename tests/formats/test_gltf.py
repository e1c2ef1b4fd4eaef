"""An animated glTF file moves as the body does: read back by the format's own rules, and by another program's reader."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as some_arrays

from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from body.rotations import axis_angle_to_matrix
from body.suit.parts import clay_colour, part_colours
from body.suit.surface import suit_surface
from common.arrays import AnyArray, DoubleArray, FloatArray
from common.errors import UserError
from formats.axes import quaternions
from formats.endings import MeshLook
from formats.gltf import to_glb
from formats.motion import Motion

FRAMES = 12
COMPONENTS = {5126: np.float32, 5123: np.uint16, 5125: np.uint32, 5121: np.uint8}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body()


@pytest.fixture(scope="module")
def motion(body: BodyArrays) -> Motion:
    """Person 0 in all of 12 frames, person 1 in the first two and, after half a second, in the last three."""
    rng = np.random.default_rng(3)
    rows = [(frame, 0) for frame in range(FRAMES)] + [(frame, 1) for frame in (0, 1, 9, 10, 11)]
    rows.sort()
    count = len(rows)
    frame, person = (np.array(column) for column in zip(*rows, strict=True))
    return Motion(
        frame=frame,
        time_s=2.0 + frame / 15,
        person=person,
        joints_m=np.zeros((count, 24, 3), np.float32),
        joints_px=np.zeros((count, 24, 2), np.float32),
        keypoints_px=np.zeros((count, 17, 2), np.float32),
        keypoint_confidence=np.ones((count, 17), np.float32),
        global_orient=rng.normal([np.pi, 0, 0], 0.4, (count, 3)).astype(np.float32),
        body_pose=rng.normal(0, 0.5, (count, 23, 3)).astype(np.float32),
        betas=np.where(person[:, None] == 0, 0.7, -0.5).astype(np.float32) * np.ones((1, 10), np.float32),
        transl=rng.normal([0, 0, 3], 0.3, (count, 3)).astype(np.float32),
        camera_matrix=np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]]),
        fps=15.0,
        source="walk.mp4",
        body_sha256=body.sha256,
        version=1,
    )


class Reader:
    """A .glb file by the rules of the glTF 2.0 specification."""

    def __init__(self, content: bytes) -> None:
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        size, kind = struct.unpack_from("<I4s", content, 12)
        assert kind == b"JSON"
        self.document: dict[str, Any] = json.loads(content[20 : 20 + size])
        binary, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert kind == b"BIN\0"
        self.blob = content[28 + size :]
        assert len(self.blob) == binary
        assert binary % 4 == size % 4 == 0
        self.nodes = self.document["nodes"]

    def values(self, number: int) -> AnyArray:
        accessor = self.document["accessors"][number]
        view = self.document["bufferViews"][accessor["bufferView"]]
        dtype = np.dtype(COMPONENTS[accessor["componentType"]])
        assert view["byteOffset"] % dtype.itemsize == 0
        assert view["byteOffset"] + view["byteLength"] <= self.document["buffers"][0]["byteLength"]
        width = WIDTHS[accessor["type"]]
        values = np.frombuffer(self.blob, dtype, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        if "min" in accessor:
            np.testing.assert_array_equal(values.min(0), np.array(accessor["min"], dtype))
            np.testing.assert_array_equal(values.max(0), np.array(accessor["max"], dtype))
        return values

    def at(self, node: int, path: str, seconds: float) -> DoubleArray | None:
        """The animated value of a node at the nearest keyframe (STEP: at any time), or None where it is not animated."""
        animation = self.document["animations"][0]
        for channel in animation["channels"]:
            if channel["target"] == {"node": node, "path": path}:
                sampler = animation["samplers"][channel["sampler"]]
                times, values = self.values(sampler["input"])[:, 0], self.values(sampler["output"])
                assert (np.diff(times) > 0).all()
                if sampler["interpolation"] == "STEP":
                    return values[max(np.searchsorted(times, seconds + 1e-6) - 1, 0)].astype(np.float64)
                return values[int(np.argmin(np.abs(times - seconds)))].astype(np.float64)
        return None

    def placed(self, seconds: float) -> dict[int, DoubleArray]:
        """The global transform (4, 4) of every node."""
        found: dict[int, DoubleArray] = {}

        def visit(node: int, above: DoubleArray) -> None:
            own = self.nodes[node]
            shift = self.at(node, "translation", seconds)
            turn = self.at(node, "rotation", seconds)
            size = self.at(node, "scale", seconds)
            x, y, z, w = own.get("rotation", [0, 0, 0, 1]) if turn is None else turn
            local = np.eye(4)
            local[:3, :3] = [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
            local[:3, :3] *= 1.0 if size is None else size
            local[:3, 3] = own.get("translation", [0, 0, 0]) if shift is None else shift
            found[node] = above @ local
            for child in own.get("children", []):
                visit(child, found[node])

        for root in self.document["scenes"][0]["nodes"]:
            visit(root, np.eye(4))
        return found

    def skinned(self, person: int, seconds: float) -> DoubleArray:
        """The vertices of one person's mesh, in the scene."""
        (node,) = [node for node in self.nodes if node.get("mesh") == person]
        attributes = self.document["meshes"][person]["primitives"][0]["attributes"]
        skin = self.document["skins"][node["skin"]]
        placed = self.placed(seconds)
        unbind = self.values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)  # column-major
        moves = np.stack([placed[joint] for joint in skin["joints"]]) @ unbind
        rest = np.c_[self.values(attributes["POSITION"]), np.ones(len(self.values(attributes["POSITION"])))]
        bones, weights = self.values(attributes["JOINTS_0"]), self.values(attributes["WEIGHTS_0"])
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
        blended = np.einsum("vk,vkab->vab", weights, moves[bones])
        return np.asarray(np.einsum("vab,vb->va", blended, rest)[:, :3])


@pytest.mark.parametrize("look", ["clay", "suit"])
@pytest.mark.parametrize("row", [0, 5, 16])
def test_meshes_are_where_the_body_is(motion: Motion, body: BodyArrays, row: int, look: MeshLook) -> None:
    plain = NumpyBody(replace(body, posedirs=np.zeros_like(body.posedirs)))
    plain.set_shape(motion.betas[row])
    wanted, _ = plain.pose(motion.global_orient[row], motion.body_pose[row], motion.transl[row])
    if look == "suit":
        suit = suit_surface(body)
        rotations = np.concatenate([motion.global_orient[row][None], motion.body_pose[row]])
        wanted = suit.seams.extend(suit.forms(wanted, rotations, motion.betas[row]))
    reader = Reader(to_glb(motion, body, look=look))
    seconds = motion.time_s[row] - motion.time_s[0]
    found = reader.skinned(int(motion.person[row]), seconds)
    wanted = wanted * [1, -1, -1]  # y up, z backward
    own = body.vertex_count
    np.testing.assert_allclose(found[:own], wanted[:own], atol=2e-4)
    # The format moves a vertex by four joints; one between three of the body's vertices may need some more.
    np.testing.assert_allclose(found[own:], wanted[own:], atol=3e-3)


def test_people_wear_the_suit_that_windows_draw(motion: Motion, body: BodyArrays) -> None:
    reader = Reader(to_glb(motion, body))
    suit = suit_surface(body)
    sure = suit.shares.max(1) > 0.999
    assert sure.mean() > 0.98
    for person in motion.people:
        (primitive,) = reader.document["meshes"][person]["primitives"]
        where = reader.values(primitive["attributes"]["TEXCOORD_0"])
        texture = reader.document["materials"][primitive["material"]]["pbrMetallicRoughness"]["baseColorTexture"]
        image = reader.document["images"][reader.document["textures"][texture["index"]]["source"]]
        view = reader.document["bufferViews"][image["bufferView"]]
        png = np.frombuffer(reader.blob, np.uint8, view["byteLength"], view["byteOffset"])
        palette = cv2.imdecode(png, cv2.IMREAD_COLOR)
        assert palette is not None
        height, width = palette.shape[:2]
        columns, rows = (np.minimum(where * [width, height], [width - 1, height - 1])).astype(int).T
        shown = palette[rows, columns]
        np.testing.assert_array_equal(shown[sure], part_colours(person)[suit.shares.argmax(1)][sure])
        assert len(np.unique(shown, axis=0)) == 4
    plain = Reader(to_glb(motion, body, look="clay")).document
    assert "textures" not in plain
    colours = [material["pbrMetallicRoughness"]["baseColorFactor"] for material in plain["materials"]]
    assert len(colours) == 2
    assert colours[0] != colours[1]
    encoded = [1.055 * part ** (1 / 2.4) - 0.055 for part in colours[0][:3]]  # sRGB's own formula
    np.testing.assert_allclose(np.array(encoded)[::-1] * 255, clay_colour(0), atol=0.01)


def test_somebody_is_only_shown_while_he_is_seen(motion: Motion, body: BodyArrays) -> None:
    reader = Reader(to_glb(motion, body))
    assert all(np.ptp(reader.skinned(0, frame / 15), axis=0).max() > 1 for frame in (0, 6, 11))
    names = {node["name"]: number for number, node in enumerate(reader.nodes)}
    sizes = [reader.at(names["person 1"], "scale", seconds) for seconds in (0.0, 1 / 15, 0.3, 0.55, 0.6, 0.7)]
    assert [bool(size.any()) for size in sizes if size is not None] == [True, True, False, False, True, True]
    assert reader.at(names["person 0"], "scale", 0.0) is None


def test_the_camera_sees_them_where_the_video_did(motion: Motion, body: BodyArrays) -> None:
    reader = Reader(to_glb(motion, body))
    lens = reader.document["cameras"][0]["perspective"]
    vertex = reader.skinned(0, 0.0)[100]
    half_height = -vertex[2] * np.tan(lens["yfov"] / 2)
    pixel = [
        640 + vertex[0] / (half_height * lens["aspectRatio"]) * 640.5,  # pixel 0 is half a pixel from the border
        360 - vertex[1] / half_height * 360.5,
    ]
    x, y, z = vertex * [1, -1, -1]
    np.testing.assert_allclose(pixel, [800 * x / z + 640, 800 * y / z + 360], rtol=1e-6)


def test_another_programs_reader_finds_the_same_surface(motion: Motion, body: BodyArrays, tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d", exc_type=ImportError)  # it needs libusb-1.0 of the system
    path = tmp_path / "walk.glb"
    path.write_bytes(to_glb(motion, body))
    model = open3d.io.read_triangle_model(str(path))
    assert sum(len(part.mesh.triangles) for part in model.meshes) == 2 * len(suit_surface(body).seams.faces)


@settings(max_examples=50, deadline=None)
@given(some_arrays(np.float32, (5, 2, 3), elements=st.floats(-3, 3, width=32)))
def test_quaternions_are_the_rotations(axis_angle: FloatArray) -> None:
    turns = quaternions(axis_angle).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(turns, axis=-1), 1, atol=1e-5)
    assert ((turns[1:] * turns[:-1]).sum(-1) > -1e-6).all()
    vector = np.array([0.3, -0.5, 0.8])
    axis, w = turns[..., :3], turns[..., 3:]
    turned = vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
    np.testing.assert_allclose(turned, axis_angle_to_matrix(axis_angle) @ vector, atol=1e-5)


def test_a_motion_without_anybody_is_refused(motion: Motion, body: BodyArrays) -> None:
    empty = replace(motion, person=np.full_like(motion.person, -1))
    with pytest.raises(UserError, match="nobody"):
        to_glb(empty, body)


def test_bad_input_is_told_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "formats.convert", str(tmp_path / "none.npz"), str(tmp_path / "out.glb")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out.glb").exists()
