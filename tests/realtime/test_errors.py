"""How commands end on what the user can put right."""

from __future__ import annotations

import pytest

from common.errors import UserError, exit_with_one_line


def test_an_error_of_the_user_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_with_one_line(UserError, KeyError):
        raise UserError("no file x:\n  name another")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: no file x: name another\n"


def test_any_other_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_with_one_line(UserError):
        raise ZeroDivisionError
