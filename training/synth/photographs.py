"""Photographed surroundings, all CC0: panoramas with their lighting, and materials for walls and floors.

The JPEG files are stored beside this module; `training/manifest.json` gives the origin of each. The panoramas come from
high-dynamic-range images: their radiance is kept as a small map, so that people are lit by the place where they stand.
`python -m training.synth.photographs` made the files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from common.arrays import AnyFloatArray, FloatArray, ImageArray
from common.command_line import run_command
from common.errors import UserError
from common.files import write_atomically, write_bytes_atomically, write_text_atomically

PHOTOGRAPHS: Final = Path(__file__).with_name("photographs")
MANIFEST: Final = Path(__file__).parents[1] / "manifest.json"
LIGHT_FILE: Final = "light.npz"
_LIGHT_SIZE: Final = (32, 16)
PANORAMAS: Final = (
    "pmndrs-assets-1.7.0.tgz",
    "152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc",
    "Poly Haven panorama {name} (CC0), from npm @pmndrs/assets 1.7.0 (CC0-1.0), hdri/{name}.exr.js",
)
MATERIALS: Final = ("brick", "grass", "gravel")
_MATERIALS_FROM: Final = "CC0Textures {name} (CC0), from PyPI scikit-image 0.26.0, skimage/data/{name}.png"


@dataclass(frozen=True, slots=True, eq=False)
class Panorama:
    """One panorama, equirectangular: azimuth across, elevation from straight up to straight down."""

    name: str
    """File name without its ending."""
    image: ImageArray
    """(256, 512, 3) uint8, BGR image."""
    light: FloatArray
    """(16, 32, 3) float32 BGR, linear radiance at low resolution."""


@lru_cache(maxsize=1)
def panoramas() -> tuple[Panorama, ...]:
    """All panoramas that ship, sorted by name. Raises ``ValueError`` if a file is missing or damaged."""
    with np.load(PHOTOGRAPHS / LIGHT_FILE, allow_pickle=False) as lights:
        return tuple(
            Panorama(name, _read(PHOTOGRAPHS / f"{name}.jpg"), np.asarray(lights[name], np.float32))
            for name in sorted(lights.files)
        )


@lru_cache(maxsize=1)
def materials() -> tuple[ImageArray, ...]:
    """Images (256, 256, 3) uint8 of materials, grey as they ship."""
    return tuple(_read(PHOTOGRAPHS / f"{name}.jpg") for name in MATERIALS)


def _read(path: Path) -> ImageArray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(
            f"{path.name} is missing or damaged: restore it with `git checkout -- training/synth/photographs`"
        )
    return np.asarray(image, np.uint8)


def directions(width: int, height: int) -> FloatArray:
    """Unit vectors (height, width, 3) float32, y up, of the pixels of a panorama."""
    azimuth = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    elevation = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    flat = np.cos(elevation)[:, None]
    out = np.stack(
        [flat * np.sin(azimuth), np.broadcast_to(np.sin(elevation)[:, None], (height, width)), flat * np.cos(azimuth)],
        -1,
    )
    return out.astype(np.float32)


def sample_panorama(panorama: ImageArray, along: AnyFloatArray) -> ImageArray:
    """Colours (H, W, 3) uint8 that a panorama shows in the directions ``along`` (H, W, 3) of any length, y up."""
    height, width = panorama.shape[:2]
    x = (np.arctan2(along[..., 0], along[..., 2]) / (2 * np.pi) + 0.5) * width - 0.5
    y = (0.5 - np.arctan2(along[..., 1], np.hypot(along[..., 0], along[..., 2])) / np.pi) * height - 0.5
    wrapped = np.concatenate([panorama[:, -1:], panorama, panorama[:, :1]], 1)
    seen = cv2.remap(
        wrapped, (x + 1).astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(seen, np.uint8)


def irradiance(light: FloatArray, turn: AnyFloatArray) -> FloatArray:
    """Spherical harmonics (3, 9) of the light on a matt white surface (Ramamoorthi & Hanrahan 2001).

    Args:
        light: (H, W, 3) linear radiance of a panorama.
        turn: (3, 3) rotation from the frame of the result to that of the panorama.

    Returns:
        Coefficients float32 in the order of `training.synth.shading.shade_vertices`.
    """
    height, width = light.shape[:2]
    x, y, z = np.moveaxis(directions(width, height) @ turn, -1, 0)  # in the frame of the result
    solid = np.cos((0.5 - (np.arange(height) + 0.5) / height) * np.pi) * (np.pi / height) * (2 * np.pi / width)
    basis = np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    norm = np.array([0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]) ** 2
    blur = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
    return np.asarray(np.einsum("hwc,khw,h->ck", light, basis, solid) * norm * blur, np.float32)


def main(
    panoramas_archive: Annotated[
        Path, typer.Option("--panoramas", help="archive made by: npm pack @pmndrs/assets@1.7.0")
    ],
    wheel: Annotated[Path, typer.Option(help="wheel fetched by: pip download --no-deps scikit-image==0.26.0")],
) -> None:
    """Make the files again from the two packages. Needs OpenEXR: pip install OpenEXR."""
    if hashlib.sha256(panoramas_archive.read_bytes()).hexdigest() != PANORAMAS[1]:
        raise UserError(f"{panoramas_archive} is not the pinned archive: npm pack @pmndrs/assets@1.7.0")
    PHOTOGRAPHS.mkdir(exist_ok=True)
    origins: dict[str, str] = {}
    lights: dict[str, NDArray[np.float16]] = {}
    with tarfile.open(panoramas_archive) as archive:
        for member in sorted(archive.getnames()):
            found = re.fullmatch(r"package/hdri/(\w+)\.exr\.js", member)
            file = archive.extractfile(member) if found else None
            if found and file:
                name, radiance = found[1], _radiance(file.read().decode())
                lights[name] = np.asarray(cv2.resize(radiance, _LIGHT_SIZE, interpolation=cv2.INTER_AREA), np.float16)
                _write(PHOTOGRAPHS / f"{name}.jpg", _developed(radiance), 88)
                origins[f"{name}.jpg"] = PANORAMAS[2].format(name=name)
    with write_atomically(PHOTOGRAPHS / LIGHT_FILE) as light_file:
        np.savez_compressed(light_file, **lights)  # type: ignore[arg-type]
    origins[LIGHT_FILE] = PANORAMAS[2].format(name="*")
    with zipfile.ZipFile(wheel) as archive_file:
        for name in MATERIALS:
            data = np.frombuffer(archive_file.read(f"skimage/data/{name}.png"), np.uint8)
            image = cv2.resize(
                np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), (256, 256), interpolation=cv2.INTER_AREA
            )
            _write(PHOTOGRAPHS / f"{name}.jpg", np.asarray(image, np.uint8), 85)
            origins[f"{name}.jpg"] = _MATERIALS_FROM.format(name=name)
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text())
    for file_name, origin in sorted(origins.items()):
        manifest[f"synth/photographs/{file_name}"] = {
            "origin": origin,
            "licence": "CC0-1.0",
            "sha256": hashlib.sha256((PHOTOGRAPHS / file_name).read_bytes()).hexdigest(),
            "command": "python -m training.synth.photographs --panoramas ARCHIVE --wheel WHEEL",
        }
    write_text_atomically(MANIFEST, json.dumps(manifest, indent=2) + "\n")
    print(f"{len(origins)} files in {PHOTOGRAPHS}")


def _radiance(module: str) -> FloatArray:
    """(256, 512, 3) linear BGR from a JavaScript module that holds an OpenEXR file as a data URL."""
    import OpenEXR  # only this command needs it

    content = base64.b64decode(module.split("base64,")[1].split("'")[0])
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(content)
        file.flush()
        pixels = OpenEXR.File(file.name).channels()["RGB"].pixels
    return np.ascontiguousarray(np.asarray(pixels, np.float32)[..., ::-1]).clip(0, 200)


def _developed(radiance: FloatArray) -> ImageArray:
    """An 8-bit image of ``radiance``: median mapped to mid-grey, highlights compressed."""
    exposed = radiance / (2 * float(np.median(radiance)) + 1e-6)
    return np.asarray(((exposed / (1 + 0.6 * exposed)).clip(0, 1) ** (1 / 2.2) * 255).round(), np.uint8)


def _write(path: Path, image: ImageArray, quality: int) -> None:
    write_bytes_atomically(path, cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


if __name__ == "__main__":
    run_command(
        main,
        examples="Example: python -m training.synth.photographs --panoramas ASSETS.tgz --wheel SCIKIT_IMAGE.whl",
    )
