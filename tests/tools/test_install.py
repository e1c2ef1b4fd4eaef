"""What the two commands of the README install: by hash, and what happens where that cannot be."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import audit, install, licences, lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
MISMATCH = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated..."
MISSING = "ERROR: No matching distribution found for numpy==2.4.6"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pip was asked for; all of it works."""
    calls: list[tuple[str, ...]] = []

    def pip(*arguments: str, quietly: bool = False) -> tuple[int, str]:
        calls.append(arguments)
        return 0, ""

    monkeypatch.setattr(install, "pip", pip)
    monkeypatch.delenv("HASHES", raising=False)
    monkeypatch.setattr(sys, "argv", ["install.py", "app"])
    return calls


def fails(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, ...]], why: str) -> None:
    """Let what is asked for by hash fail."""

    def pip(*arguments: str, quietly: bool = False) -> tuple[int, str]:
        calls.append(arguments)
        return (1, why) if "--require-hashes" in arguments else (0, "")

    monkeypatch.setattr(install, "pip", pip)


def test_packages_are_taken_by_their_hashes(asked: list[tuple[str, ...]]) -> None:
    assert install.main() == 0
    assert asked == [
        ("--no-deps", "--require-hashes", "--requirement", "locks/app.txt"),
        ("--no-deps", "--no-build-isolation", "--editable", "."),
    ]


def test_torch_is_the_one_package_without_a_hash(asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["install.py", "dev"])
    assert install.main() == 0
    assert [call for call in asked if "--require-hashes" not in call and "--editable" not in call] == [
        ("--constraint", "constraints.txt", "torch")
    ]


def test_another_file_than_the_locks_is_not_installed(
    asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(monkeypatch, asked, MISMATCH)
    assert install.main() == 2
    assert len(asked) == 1
    assert "make HASHES=no" in capsys.readouterr().err


def test_an_index_without_the_file_is_enough(
    asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(monkeypatch, asked, MISSING)
    assert install.main() == 0
    assert asked[-1] == ("--constraint", "constraints.txt", "--editable", ".")
    assert "No matching distribution found for numpy==2.4.6" in capsys.readouterr().err


def test_who_trusts_the_index_says_so(asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHES", "no")
    assert install.main() == 0
    assert asked == [("--constraint", "constraints.txt", "--editable", ".")]


def entries(name: str) -> dict[str, list[tuple[Requirement, str]]]:
    """The requirements of a lock by name, and the text of each with its hashes."""
    found: dict[str, list[tuple[Requirement, str]]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "locks" / f"{name}.txt").read_text()):
        if not entry.startswith("#"):
            requirement = Requirement(entry.split("\\")[0].strip())
            found.setdefault(requirement.name, []).append((requirement, entry))
    return found


@pytest.mark.parametrize("name", ["app", "dev"])
def test_the_locks_are_those_of_the_requirements(name: str) -> None:
    """Where this fails: make locks."""
    locked = entries(name)
    assert all("--hash=sha256:" in text for several in locked.values() for _, text in several)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    if name == "dev":
        wanted += project["optional-dependencies"]["train"] + project["optional-dependencies"]["dev"][1:]
    for text in wanted:
        requirement = Requirement(text)
        if requirement.name not in install.UNLOCKED[name]:
            versions = [next(iter(each.specifier)).version for each, _ in locked[requirement.name]]
            assert all(requirement.specifier.contains(version) for version in versions), requirement
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#") or Requirement(line).name not in locked:
            continue
        pinned = Requirement(line)
        assert pinned.specifier in [each.specifier for each, _ in locked[pinned.name]], f"{line}: make locks"


def test_torch_and_what_it_needs_alone_are_left_out() -> None:
    text = "a==1 \\\n    --hash=sha256:0\ntorch==2 \\\n    --hash=sha256:1\nnvidia-x==3 \\\n    --hash=sha256:2\nz==1\n"
    assert lock.without_torch(text) == "a==1 \\\n    --hash=sha256:0\nz==1\n"
    assert not {"torch", "triton", "cuda-bindings"} & entries("dev").keys()


@pytest.mark.parametrize(
    ("licence", "right"),
    [("MIT", True), ("Apache-2.0 WITH LLVM-exception", True), ("", False), ("GPL-3.0-only", False), ("MIT OR GPL-2.0", True),
     ("BSD-3-Clause AND GPL-2.0", False), ("Proprietary", False)],
)  # fmt: skip
def test_licences_are_judged(licence: str, right: bool) -> None:
    assert (licences.judged(licence) == "") is right


def test_what_runs_may_be_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main() == 0, capsys.readouterr().out
    assert "GPL" not in licences.ffmpeg_licence().replace("LGPL", "")


def test_without_an_index_the_audit_says_so_and_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "prepare", lambda folder: None)
    assert audit.main(strict=True, environment=tmp_path) == 0
    assert "does not answer" in capsys.readouterr().out


def test_an_index_that_knows_nothing_finds_no_vulnerability_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "Name Skip Reason\n---- ---\nav   Dependency not found on PyPI and could not be audited: av (18.1.0)\n"
    done = audit.subprocess.CompletedProcess([], 0, table, "No known vulnerabilities found")
    monkeypatch.setattr(audit, "prepare", lambda folder: Path("python"))
    monkeypatch.setattr(audit, "run_tool", lambda command: done)
    assert audit.main(strict=True) == 0
    said = capsys.readouterr().out
    assert "knows nothing of 1 packages" in said
    assert "No known" not in said


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 1)])
def test_known_vulnerabilities_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], strict: bool, code: int
) -> None:
    table = "Name Version ID\n---- ------- --\nx    1.0     PYSEC-1\n"
    monkeypatch.setattr(audit, "prepare", lambda folder: Path("python"))
    monkeypatch.setattr(
        audit, "run_tool", lambda command: audit.subprocess.CompletedProcess(command, 1, table, "Found 1")
    )
    assert audit.main(strict) == code
    assert "PYSEC-1" in capsys.readouterr().out
