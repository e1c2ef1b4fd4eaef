"""Whatever is typed, the program begins, or ends with one line and exit code 2: no fault, no traceback.

The command lines run in this process, up to the networks, whose opening fails here.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import run_camera
from common.command_line import run_command, with_options
from engines.engine import EngineError
from realtime import networks
from realtime.options import Options
from tests.foreign import few

STOP = "this is as far as the test goes"
ODD = ["", " ", "nan", "inf", "-inf", "-1", "0", "1e309", "1_0", "٣", "9" * 400, "0x10", "½", "auto", "none", "demo", ".", "/",
       "~nobody/x", "a\nb", "x" * 300, "\udce9", "[/red]", "%s{0}", "-", "--", "-v", "/dev/null", "/dev/full", "out.mp4",
       "out.npz", "out.json", "out.bvh", "nowhere/out.npz", "../out.npz", "vmc://h", "udp://[::1]:9", "ws://0.0.0.0:0", "://",
       "rtsp://a:b@c", "http://[", "file://[x", "csi:0?fps=x", "gst:", "gst: ! x", "\\\\host\\share", "C:\\x.mp4"]  # fmt: skip
FLAGS = [f"--{one.name.replace('_', '-')}" for one in fields(Options)]
SWITCHES = {f"--{name.replace('_', '-')}" for name, hint in get_type_hints(Options).items() if hint is bool}


@pytest.fixture(scope="module", autouse=True)
def no_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    def stop(*_: object, **__: object) -> Any:
        raise EngineError(STOP)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("here"))
        patched.setattr(networks, "open_engine", stop)
        yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def choices(hint: Any) -> list[str]:
    """The words that an option of this type takes."""
    found = [str(one) for one in get_args(hint) if isinstance(one, str | int)]
    return found + [word for one in get_args(hint) if not isinstance(one, str | int) for word in choices(one)]


WORDS = sorted({word for hint in get_type_hints(Options).values() for word in choices(hint)})


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    value = st.sampled_from(ODD) | st.sampled_from(WORDS) | st.text(st.characters(exclude_characters="\0"), max_size=12)
    number = st.integers().map(str) | st.floats().map(str)
    line = ["--view", draw(st.sampled_from(["none", "auto", "terminal"]))]
    for flag in draw(st.lists(st.sampled_from(FLAGS), max_size=5)):
        joined = draw(st.booleans())
        what = draw(value | number)
        if flag in SWITCHES and draw(st.integers(0, 9)):
            line.append(flag)
        elif joined:
            line.append(f"{flag}={what}")
        else:
            line += [flag, what]
    return line


def ending(arguments: list[str]) -> tuple[Any, str]:
    """Exit code of the program with ``arguments``, and what it printed."""
    printed = io.StringIO()
    command = with_options(Options, run_camera.run)
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        run_command(command, arguments=arguments, others=run_camera.SUBCOMMANDS)
    return ended.value.code, printed.getvalue()


def ends_well(arguments: list[str]) -> None:
    code, text = ending(arguments)
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in text
    assert "fault of this program" not in text
    assert code in (0, 2), text
    assert len(errors) == (code == 2), text


@settings(parent=few, suppress_health_check=list(HealthCheck), deadline=None)
@given(command_lines())
@example(["--source", "file://[x"])
@example(["--source", "~nobody.mp4"])
@example(["--save", "x" * 300 + ".npz"])
@example(["--record", "x" * 300 + ".mp4"])
@example(["--report", "x" * 300 + ".json"])
@example(["--body", "x" * 300 + ".npz"])
@example(["--regressor", "x" * 300 + ".onnx"])
@example(["--regressor", "~nobody/x.onnx"])
@example(["--frames", "9" * 5000])
@example(["--persons", "9" * 5000])
def test_any_command_line(arguments: list[str]) -> None:
    ends_well(arguments)


@settings(parent=few, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.sampled_from(["replay", "compare"]),
    st.lists(
        st.sampled_from(ODD)
        | st.sampled_from(
            ["--source", "--record", "--look", "--layout", "--fps", "--rotate", "--body", "--plot", "--view"]
        )
        | st.text(st.characters(exclude_characters="\0"), max_size=12),
        max_size=5,
    ),
)
def test_any_command_line_of_another_command(name: str, arguments: list[str]) -> None:
    ends_well([name, *arguments])


def test_a_good_command_line_reaches_the_networks(tmp_path: Path) -> None:
    """Else the others would prove little."""
    source = Path(run_camera.__file__).parent / "assets" / "synthetic_walk.mp4"
    code, text = ending(["--view", "none", "--source", str(source), "--save", str(tmp_path / "m.npz")])
    assert (code, re.findall("error: (.*)", text)) == (2, [STOP])


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own message is empty."""
    from realtime import session

    def full(*_: object, **__: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(session, "load_body", full)
    code, text = ending(["--view", "none", "--source", "demo"])
    assert code == 2
    assert text.startswith("error: there is not enough memory: close other programs")
