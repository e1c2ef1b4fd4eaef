"""The licences of everything that the program needs to run: ``python -m tools.licences``.

Reads what is installed, no network. Exit code 1 where a package of locks/app.txt names no licence, or one that asks more of
a distributor than this project's own.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from common.command_line import run_command

LOCK: Final = Path(__file__).resolve().parents[1] / "locks" / "app.txt"
_PERMISSIVE: Final = re.compile(
    r"apache|\bmit\b|\bbsd|\bisc\b|python software|psf-2|unlicense|public domain|zlib|0bsd|hpnd|mpl|mozilla",
    re.IGNORECASE,
)
_COPYLEFT: Final = re.compile(r"\b(a|l)?gpl|gnu ", re.IGNORECASE)


_READ: Final = {"python-osc": "Unlicense"}
"""Licences that somebody has read in a package's own file, where its description does not name them."""


def locked_names(lock: Path = LOCK) -> list[str]:
    """The packages that a lock names, sorted, each once."""
    return sorted(set(re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)))


def licence_of(package: metadata.PackageMetadata) -> str:
    """What a package says of its licence, in one short line; "" where it says nothing."""
    if "License-Expression" in package:
        return package["License-Expression"]
    classes = [
        text.rsplit(" :: ", 1)[-1] for text in package.get_all("Classifier") or () if text.startswith("License ::")
    ]
    classes = [text for text in classes if text != "OSI Approved"]
    if classes:
        return " and ".join(classes)
    first = package["License"].strip().splitlines() if "License" in package else []
    return first[0][:60] if first else ""


def judged(licence: str) -> str:
    """What is wrong with a licence; an empty text for one that asks no more than this project's own."""
    if not licence:
        return "says no licence"
    if _PERMISSIVE.search(licence) and not (_COPYLEFT.search(licence) and " or " not in licence.lower()):
        return ""
    return "look at it"


def ffmpeg_licence() -> str:
    """What the FFmpeg says that PyAV brings along."""
    from av._core import library_meta

    return " and ".join(sorted({str(about["license"]) for about in library_meta.values()}))


def main() -> int:
    """Print the licence of every package that the program needs. The exit code is 1 where one needs a look."""
    table = Table("package", "version", "licence", "")
    worst = 0
    for name in locked_names():
        try:
            package = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # belongs to another system or Python
        licence = _READ.get(name) or licence_of(package)
        remark = judged(licence)
        worst |= bool(remark)
        table.add_row(name, package["Version"], licence, remark)
    Console(width=120).print(table)
    print(f"FFmpeg, whose libraries come inside of av: {ffmpeg_licence()}")
    return worst


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.licences")
