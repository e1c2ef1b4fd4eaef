"""Description of the machine that a report's figures were measured on."""

from __future__ import annotations

import platform
import shutil
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from common.version import version
from engines.cuda.driver import probe_gpu
from engines.cuda.packages import open_cuda
from engines.device import describe_device
from engines.engine import EngineError
from engines.tensorrt_api import load_tensorrt

_PACKAGES = ("numpy", "onnxruntime", "openvino", "opencv-python-headless", "tensorrt", "pycuda", "cuda-bindings")


def describe_machine() -> dict[str, str]:
    """Processor, GPU, driver, board, power mode and versions of packages, as texts by name."""
    found = {"program": version(), "cpu": describe_device(), "system": platform.platform()}
    found["python"] = platform.python_version()
    found |= {package: _installed(package) for package in _PACKAGES}
    try:
        gpu = probe_gpu()
        found["gpu"], found["cuda"] = str(gpu), gpu.cuda
        found["tensorrt"] = load_tensorrt().__version__  # a board's own one is unknown to pip
    except EngineError as error:
        found["gpu"] = str(error)
    with suppress(EngineError):
        found["driver through"] = open_cuda().name
    board = Path("/etc/nv_tegra_release")  # Jetsons only
    if board.is_file():
        found["jetson"] = board.read_text(errors="replace").splitlines()[0].strip("# ")
        found["power mode"] = _ask("nvpmodel", "-q")
    return found


def gpu_state() -> str:
    """Clocks, temperature and power of the GPU at this moment, in the words of the driver's tool; empty where there is none."""
    if shutil.which("tegrastats"):  # Jetsons; it prints a line a second until it is stopped
        return _ask("timeout", "2", "tegrastats", "--interval", "1000")
    if shutil.which("nvidia-smi"):
        fields = "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,memory.used"
        return _ask("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
    return ""


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return " ".join((done.stdout or done.stderr).split())
