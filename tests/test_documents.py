"""What the documents say of the code is there: tests, commands with their options, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "failed-inputs.md").read_text(encoding="utf-8"))
PROGRAM = re.compile(
    r"(?:python3? -m ((?:export|tools|training|formats|body)[\w.]*)|(run_camera\.py))((?:[^\n`#|&;]|\n(?! *\n))*)"
)
"""A command's module or the program, and what follows it: to the line's end, or within backticks over lines."""


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_tests_that_the_page_on_failed_inputs_names_exist(file: str, test: str) -> None:
    assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 30


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """The module of every command of this project in ``page``, "run_camera" for the program itself, and its options."""
    for match in PROGRAM.finditer(page):
        in_a_sentence = page.rfind("`", page.rfind("\n\n", 0, match.start()) + 1, match.start()) >= 0
        words = match.group(3) if in_a_sentence else match.group(3).split("\n")[0]
        yield match.group(1) or "run_camera", re.findall(r"(?<![\w-])--([a-z][a-z-]*)", words)


@cache
def sources(module: str) -> str:
    """The code in which a command's options are declared. Raises `AssertionError` where there is no such module."""
    if module == "run_camera":
        files = [ROOT / "run_camera.py", *(ROOT / "realtime").glob("*.py"), ROOT / "common" / "command_line.py"]
    else:
        path = ROOT / module.replace(".", "/")
        files = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else sorted(path.glob("*.py"))
    assert files, f"there is no module {module}"
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # what was, too
    for module, options in commands(page.read_text(encoding="utf-8")):
        code = sources(module)
        for option in options:
            name = option.removeprefix("no-").replace("-", "_")
            known = option == "help" or f'"--{option}' in code or re.search(rf"\b{name}: ", code)
            assert known, f"{page.name}: {module} has no option --{option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return
    text = page.read_text(encoding="utf-8")
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("out", "runs"))
    for name in re.findall(rf"`((?:{folders})/[\w./-]+\.(?:py|md|sh|yaml|service|txt|onnx|json))`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    page = "\n    run_camera.py --flow dis  # --not this\n\nWith `python -m tools.bench --flow\ndis --no-x` it is --else.\n"
    assert list(commands(page)) == [("run_camera", ["flow"]), ("tools.bench", ["flow", "no-x"])]
