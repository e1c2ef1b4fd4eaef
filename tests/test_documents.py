"""What the documents say of the code is there: tests, commands as they stand, make targets, files, links."""

from __future__ import annotations

import argparse
import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.core

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "body" / "data" / "README.md"])
PRESENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""The changelog also names what there was once."""

NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "failed-inputs.md").read_text(encoding="utf-8"))
PROGRAM = re.compile(
    r"(?:python3? -m ((?:export|tools|training|formats|body|tests)\b[\w.]*)|(run_camera\.py)(?!::))((?:[^\n`]|\n(?! *\n))*)"
)
"""A command's module or the program, and what follows it: to the line's end, or within backticks over lines."""

MAX_WORDS = {
    "README.md": 700,
    "docs/architecture.md": 900,
    "docs/models/motion.md": 550,
    "docs/models/keypoints.md": 250,
}
"""What has to fit on one page or screen."""


def of_page(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Command:
    """A command that a page names: the module, or "run_camera", and its arguments."""

    module: str
    words: tuple[str, ...]
    whole: bool
    """Whether it stands in a block, as it is to be typed. In a sentence required arguments may be missing."""


def commands(page: str) -> Iterator[Command]:
    """Every command of this project in ``page``. Names in capitals, which stand for a value, become "1"."""
    for match in PROGRAM.finditer(page):
        line = page[page.rfind("\n", 0, match.start()) + 1 : match.start()]
        in_block = line.startswith("    ") and "`" not in line
        text = match.group(3).split("\n")[0].split(" && ")[0] if in_block else match.group(3)
        if not in_block and page.rfind("`", page.rfind("\n\n", 0, match.start()) + 1, match.start()) < 0:
            continue  # the name alone, in a sentence
        words = shlex.split(re.sub(r"[\[\]]|\.\.\.", "", text), comments=True)
        values = ("1" if re.fullmatch(r"[A-Z][A-Z_]*", word) else word.split("|")[0] for word in words)
        yield Command((match.group(1) or "run_camera").rstrip("."), tuple(values), in_block)


def parse(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command's own parser read its arguments. Raises `AssertionError` with the parser's message."""

    class ParsedError(Exception):
        """Reached instead of the command itself."""

    def stop(*_: object) -> None:
        raise ParsedError

    def parse_args(parser: argparse.ArgumentParser, *_: object) -> None:
        unknown = parser.parse_known_args()[1]
        assert not unknown, unknown
        stop()

    monkeypatch.setattr(typer.core.TyperCommand, "invoke", stop)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(sys, "argv", [command.module, *command.words])
    try:
        if command.module == "run_camera":
            importlib.import_module("run_camera").main()
        else:
            monkeypatch.delitem(sys.modules, command.module, raising=False)  # runpy warns of what was imported before
            runpy.run_module(command.module, run_name="__main__", alter_sys=True)
    except ParsedError:
        return
    except SystemExit as error:
        refused = error.code not in (0, None)
    assert not refused, f"{command.module} {' '.join(command.words)}"


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_tests_that_the_page_on_failed_inputs_names_exist(file: str, test: str) -> None:
    assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 30


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("page", PRESENT, ids=of_page)
def test_the_programs_accept_the_commands_that_a_page_names(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands(page.read_text(encoding="utf-8")):
        if command.module.split(".")[0] in ("export", "training"):
            pytest.importorskip("torch")
            pytest.importorskip("onnx")
        capsys.readouterr()
        try:
            parse(command, monkeypatch)
        except AssertionError as error:
            said = capsys.readouterr().err
            missing = re.search(r"Missing (argument|option|command)|arguments are required", said)
            if command.whole or not missing:
                pytest.fail(f"{of_page(page)}: {error}: {said}")


@pytest.mark.parametrize("page", PRESENT, ids=of_page)
def test_make_has_the_targets_that_a_page_names(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"(?:`|^    (?:sudo )?)make (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PRESENT, ids=of_page)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("out", "runs"))
    for name in re.findall(rf"`((?:{folders})/[\w./-]+\.(?:py|md|sh|yaml|service|txt|onnx|json))`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def anchors(text: str) -> set[str]:
    """The anchors that a Markdown viewer makes of the headings: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{of_page(page)} links to {target}"
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{of_page(page)} links to {target}"


@pytest.mark.parametrize(("name", "most"), MAX_WORDS.items())
def test_pages_for_a_first_look_are_short(name: str, most: int) -> None:
    words = [word for word in (ROOT / name).read_text(encoding="utf-8").split() if re.search(r"\w", word)]
    assert len(words) <= most


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    page = "\n    run_camera.py --flow dis  # --not this\n\nWith `python -m tools.bench --flow\ndis --no-x` it is --else.\n"
    assert list(commands(page)) == [
        Command("run_camera", ("--flow", "dis"), True),
        Command("tools.bench", ("--flow", "dis", "--no-x"), False),
    ]


@pytest.mark.parametrize(
    "command",
    [
        Command("run_camera", ("--no-such-option",), False),
        Command("formats.convert", ("a.npz", "b.glb", "--no-such-option"), True),
        Command("formats.convert", ("a.npz",), True),
        Command("tools.licences", ("--no-such-option",), True),
    ],
)
def test_commands_that_are_wrong_are_found(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        parse(command, monkeypatch)
