"""What the documents tell a user to install is found, for the machines it is meant for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import tools.check_requirements as module
from tools.check_requirements import PROJECT, TARGETS, download, named_requirements, pin, pip_lines

BOARD, DESKTOP = TARGETS[2], TARGETS[1]


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    page = (
        "    .venv/bin/pip install -c constraints.txt 'one>=1'   # JetPack 6\n"
        "Or `pip install two\n'three~=2.0'` in a sentence.\n"
        "    python -m pip install --upgrade pip && python -m something\n"
    )
    assert list(pip_lines(page)) == [
        (["-c", "constraints.txt", "one>=1"], "JetPack 6"),
        (["two", "three~=2.0"], ""),
        (["--upgrade", "pip"], ""),
    ]


def test_pages_name_machines_and_extras_are_spelt_out(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("    pip install -e '.[export]'\n")
    (tmp_path / "docs" / "jetson.md").write_text("    pip install 'only-here~=1.0'  # JetPack 7.2\n")
    found = {named.requirement.name: named for named in named_requirements(tmp_path)}
    assert [(target.machine, target.python) for target in found["only-here"].targets] == [("aarch64", "3.12")]
    assert found["onnx"].targets == TARGETS
    assert {target.machine for target in found["openvino"].targets} == {"x86_64"}, "its marker says so"
    assert "torch" not in found


def test_bindings_for_a_board_have_wheels_for_its_python() -> None:
    (specifier,) = {
        str(named.requirement.specifier)
        for named in named_requirements()
        if named.requirement.name == "cuda-bindings" and BOARD in named.targets
    }
    assert "12.6.0" not in specifier, "before 12.8 there is no wheel for Python 3.10 on aarch64"


def test_the_documents_as_they_stand() -> None:
    found: dict[str, set[tuple[str, str]]] = {}
    pages: dict[str, set[str]] = {}
    for named in named_requirements():
        text = str(named.requirement)
        found[text] = {(target.machine, target.python) for target in named.targets}
        pages[text] = set(named.documents)
    assert not any(Requirement(text).name == PROJECT for text in found), "no index has this project"
    every = {"3.10", "3.12"}
    for package in ("tensorrt-cu12", "tensorrt-cu12-bindings", "tensorrt-cu13-bindings", "cuda-bindings~=12.6"):
        assert {python for machine, python in found[package] if machine == "x86_64"} == every, package
    assert ("aarch64", "3.10") in found["cuda-bindings<13,>=12.8"]
    assert pages["cuda-bindings<13,>=12.8"] == {"docs/jetson.md", "docker/Dockerfile.l4t"}, "the same in both"
    assert found["cuda-bindings~=13.0"] == {("aarch64", "3.12")}


def test_constraints_are_those_of_the_target() -> None:
    constraints = '# why\none==1.0; python_version < "3.11"\none==2.0; python_version >= "3.11"\n'
    assert [pin(Requirement("one>=0.5"), target, constraints) for target in (BOARD, DESKTOP)] == [
        "one>=0.5,==1.0",
        "one>=0.5,==2.0",
    ]
    assert pin(Requirement("other>3"), BOARD, constraints) == "other>3"


def test_a_wheel_is_asked_for_before_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if not any(word.startswith("--no-binary=") for word in command):
            return subprocess.CompletedProcess(command, 1, "", "WARNING: odd\nERROR: no wheel for one\n")
        if "one" in command:
            (tmp_path / "one-1.0.tar.gz").touch()
        return subprocess.CompletedProcess(command, 0 if "one" in command else 1, "", "ERROR: no source\n")

    monkeypatch.setattr(module.subprocess, "run", run)
    assert download("one", BOARD, tmp_path) == ("one-1.0.tar.gz", "")
    assert "--platform=manylinux_2_35_aarch64" in asked[0]
    assert "--python-version=3.10" in asked[0]
    assert download("two", BOARD, tmp_path) == ("", "no wheel for one")
    assert not list(tmp_path.iterdir())
