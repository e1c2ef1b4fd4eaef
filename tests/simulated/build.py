"""Builds the simulated CUDA device and the real packages that run on it: ``python tests/simulated/build.py FOLDER``.

FOLDER gets ``libcuda.so.1``, compiled from the folder libcuda with cc; this Python gets cuda-bindings, a wheel, and
pycuda, which is compiled from its source distribution (some minutes) against NVIDIA's headers, which are two small
wheels. Nothing of CUDA need be installed. Linux only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONSTRAINTS = ["--constraint", HERE.parents[1] / "constraints.txt"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
# NVIDIA's function that pycuda links to and no engine calls.
UNUSED = '__attribute__((visibility("default"))) int {name}(void) {{ return 801; /* CUDA_ERROR_NOT_SUPPORTED */ }}\n'


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def requirements() -> dict[str, str]:
    """Package ▶ its line in requirements.txt."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return {line.split("==")[0]: line for line in lines if line and not line.startswith("#")}


def fetch_headers(folder: Path) -> Path:
    """NVIDIA's headers, out of their wheels; returns the folder that holds cuda.h."""
    for package in ("nvidia-cuda-runtime", "nvidia-cuda-profiler-api"):
        run(*PIP, "download", "--no-deps", "--dest", folder, requirements()[package])
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return next(folder.rglob("cuda.h")).parent


def build_library(folder: Path, headers: Path, users: list[Path]) -> Path:
    """Compile the device; functions that ``users`` link to and the device lacks answer that they are not supported."""
    compiled = []
    flags = ["-std=gnu11", "-O1", "-g", "-fPIC", "-fvisibility=hidden", "-Wall", f"-I{headers}"]
    for source in sorted((HERE / "libcuda").glob("*.c")):
        compiled.append(folder / f"{source.stem}.o")
        run("cc", *flags, "-c", source, "-o", compiled[-1])
    there = set(re.findall(r" T (cu\w+)", run("nm", *compiled)))
    wanted = {name for user in users for name in re.findall(r" U (cu[A-Z]\w+)", run("nm", "-D", user))}
    (folder / "unused.c").write_text("".join(UNUSED.format(name=name) for name in sorted(wanted - there)))
    library = folder / "libcuda.so.1"
    run(
        "cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, *compiled, folder / "unused.c", "-lpthread"
    )
    return library


def install_pycuda(folder: Path, headers: Path) -> None:
    """Compile and install pycuda. It is configured by a file in its sources, and by nothing else."""
    run(*PIP, "download", "--no-deps", "--no-binary", "pycuda", "--dest", folder, requirements()["pycuda"])
    with tarfile.open(next(folder.glob("pycuda-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(path for path in folder.glob("pycuda-*") if path.is_dir())
    shutil.copy(folder / "libcuda.so.1", folder / "libcuda.so")
    (source / "siteconf.py").write_text(
        f"CUDA_ROOT = '/nonexistent'\nCUDA_INC_DIR = ['{headers}']\nCUDADRV_LIB_DIR = ['{folder}']\n"
        "CUDA_ENABLE_CURAND = False\nCXXFLAGS = ['-O0', '-g0', '-w']\n"
    )
    print("compiling pycuda: some minutes", flush=True)
    run(*PIP, "install", *CONSTRAINTS, source)


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    headers = fetch_headers(folder / "headers")
    run(*PIP, "install", *CONSTRAINTS, requirements()["cuda-bindings"])
    build_library(folder, headers, [])
    if find_spec("pycuda") is None:
        install_pycuda(folder, headers)
    spec = find_spec("pycuda")
    assert spec is not None, "pycuda was just installed"
    drivers = list(Path(str(spec.origin)).parent.glob("_driver*.so"))
    print(f"simulated device: {build_library(folder, headers, drivers)}")


if __name__ == "__main__":
    main()
