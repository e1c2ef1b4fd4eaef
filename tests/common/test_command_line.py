"""Command lines made from a dataclass: what is passed on, what the help page shows, and how they end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from common.command_line import check_limits, option, run_command, with_options
from common.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Choices:
    number: int = option(3, "A number.", group="Numbers", low=1, high=6)
    speed: float | None = option(None, "A speed.", group="Numbers", low=0.5)
    out_file: tuple[Path, ...] = option((), "Files.", group="Files", short="-o")
    loud: bool = option(False, "Noise.", group="Files")

    def __post_init__(self) -> None:
        check_limits(self)


def given(*arguments: str, run: Any = None) -> tuple[object, Choices | None, bool | None]:
    """The exit code, and what arrived."""
    seen: list[tuple[Choices, bool]] = []

    def collect(choices: Choices, extra: Annotated[bool, typer.Option("--extra")] = False) -> None:
        """Collect."""
        seen.append((choices, extra))
        if run is not None:
            run()

    with pytest.raises(SystemExit) as ended:
        run_command(with_options(Choices, collect), arguments=arguments, examples="Examples:\n  this   # that")
    return ended.value.code, *(seen[0] if seen else (None, None))


def test_every_option_arrives() -> None:
    assert given() == (0, Choices(), False)
    arrived = given("--number", "5", "--speed", "2", "-o", "a", "--out-file", "b", "--loud", "--extra")
    assert arrived == (0, Choices(number=5, speed=2.0, out_file=(Path("a"), Path("b")), loud=True), True)


def test_a_command_can_take_some_of_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[Choices, str]] = []

    def collect(choices: Choices, word: str = "") -> None:
        """Collect."""
        seen.append((choices, word))

    def code(*arguments: str) -> object:
        with pytest.raises(SystemExit) as ended:
            run_command(with_options(Choices, collect, ("number",)), arguments=arguments)
        return ended.value.code

    assert code("--number", "5", "--word", "w") == 0
    assert seen == [(Choices(number=5), "w")]
    assert code("--loud") == 2
    assert "--loud" in capsys.readouterr().err


def test_the_help_page_has_groups_limits_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert given("--help")[0] == 0
    page = capsys.readouterr().out
    assert [group in page for group in ("Numbers", "Files", "1 to 6", "at least 0.5", "this # that")] == [True] * 5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--number", "9"), "error: --number 9: give 1 to 6"),
        (("--speed", "nan"), "error: --speed nan: give at least 0.5"),
        (("--number", "x"), "--number"),
        (("--nothing",), "--nothing"),
        (("more",), "more"),
    ],
)
def test_mistakes_end_with_one_line(arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert given(*arguments) == (2, None, None)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"), [(UserError("no\n disk"), 2), (typer.Exit(7), 7), (KeyboardInterrupt(), 130)]
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> None:
        raise error

    assert given(run=run)[0] == code
    assert capsys.readouterr().err == ("error: no disk\n" if code == 2 else "")


def test_the_first_argument_can_name_another_command(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[object] = []

    def collect(number: int = 3) -> None:
        """Collect."""
        seen.append(number)

    def tell(what: Annotated[str, typer.Argument()], loud: bool = False) -> None:
        """Tell a thing.

        Not in the list.
        """
        seen.append((what, loud))

    def ended(*arguments: str) -> object:
        with pytest.raises(SystemExit) as end:
            run_command(collect, name="program", arguments=arguments, examples="Examples:", others=(tell,))
        return end.value.code

    assert [ended(), ended("--number", "4"), ended("tell", "tell", "--loud")] == [0, 0, 0]
    assert seen == [3, 4, ("tell", True)]
    assert capsys.readouterr() == ("", "")
    assert ended("--help") == 0
    page = capsys.readouterr().out
    assert "tell: Tell a thing." in page
    assert "Not in the list" not in page
    assert ended("tell", "--help") == 0
    assert "program tell" in capsys.readouterr().out
    assert [ended("tel"), ended("--number", "4", "tell"), ended("tell")] == [2, 2, 2]
    assert capsys.readouterr().err.count("\n") == 3
    assert len(seen) == 3


def test_other_errors_are_not_hidden() -> None:
    def run() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(run, arguments=())
