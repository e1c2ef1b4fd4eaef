"""Motion files from strangers: small ones that ask for gigabytes, and damaged ones."""

from __future__ import annotations

import contextlib
import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from tests.foreign import damaged, few, little_memory, refuses, reworded, zip_of_zeros
from tests.training.motion.c3d_file import c3d_file
from tests.training.motion.skeletons import GENERIC, random_clip, write_amc, write_asf, write_bvh, write_packed_folder
from tests.training.motion.test_glb import key, write_glb
from training.motion.amass import read_amass
from training.motion.asf_amc import read_amc
from training.motion.bvh import read_bvh
from training.motion.glb import read_glb
from training.motion.library import load_packed
from training.motion.markers import MARKERS, VICON_COLUMNS, read_c3d, read_vicon_text
from training.motion.pack import load_motion_pack, save_motion_pack

SMALL = 1_500_000


def whole_or_refused(read: Callable[[Path], object], path: Path) -> None:
    """Fails where ``read`` takes much memory, or fails in another way than with an error for the user."""
    with little_memory(), contextlib.suppress(UserError):
        read(path)


def text_of(write: Callable[[Path], None], folder: Path) -> str:
    path = folder / "written"
    write(path)
    return path.read_text()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A whole file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    write_asf(folder / "asf")
    write_amc(folder / "amc", [{"lradius": (0, -90, 0)}, {}])
    write_bvh(folder / "bvh", GENERIC, [{}, {}])
    write_glb(folder / "glb", {"LeftLeg": [key("x", 0), key("x", 90)]}, [0.0, 1.0])
    save_motion_pack(folder / "pack.npz", [random_clip("a", "1")])
    write_packed_folder(folder / "packed", [(random_clip("a", "1"), "CMU")])
    (folder / "index").write_bytes((folder / "packed" / "index.json").read_bytes())
    (folder / "shard").write_bytes((folder / "packed" / "a.npz").read_bytes())
    np.savez(folder / "amass.npz", poses=np.zeros((3, 156)), trans=np.zeros((3, 3)), mocap_framerate=120.0)
    names = [path for path in folder.iterdir() if path.is_file()]
    rows = "\n".join(",".join(["1.5"] * 3 * len(VICON_COLUMNS)) for _ in range(3))
    found = {path.name.split(".")[0]: path.read_bytes() for path in names}
    return found | {"vicon": rows.encode(), "c3d": c3d_file(np.ones((3, len(MARKERS), 3)), MARKERS)}


@few
@given(st.data())
def test_reworded_text_files(files: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(("asf", "amc", "bvh", "vicon")))
    asf, amc = (tmp_path / "02.asf"), (tmp_path / "02_01.amc")
    asf.write_bytes(files["asf"])
    amc.write_bytes(files["amc"])
    path = {"asf": asf, "amc": amc, "bvh": tmp_path / "x.bvh", "vicon": tmp_path / "m01_s01.txt"}[kind]
    path.write_text(data.draw(reworded(files[kind].decode())))
    read: dict[str, Callable[[Path], object]] = {
        "asf": lambda _: read_amc(amc), "amc": read_amc, "bvh": read_bvh, "vicon": read_vicon_text,
    }  # fmt: skip
    whole_or_refused(read[kind], path)


@few
@given(st.data())
def test_damaged_binary_files(files: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    readers: dict[str, tuple[str, Callable[[Path], object]]] = {
        "glb": ("x.glb", read_glb), "pack": ("x.npz", load_motion_pack), "amass": ("x.npz", read_amass),
        "c3d": ("x.c3d", read_c3d), "shard": ("a.npz", lambda path: load_packed(path.parent)),
    }  # fmt: skip
    kind = data.draw(st.sampled_from(sorted(readers)))
    name, read = readers[kind]
    (tmp_path / "index.json").write_bytes(files["index"])
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(files[kind])))
    whole_or_refused(read, path)


@few
@given(st.data())
def test_reworded_descriptions(files: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    """The JSON inside of a .glb file, and the index of a packed folder, with other numbers in them."""
    binary = files["glb"]
    (size,) = struct.unpack_from("<I", binary, 12)
    description = json.loads(binary[20 : 20 + size])
    spaced = json.dumps(description, separators=(" , ", " : "), indent=0)
    text = data.draw(reworded(spaced)).encode()
    rest = binary[20 + size :]
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + rest
    (tmp_path / "x.glb").write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body)
    whole_or_refused(read_glb, tmp_path / "x.glb")
    (tmp_path / "a.npz").write_bytes(files["shard"])
    index = json.dumps(json.loads(files["index"]), separators=(" , ", " : "), indent=0)
    (tmp_path / "index.json").write_text(data.draw(reworded(index)))
    whole_or_refused(load_packed, tmp_path)


def test_a_bvh_file_of_joints_without_channels(tmp_path: Path) -> None:
    joints = "".join(f"JOINT j{number} {{ OFFSET 0 1 0 CHANNELS 0 }} " for number in range(20_000))
    text = f"HIERARCHY ROOT Hips {{ OFFSET 0 0 0 CHANNELS 1 Xposition {joints} }} MOTION\nFrames: 300000\n"
    path = tmp_path / "x.bvh"
    path.write_text(text + "Frame Time: 0.01\n" + "0 " * 300_000)
    assert path.stat().st_size < SMALL
    refuses(read_bvh, path, match="more than a file")


def test_an_amc_file_of_bones_without_degrees_of_freedom(tmp_path: Path) -> None:
    bones = "".join(
        f"begin id 1 \n name b{number} \n direction 0 1 0\n length 1\n axis 0 0 0\n end\n" for number in range(5000)
    )
    names = " ".join(f"b{number}" for number in range(5000))
    (tmp_path / "1.asf").write_text(
        f":units\nlength 1\n:root\norder TX\n:bonedata\n{bones}:hierarchy\nbegin\nroot {names}\nend\n"
    )
    (tmp_path / "1_1.amc").write_text("\n".join(f"{frame}\nroot 0" for frame in range(1, 60_001)))
    assert (tmp_path / "1_1.amc").stat().st_size < SMALL
    refuses(read_amc, tmp_path / "1_1.amc", match="more than a file")


def test_a_skeleton_whose_root_cannot_move(tmp_path: Path) -> None:
    write_asf(tmp_path / "1.asf")
    text = (tmp_path / "1.asf").read_text().replace("order TX TY TZ RX RY RZ", "order")
    (tmp_path / "1.asf").write_text(text)
    write_amc(tmp_path / "1_1.amc", [{}])
    lines = (tmp_path / "1_1.amc").read_text().splitlines()
    (tmp_path / "1_1.amc").write_text("\n".join(line for line in lines if not line.startswith("root")))
    refuses(read_amc, tmp_path / "1_1.amc")


def changed_glb(files: dict[str, bytes], change: Callable[[dict[str, object]], None]) -> bytes:
    binary = files["glb"]
    (size,) = struct.unpack_from("<I", binary, 12)
    description = json.loads(binary[20 : 20 + size])
    change(description)
    text = json.dumps(description).encode()
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + binary[20 + size :]
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body


GLB_TRICKS: dict[str, Callable[[dict[str, object]], None]] = {
    "numbers one on the other": lambda d: (
        d["bufferViews"][1].update(byteStride=0), d["accessors"][1].update(count=10**9)
    ),
    "a key in a million years": lambda d: d["accessors"][1].update(componentType=5125),
    "nodes in a circle": lambda d: d["nodes"][-1].update(children=[1]),
    "a node in itself": lambda d: d["nodes"][3].update(children=[3]),
    "many nodes": lambda d: (d["nodes"].extend([{}] * 100_000), d["accessors"][1].update(componentType=5123)),
}  # fmt: skip


@pytest.mark.parametrize("trick", GLB_TRICKS)
def test_a_glb_file_that_lies(files: dict[str, bytes], tmp_path: Path, trick: str) -> None:
    path = tmp_path / "x.glb"
    path.write_bytes(changed_glb(files, GLB_TRICKS[trick]))
    assert path.stat().st_size < SMALL
    whole_or_refused(read_glb, path)


@pytest.mark.parametrize("reader", [read_amass, load_motion_pack])
@pytest.mark.parametrize("shape", [(32 << 20,), (10**12,), (10**9, 10**9)])
def test_npz_bombs(tmp_path: Path, reader: Callable[[Path], object], shape: tuple[int, ...]) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(zip_of_zeros(shape, 256 << 20, "poses" if reader is read_amass else "index"))
    assert path.stat().st_size < 2_000_000
    refuses(reader, path)


def test_an_array_instead_of_an_archive(tmp_path: Path) -> None:
    """NumPy takes memory for as many numbers as the head of a single array says."""
    with (tmp_path / "x.npz").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    for reader in (read_amass, load_motion_pack):
        refuses(reader, tmp_path / "x.npz")


def test_marker_files_that_unpack_to_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "m01_s01.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b"0," * (1 << 19))
    assert path.stat().st_size < 2_000_000
    refuses(read_vicon_text, path, match="longer than")


@pytest.mark.parametrize(("place", "value"), [(2, 0xFFFF), (4, 0xFFFF), (8, 0xFFFE), (16, 0xFFFF), (0, 0xFF)])
def test_a_c3d_file_that_says_it_is_larger_than_it_is(tmp_path: Path, place: int, value: int) -> None:
    data = bytearray(c3d_file(np.ones((3, len(MARKERS), 3)), MARKERS))
    data[place : place + 2] = struct.pack("<H", value)
    (tmp_path / "x.c3d").write_bytes(data)
    refuses(read_c3d, tmp_path / "x.c3d", match="not a C3D file, or damaged")
