"""What we call of TensorRT is what NVIDIA's own bindings have, in the oldest, the usual and the newest version.

mypy holds our code to the types in `engines.tensorrt_api`; here those types, and the double that the other tests run on,
are held against names, parameters and results that ``tensorrt_api/probe.py`` read out of the real wheels.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from engines import tensorrt_api as types
from engines.tensorrt_api import DTYPES
from tests.engines import tensorrt_double as double
from tests.engines import tensorrt_double_network as double_network
from tests.engines.conftest import FakeGpu

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent / "tensorrt_api"
VERSIONS = ["8.6.1", "10.3.0", "11.4.0.106"]
REAL: dict[str, dict[str, Any]] = {
    version: json.loads((FOLDER / f"{version}.json").read_text()) for version in VERSIONS
}

# Where a member is missing, and why the code does without it there.
ABSENT = {
    "BuilderFlag.FP16": ["11.4.0.106"],  # strongly typed only
    "BuilderFlag.INT8": ["11.4.0.106"],
    "BuilderFlag.PREFER_PRECISION_CONSTRAINTS": ["11.4.0.106"],
    "ILayer.precision": ["11.4.0.106"],
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": ["11.4.0.106"],
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": ["8.6.1"],
    "IBuilderConfig.progress_monitor": ["8.6.1"],
    "IProgressMonitor": ["8.6.1"],
    "ParserError.node_name": ["8.6.1"],
    "ParserError.node_operator": ["8.6.1"],
}
# Each is only reached behind a question that is false where it is missing.
GUARDS = {
    "engines/tensorrt_builder.py": [
        'hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")',
        'hasattr(trt.BuilderFlag, "FP16")',
        'hasattr(config, "progress_monitor")',
        'hasattr(error, "node_name")',
    ]
}


def used() -> Iterator[tuple[str, str, Any]]:
    """Class, member and our declaration of it, of all that `engines.tensorrt_api` declares."""
    for name, kind in vars(types).items():
        if getattr(kind, "_is_protocol", False) and kind.__module__ == types.__name__ and name != "TensorRt":
            yield from ((name, member, None) for member in kind.__annotations__)
            yield from ((name, member, function) for member, function in _functions(kind))


def _functions(kind: type) -> Iterator[tuple[str, Any]]:
    for member, value in vars(kind).items():
        if inspect.isfunction(value) and not member.startswith("_"):
            yield member, value


def accepts(overloads: list[dict[str, Any]], parameters: list[str]) -> bool:
    return any(overload["parameters"][: len(parameters)] == parameters for overload in overloads)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_member_is_in_the_real_bindings(version: str) -> None:
    real = REAL[version]
    seen = 0
    for name, member, function in used():
        missing = version in ABSENT.get(f"{name}.{member}", [])
        enumeration = real["enumerations"].get("ILogger.Severity" if name == "Severity" else name)
        if enumeration is not None:
            assert (member in enumeration) != missing, f"{name}.{member} in TensorRT {version}"
            seen += 1
            continue
        members = real["classes"][name]
        assert (member in members) != missing, f"{name}.{member} in TensorRT {version}"
        seen += 1
        if missing:
            continue
        if function is None:
            assert members[member] is None, f"{name}.{member} is a method in TensorRT {version}"
            continue
        parameters = list(inspect.signature(function).parameters)[1:]
        assert accepts(members[member], parameters), (
            f"{name}.{member}{parameters}: TensorRT {version} has {members[member]}"
        )
    assert seen > 60


@pytest.mark.parametrize("version", VERSIONS)
def test_every_answer_of_yes_or_no_or_nothing_is_declared_so(version: str) -> None:
    """A result that the bindings call bool is bool here too, so that mypy shows where it is thrown away or misread."""
    for name, member, function in used():
        overloads = REAL[version]["classes"].get(name, {}).get(member) if function else None
        if not overloads:
            continue
        results = {overload["result"] for overload in overloads}
        declared = str(get_type_hints(function, vars(types)).get("return"))
        assert ("bool" in results) == ("bool" in declared), f"{name}.{member} returns {results}"
        assert (results == {"None"}) == (declared == str(type(None))), f"{name}.{member} returns {results}"


@pytest.mark.parametrize("version", VERSIONS)
def test_package_has_what_is_taken_from_it(version: str) -> None:
    real = REAL[version]
    for name in [*types.TensorRt.__annotations__, *(member for member, _ in _functions(types.TensorRt))]:
        if name == "__version__":
            continue
        there = real["classes"].get(name) is not None or real["enumerations"].get(name) is not None
        assert there != (version in ABSENT.get(name, [])), f"{name} in TensorRT {version}"
    for member, function in _functions(types.TensorRt):
        parameters = list(inspect.signature(function).parameters)[1:]
        assert accepts(real["classes"][member]["__init__"], parameters), f"{member}({parameters})"
    common = set(DTYPES) - set(real["enumerations"]["DataType"])
    assert common <= {"INT64"}, "INT64 came with TensorRT 10"
    assert accepts(real["classes"]["ILogger"]["log"], ["severity", "msg"])
    if version not in ABSENT["IProgressMonitor"]:
        monitor = real["classes"]["IProgressMonitor"]
        assert accepts(monitor["phase_start"], ["phase_name", "parent_phase", "num_steps"])
        assert accepts(monitor["step_complete"], ["phase_name", "step"])
        assert accepts(monitor["phase_finish"], ["phase_name"])


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_read_is_as_it_was_read(version: str) -> None:
    rows = json.loads((FOLDER / "manifest.json").read_text())
    path = FOLDER / f"{version}.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == rows[path.name]["sha256"]
    assert REAL[version]["version"].startswith(version)


def test_what_is_missing_somewhere_is_asked_for_first() -> None:
    for path, guards in GUARDS.items():
        source = (ROOT / path).read_text()
        for guard in guards:
            assert guard in source


def test_no_answer_is_thrown_away() -> None:
    """No call whose result is bool stands as a statement of its own."""
    yes_or_no = {
        member
        for version in VERSIONS
        for members in REAL[version]["classes"].values()
        for member, overloads in (members or {}).items()
        if overloads and any(overload["result"] == "bool" for overload in overloads)
    }
    assert {"set_input_shape", "set_tensor_address", "execute_async_v3", "set_timing_cache", "parse"} <= yes_or_no
    for name in ("tensorrt.py", "tensorrt_builder.py"):
        for node in ast.walk(ast.parse((ROOT / "engines" / name).read_text())):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                assert getattr(node.value.func, "attr", "") not in yes_or_no, f"{name}:{node.lineno}"


def test_nothing_escapes_the_types() -> None:
    """Only the module of types imports the package; whatever else calls it is held to them by mypy."""
    for path in (ROOT / "engines").rglob("*.py"):
        if path.name != "tensorrt_api.py":
            assert not re.search(r"^\s*(import|from) tensorrt\b", path.read_text(), re.MULTILINE), path.name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_double_has_nothing_of_its_own(fake_gpu: FakeGpu, version: str) -> None:
    fake_gpu.install(version)
    real = REAL[version]
    kinds = [
        kind
        for name, kind in {**vars(double_network), **vars(double)}.items()
        if inspect.isclass(kind) and name in real["classes"]
    ]
    assert len(kinds) == 12
    for kind in kinds:
        members = real["classes"][kind.__name__]
        for member, function in _functions(kind):
            assert member in members, f"{kind.__name__}.{member} in TensorRT {version}"
            assert accepts(members[member], list(inspect.signature(function).parameters)[1:]), member
    for name, value in vars(fake_gpu.tensorrt).items():
        if name in real["enumerations"]:
            extra = set(value.__members__) - set(real["enumerations"][name])
            assert not extra, f"{name}.{extra} in TensorRT {version}"
        elif name not in ("__version__", "built", "while_building"):
            assert real["classes"][name], f"{name} in TensorRT {version}"
