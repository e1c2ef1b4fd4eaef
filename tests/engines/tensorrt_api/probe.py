"""Writes down what NVIDIA's real Python bindings of TensorRT offer: ``python tests/engines/tensorrt_api/probe.py``.

For each version in `WHEELS` the wheel is fetched with pip and imported. It links to libraries of several gigabytes that
are not needed to look at classes, so empty ones of the same names are compiled first; whatever would compute anything
returns a null pointer. Needs cc, nm and Python 3.11 (for which all of these wheels exist) on x86-64 Linux; no GPU. The
files that it writes hold names only: classes, members, parameters, the members of enumerations.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
WHEELS = {
    "8.6.1": "tensorrt-bindings==8.6.1",  # JetPack 6.0
    "10.3.0": "tensorrt-cu12-bindings==10.3.0",  # JetPack 6.1
    "11.4.0.106": "tensorrt-cu13-bindings==11.4.0.106",
}
CLASSES = [
    "Builder", "IBuilderConfig", "INetworkDefinition", "ILayer", "ITensor", "IOptimizationProfile", "ITimingCache",
    "IProgressMonitor", "OnnxParser", "ParserError", "ILogger", "Runtime", "ICudaEngine", "IExecutionContext", "IHostMemory",
]  # fmt: skip
ENUMERATIONS = [
    "BuilderFlag", "DataType", "DeviceType", "LayerType", "MemoryPoolType", "NetworkDefinitionCreationFlag",
    "TensorIOMode", "TensorLocation",
]  # fmt: skip
_PROVIDED_ELSEWHERE = re.compile(
    r"@|^_Py|^Py|^_ITM|^_ZGT|^_ZN?K?S|^_Znw|^_Zdl|^__|^dl(open|sym|close|error)$|^pthread_"
)


def look(module: Any) -> dict[str, Any]:
    """Names in an imported ``tensorrt_bindings``; see the module's documentation."""
    found: dict[str, Any] = {"version": module.__version__, "classes": {}, "enumerations": {}}
    for name in CLASSES:
        kind = getattr(module, name, None)
        found["classes"][name] = None if kind is None else _members(kind)
    for name in ENUMERATIONS:
        kind = getattr(module, name, None)
        found["enumerations"][name] = None if kind is None else sorted(kind.__members__)
    found["enumerations"]["ILogger.Severity"] = sorted(module.ILogger.Severity.__members__)
    return found


def _members(kind: Any) -> dict[str, Any]:
    """Member ▶ None for an attribute, else parameters (without self) and result of each of its overloads."""
    members: dict[str, Any] = {}
    for name in ["__init__", *(name for name in dir(kind) if not name.startswith("_"))]:
        member = getattr(kind, name)
        documentation = member.__doc__ or ""
        signatures = re.findall(rf"^\s*(?:\d+\. )?{name}\((.*)\) -> (\S+)", documentation, re.MULTILINE)
        if not callable(member):
            members[name] = None
        elif signatures:
            members[name] = [
                {"parameters": re.findall(r"(\w+): ", _flat(parameters))[1:], "result": result.rpartition(".")[2]}
                for parameters, result in signatures
            ]
    return members


def _flat(signature: str) -> str:
    # Types may hold colons of their own: Callable[[arg: int], ...], or a default like <Severity.WARNING: 2>.
    return re.sub(r"<[^>]*>|\[[^\]]*\]", "", signature)


def empty_libraries(binary: Path, folder: Path) -> None:
    """Compile a stand-in for each of NVIDIA's libraries that ``binary`` links to; every function returns null."""
    listing = subprocess.run(["nm", "-D", "--undefined-only", binary], capture_output=True, text=True, check=True)
    symbols = [line.split()[-1] for line in listing.stdout.splitlines()]
    lines = [
        f'void *stand_in_{place}(void) __asm__("{symbol}"); void *stand_in_{place}(void) {{ return 0; }}'
        for place, symbol in enumerate(symbols)
        if not _PROVIDED_ELSEWHERE.search(symbol)
    ]
    (folder / "empty.c").write_text("\n".join(lines))
    needed = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"Shared library: \[(libnv\S+)\]", needed):
        command = ["cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-o", folder / library, folder / "empty.c"]
        subprocess.run(command, check=True)


def probe(requirement: str, folder: Path) -> dict[str, Any]:
    """Fetch the wheel into ``folder``, import it in a process of its own and return what `look` saw."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", folder, requirement], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    empty_libraries(next(folder.glob("tensorrt_bindings/*.so")), folder)
    code = (
        "import json, tensorrt_bindings; from tests.engines.tensorrt_api.probe import look;"
        "print(json.dumps(look(tensorrt_bindings)))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{FOLDER.parents[2]}",
        "LD_LIBRARY_PATH": str(folder),
    }
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    rows = {}
    for version, requirement in WHEELS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = probe(requirement, Path(folder))
        path = FOLDER / f"{version}.json"
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        rows[path.name] = {
            "origin": f"names read out of the package {requirement}",
            "licence": "Apache-2.0 (names of an interface; nothing of NVIDIA's code or text is in it)",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "command": "python tests/engines/tensorrt_api/probe.py",
        }
        print(f"{path.name}: TensorRT {found['version']}, {sum(map(bool, found['classes'].values()))} classes")
    (FOLDER / "manifest.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
