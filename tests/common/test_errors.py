"""What a user reads when a command cannot go on."""

from __future__ import annotations

import pytest

from common.errors import UserError, exit_with_one_line, one_line


class _OwnError(UserError, ValueError):
    """As a room derives its own."""


@pytest.mark.parametrize("error", [UserError("no camera:\n  plug  one in"), _OwnError("no camera: plug one in")])
def test_errors_of_users_become_a_line_and_code_2(error: UserError, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_with_one_line():
        raise error
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: no camera: plug one in\n"


def test_other_errors_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), exit_with_one_line():
        raise KeyError("a bug")
    assert capsys.readouterr().err == ""


def test_more_kinds_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_with_one_line(KeyError):
        raise KeyError("frames")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: 'frames'\n"


def test_nothing_happens_without_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_with_one_line():
        pass
    assert capsys.readouterr() == ("", "")


def test_a_line_is_one_line() -> None:
    assert one_line(ValueError(" a\n\tb   c\r\n")) == "a b c"
    assert one_line(ValueError("a\x1b[31mb\x07 \x9bc\x7f ü人")) == "a[31mb c ü人"


def test_the_middle_of_absurdly_long_names_is_left_out() -> None:
    line = one_line(UserError(f"no file /start{'x' * 4000}end.mp4 here"))
    assert line.startswith("no file /startxxx")
    assert line.endswith("xend.mp4 here")
    assert len(line) < 200
