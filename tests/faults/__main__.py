"""Runs every case against the real program: python -m tests.faults [--jobs 2] [--only TEXT]

Writes the rows of what was run into the table in docs/reliability.md. Exit code 1 where one failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.cases import CASES, Case, Skipped
from tests.faults.program import ROOT, Failed

Key = tuple[str, str, str]
"""Group, row and what must be, of a row of the table."""
NOT_RUN = "not run"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def run_case(case: Case, folder: Path) -> tuple[str, float]:
    """Outcome ("ok", "skipped: why", "FAILED: why") and seconds."""
    begin = time.monotonic()
    try:
        case.check(folder)
        outcome = "ok"
    except Skipped as why:
        outcome = f"skipped: {why}"
    except (Failed, OSError) as why:
        outcome = f"FAILED: {why}"
    return outcome, time.monotonic() - begin


def rows_of(outcomes: list[tuple[Case, str]]) -> dict[Key, tuple[int, str]]:
    """Rows of the table: how many cases each stands for, and "ok" or what went wrong in one of them."""
    rows: dict[Key, tuple[int, str]] = {}
    for case, outcome in outcomes:
        key = (case.group, case.row, case.must_be)
        count, before = rows.get(key, (0, "ok"))
        wrong = outcome if outcome == "ok" or case.happens == case.row else f"{case.happens}: {outcome}"
        rows[key] = (count + 1, before if before != "ok" else wrong)
    return rows


def rows_in(text: str) -> dict[Key, tuple[int, str]]:
    """The rows of the table ``text``, as `rows_of` made them."""
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in text.splitlines()]
    return {
        (line[0], line[1], line[2]): (int(line[3]), line[4]) for line in lines if len(line) == 5 and line[3].isdigit()
    }


def table(rows: dict[Key, tuple[int, str]]) -> str:
    """The rows as Markdown."""
    lines = ["| | what happens | what must be | cases | outcome |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(key)} | {count} | {outcome} |" for key, (count, outcome) in rows.items()]
    tried = [(count, outcome) for count, outcome in rows.values() if not outcome.startswith(("skipped", NOT_RUN))]
    held = sum(count for count, outcome in tried if outcome == "ok")
    everything = sum(count for count, _ in rows.values())
    lines.append(
        f"\n{held} of {everything} cases hold, {everything - sum(count for count, _ in tried)} could not be tried."
    )
    return "\n".join(lines)


def renew(page: str, outcomes: list[tuple[Case, str]]) -> str:
    """``page`` with the rows that were run written anew. The other rows stay; those of which only some cases were run, too."""
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    known, now = rows_in(old), rows_of(outcomes)
    rows = {}
    for key, (count, _) in rows_of([(case, NOT_RUN) for case in CASES]).items():
        whole = key in now and now[key][0] == count
        rows[key] = now[key] if whole else known.get(key, (count, NOT_RUN))
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=2, help="cases at the same time")
    parser.add_argument("--only", default="", help="cases whose text contains this")
    given = parser.parse_args()
    chosen = [case for case in CASES if given.only in f"{case.group}: {case.happens}"]
    outcomes: dict[int, str] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as top, ThreadPoolExecutor(given.jobs) as pool:
        os.chmod(top, 0o755)

        def work(number: int) -> None:
            outcomes[number], seconds = run_case(chosen[number], Path(top) / str(number))
            case = chosen[number]
            print(
                f"{len(outcomes):3d}/{len(chosen)} {seconds:5.1f} s  {case.group}: {case.happens}: {outcomes[number]}",
                flush=True,
            )

        list(pool.map(work, range(len(chosen))))
    rows = [(case, outcomes[number]) for number, case in enumerate(chosen)]
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return int(any(outcome.startswith("FAILED") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
