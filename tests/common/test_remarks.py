"""What the rooms log: one line each where a program asks for it, nothing where none does."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from common.remarks import show_remarks


def test_remarks_are_single_lines_as_they_were_written_and_end_with_the_block() -> None:
    text = io.StringIO()
    log = logging.getLogger("realtime.sources.file")
    with show_remarks(Console(file=text, width=20)):
        log.warning("[bold]a\n long one that is wider than the console")
        log.info("100 % of it")
        log.debug("a detail")
    log.warning("later")
    assert text.getvalue() == "[bold]a long one that is wider than the console\n100 % of it\n"
    with show_remarks(Console(file=text), logging.DEBUG):
        log.debug("a detail")
    assert text.getvalue().endswith("a detail\n")


def test_a_library_is_silent() -> None:
    code = "import logging, realtime, engines; [logging.getLogger(n).warning('x') for n in ('realtime.a', 'engines.b')]"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert (done.stdout, done.stderr) == ("", "")
