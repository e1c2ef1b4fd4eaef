"""Command lines: made from a dataclass of options, and ended with one line on whatever the user can put right."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import typer

from common.errors import UserError, one_line, print_error
from common.lenient_stderr import lenient_stderr

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the command line needs to know of an option beyond its name, type and default."""

    help: str
    """One or two sentences for ``--help``."""
    group: str
    """The panel of ``--help`` where it stands."""
    low: float | None
    """Least allowed number; None: no limit."""
    high: float | None
    """Greatest allowed number; None: no limit."""
    short: str | None
    """Its second name, such as "-v"."""


def option(
    default: Any,
    help: str,
    *,
    group: str,
    low: float | None = None,
    high: float | None = None,
    short: str | None = None,
) -> Any:
    """A dataclass field that is also an option of a command line.

    Args:
        default: of the field.
        help: one or two sentences for ``--help``.
        group: the part of ``--help`` where it stands.
        low: least allowed number.
        high: greatest allowed number.
        short: a second, short name such as "-v".
    """
    return field(default=default, metadata={"option": _Facts(help, group, low, high, short)})


def check_limits(options: Any) -> None:
    """Raise `UserError` where a number of the dataclass instance ``options`` is outside of its `option`'s limits."""
    for one in fields(options):
        facts, value = _facts(one), getattr(options, one.name)
        if facts is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        # Written so that NaN fails too.
        if (facts.low is not None and not value >= facts.low) or (facts.high is not None and not value <= facts.high):
            raise UserError(f"{_flag(one.name)} {value:g}: give {_limits(facts)}")


def with_options(kind: type[Any], run: Callable[..., Any], names: Collection[str] | None = None) -> Callable[..., Any]:
    """A function for `run_command` that takes every `option` of the dataclass ``kind`` and the parameters of ``run``,
    whose first parameter gets the instance. ``names`` are the options that it takes; the others keep their defaults. None:
    all of them.

    A field of type ``tuple[T, ...]`` becomes an option that may be given several times; one of type ``int | Literal["word"]``
    takes a whole number or the word.
    """
    hints = get_type_hints(kind)
    parameters: list[inspect.Parameter] = []
    several: set[str] = set()
    words: dict[str, tuple[str, ...]] = {}
    for one in fields(kind):
        facts = _facts(one)
        if facts is None or (names is not None and one.name not in names):
            continue
        hint: Any = hints[one.name]
        default: Any = None if one.default is MISSING else one.default
        if get_origin(hint) is tuple and get_args(hint)[-1] is ...:
            several.add(one.name)
            hint, default = list[get_args(hint)[0]], list(default or ())  # type: ignore[misc]
        if int in get_args(hint) and (known := [arg for arg in get_args(hint) if get_origin(arg) is Literal]):
            words[one.name] = get_args(known[0])
            hint, default = str, str(default)
        # Numbers are compared by `check_limits`, whose message is the better one; bounds are shown in the help.
        info = typer.Option(
            *([_flag(one.name)] + ([facts.short] if facts.short else [])),
            help=facts.help + (f" ({_limits(facts)})" if facts.low is not None or facts.high is not None else ""),
            rich_help_panel=facts.group,
            metavar="|".join(("<int", *words[one.name])) + ">" if one.name in words else None,
            show_default=default is not None and default is not False and default != [],
        )
        parameters.append(
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, info]
            )
        )
    own_hints = get_type_hints(run, include_extras=True)
    own = list(inspect.signature(run).parameters.values())[1:]
    parameters += [one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own_hints[one.name]) for one in own]

    def call(**given: Any) -> Any:
        rest = {one.name: given.pop(one.name) for one in own}
        given |= {name: _number_or_word(name, given[name], known) for name, known in words.items()}
        return run(
            kind(**{name: tuple(given[name] or ()) if name in several else given[name] for name in given}), **rest
        )

    call.__doc__ = run.__doc__
    call.__name__ = run.__name__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


def run_command(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    examples: str = "",
    arguments: Sequence[str] | None = None,
    others: Sequence[Callable[..., Any]] = (),
) -> NoReturn:
    """Run ``function`` with the options of the command line and end the program.

    Args:
        function: its parameters become options, as with ``typer.run``.
        name: of the program in its help page.
        examples: lines under the help page.
        arguments: None: the program's own.
        others: further commands. Each is run instead of ``function`` where the first argument is its name, and the help page
            lists it with its docstring's first line.

    Exit codes: 0, 2 with one line on stderr for wrong options and for a `UserError`, 130 after Ctrl-C, or what
    ``function`` ends with.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((other for other in others if given[:1] == [other.__name__]), None)
    if chosen is not None:
        name = f"{name or Path(sys.argv[0]).name} {given.pop(0)}"
        function, examples = chosen, ""
    elif others:
        listed = (f"{other.__name__}: {(other.__doc__ or '').strip().splitlines()[0]}" for other in others)
        examples = "\n".join([examples, "Other commands (each has its own --help):", *listed])
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    lines = (" ".join(line.split()) for line in examples.strip().splitlines())
    app.command(epilog="\n\n".join(line for line in lines if line) or None)(function)
    command: Any = typer.main.get_command(app)
    for parameter in command.params:
        if isinstance(parameter.default, Path) and parameter.default.is_relative_to(_ROOT):
            parameter.show_default = parameter.default.relative_to(_ROOT).as_posix()  # the same page on every machine
    _run_to_end(command, given, name)


def run_commands(app: typer.Typer, name: str) -> NoReturn:
    """Run a program ``name`` of several commands, as `run_command` does one of a single command."""
    _run_to_end(typer.main.get_command(app), sys.argv[1:] or ["--help"], name)


def _run_to_end(command: Any, given: list[str], name: str | None) -> NoReturn:
    with lenient_stderr():
        ended = _run(command, given, name)
    raise SystemExit(ended if isinstance(ended, int) else 0)


def _run(command: Any, given: list[str], name: str | None) -> Any:
    try:
        return command.main(args=given, prog_name=name, standalone_mode=False)
    except UserError as error:
        _end(one_line(error))
    except typer.Abort:
        raise SystemExit(130) from None
    except BrokenPipeError:  # whoever read the output has gone
        raise SystemExit(0) from None
    except OSError as error:  # a full disk behind standard output
        _end(one_line(error))
    except Exception as error:
        # Typer's usage errors have no public class that all of its versions share.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        _end(f"{one_line(Exception(message()))} (see --help)")


def _end(line: str) -> NoReturn:
    print_error(line)
    raise SystemExit(2) from None


def _number_or_word(name: str, value: str, words: tuple[str, ...]) -> int | str:
    if value in words:
        return value
    try:
        return int(value)
    except ValueError:
        raise UserError(f"{_flag(name)} {value}: give a whole number or {' or '.join(words)}") from None


def _facts(one: Field[Any]) -> _Facts | None:
    facts: _Facts | None = one.metadata.get("option")
    return facts


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _limits(facts: _Facts) -> str:
    if facts.low is None:
        return f"at most {facts.high:g}"
    return f"at least {facts.low:g}" if facts.high is None else f"{facts.low:g} to {facts.high:g}"
