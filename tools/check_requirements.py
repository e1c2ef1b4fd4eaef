"""Download every package that the documents tell a user to install: ``python -m tools.check_requirements``.

A requirement may be written down that no machine can fulfil: a version without a wheel for a board's processor or for
its Python. So every ``pip install`` line of README.md, docs/ and docker/ is read, extras are looked up in pyproject.toml, and
pip downloads each requirement, one by one and without its dependencies, for x86-64 and aarch64 and the Pythons of Ubuntu 22.04
and 24.04. Nothing is installed, and what was downloaded is deleted again. It takes some minutes and some gigabytes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement

from common.command_line import run_command
from common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "motionmesh"
_BRINGS = {"tensorrt": "tensorrt-cu13-bindings", "tensorrt-cu12": "tensorrt-cu12-bindings"}
"""Packages that are a list of others and have a source for every machine: what they need a wheel of."""
_PAGES = {
    "docs/jetson.md": ("aarch64", None),
    "docs/desktop-gpu.md": ("x86_64", None),
    "docker/Dockerfile.l4t": ("aarch64", "3.10"),
    "docker/Dockerfile.desktop": ("x86_64", "3.12"),
}
"""Pages that are meant for one kind of machine, and the Python where they name it."""


@dataclass(frozen=True, slots=True)
class InstallTarget:
    """A kind of machine."""

    machine: str
    """Its processor, as ``uname -m`` writes it."""
    python: str
    """Its Python, as "3.10"."""
    glibc: int
    """Minor version of its glibc 2."""

    def __str__(self) -> str:
        """The target as the table names it."""
        return f"{self.machine}, Python {self.python}"

    @property
    def platforms(self) -> list[str]:
        """The platform tags of the wheels that run there, the newest first."""
        versions = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 4, -1)]
        return [
            *versions,
            f"manylinux2014_{self.machine}",
            f"manylinux2010_{self.machine}",
            f"manylinux1_{self.machine}",
        ]

    @property
    def markers(self) -> dict[str, str]:
        """What environment markers are evaluated with; pip itself would take the running interpreter's."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
            "extra": "",
        }


# Ubuntu 22.04 (JetPack 6) and Ubuntu 24.04 (JetPack 7)
TARGETS = tuple(
    InstallTarget(machine, *each) for machine in ("x86_64", "aarch64") for each in (("3.10", 35), ("3.12", 39))
)


@dataclass(frozen=True, slots=True)
class Named:
    """A requirement and where it is named."""

    requirement: Requirement
    """What is required."""
    documents: tuple[str, ...]
    """That name it."""
    targets: tuple[InstallTarget, ...]
    """That it is named for."""


def named_requirements(root: Path = ROOT) -> list[Named]:
    """Every requirement of every ``pip install`` line of README.md, docs/ and docker/, with extras of this project spelt out.

    A page about boards is meant for aarch64, a page about desktops for x86-64, others for both. A comment at a line's end
    that names a JetPack restricts it to that one's Python. Markers that exclude a target are obeyed.
    """
    found: dict[str, tuple[set[str], set[InstallTarget]]] = {}
    for page in [
        root / "README.md",
        *sorted((root / "docs").rglob("*.md")),
        *sorted((root / "docker").glob("Dockerfile.*")),
    ]:
        name = page.relative_to(root).as_posix()
        text = page.read_text(encoding="utf-8")
        for arguments, comment in pip_lines(_joined(text) if "Dockerfile" in name else text):
            targets = {target for target in TARGETS if _meant(name, comment, target)}
            every = list(_spelt_out(arguments))
            every += [_BRINGS[package] for package in map(_name_of, every) if package in _BRINGS]
            for requirement_text in every:
                documents, chosen = found.setdefault(requirement_text, (set(), set()))
                documents.add(name)
                chosen |= targets
    result = []
    for text, (documents, chosen) in sorted(found.items()):
        requirement = Requirement(text)
        fitting = tuple(target for target in TARGETS if target in chosen and _applies(requirement, target))
        if fitting:
            requirement.marker = None
            result.append(Named(requirement, tuple(sorted(documents)), fitting))
    return result


def pip_lines(text: str) -> Iterator[tuple[list[str], str]]:
    """The arguments of every ``pip install`` in a Markdown page, and the comment at its line's end.

    A command inside of a sentence ends at its backtick, and may be broken over lines.
    """
    for match in re.finditer(r"(`?)[\w./]*(?:-m )?\bpip install\b", text):
        rest = text[match.end() :]
        command = (
            rest.partition("`")[0] if "`" in text[: match.start() + 1][-1:] or match.group(1) else rest.split("\n")[0]
        )
        command, _, comment = " ".join(command.split()).partition(" #")
        yield shlex.split(command.partition("&&")[0]), comment.strip()


def _joined(text: str) -> str:
    """A Dockerfile with one command a line, and the defaults of its arguments in their places."""
    text = text.replace("\\\n", " ")
    for name, value in re.findall(r"^ARG (\w+)=(.*)$", text, re.MULTILINE):
        text = text.replace(f"${{{name}}}", value.strip("'"))
    return text


def _name_of(requirement: str) -> str:
    return Requirement(requirement).name


def _meant(page: str, comment: str, target: InstallTarget) -> bool:
    machine, python = _PAGES.get(page, (target.machine, None))
    python = "3.10" if "JetPack 6" in comment else "3.12" if "JetPack 7" in comment else python or target.python
    return (machine, python) == (target.machine, target.python)


def _spelt_out(arguments: list[str]) -> Iterator[str]:
    """The requirements among the arguments of ``pip install``; of this project and its extras, what they require."""
    skip = False
    for argument in arguments:
        if skip or argument in ("-c", "--constraint", "-r"):
            skip = not skip
            continue
        if argument.startswith("."):
            extras = set(filter(None, re.sub(r"^\.\[?|\]$", "", argument).split(",")))
            for text in metadata.requires(PROJECT) or ():
                requirement = Requirement(text)
                wanted = {match.group(1) for match in re.finditer(r"extra == ['\"]([\w-]+)['\"]", text)}
                if requirement.name != PROJECT and (not wanted or wanted & extras):
                    yield re.sub(r"( and)? *extra == ['\"][\w-]+['\"]", "", text).rstrip("; ")
        elif not argument.startswith("-"):
            yield argument


def _applies(requirement: Requirement, target: InstallTarget) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(target.markers)


def pin(requirement: Requirement, target: InstallTarget, constraints: str) -> str:
    """The requirement with the version that ``constraints`` (the file's text) gives for ``target``."""
    for line in constraints.splitlines():
        text = line.partition("#")[0].strip()
        if text and (constraint := Requirement(text)).name == requirement.name and _applies(constraint, target):
            both = ",".join(filter(None, (str(requirement.specifier), str(constraint.specifier))))
            return f"{requirement.name}{both}"
    return str(requirement)


def download(requirement: str, target: InstallTarget, folder: Path) -> tuple[str, str]:
    """Download one requirement for ``target`` into ``folder``; the file's name, and pip's reason where there is none.

    Without a wheel its source is taken, as pip does.
    """
    wheel = [f"--platform={tag}" for tag in target.platforms]
    wheel += ["--only-binary=:all:", f"--python-version={target.python}", "--implementation=cp", "--no-deps"]
    # Of this package alone: what its build needs would be compiled, too, from pip's tools upwards.
    source = [f"--no-binary={Requirement(requirement).name}", "--no-deps"]
    reason = ""
    for options in (wheel, source):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            f"--dest={folder}",
        ]
        done = subprocess.run([*command, *options, requirement], capture_output=True, text=True, check=False)
        files = sorted(folder.iterdir())
        if not done.returncode and files:
            name = files[0].name
            for file in files:
                file.unlink()
            return name, ""
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = reason or (lines[0] if lines else "pip failed").removeprefix("ERROR: ")[:160]
    return "", reason


def main(
    only: Annotated[str, typer.Option(help="names of packages, with commas; all by default")] = "",
) -> None:
    """Download all packages that the documents name, and print which cannot be had."""
    wanted = {name for name in only.split(",") if name}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    missing: list[str] = []
    print("| requirement | for | file | named in |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for named in named_requirements():
            if wanted and named.requirement.name not in wanted:
                continue
            for target in named.targets:
                pinned = pin(named.requirement, target, constraints)
                file, reason = download(pinned, target, Path(folder))
                if not file:
                    missing.append(f"{pinned} for {target}: {reason}")
                print(f"| {pinned} | {target} | {file or 'NONE'} | {', '.join(named.documents)} |", flush=True)
    if missing:
        raise UserError("; ".join(missing))


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.check_requirements --only numpy")
