"""Runs every case against the real program: python -m tests.faults [--jobs 2] [--only TEXT]

Writes the table in docs/reliability.md when all cases were run. Exit code 1 where one failed.
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


def table(outcomes: list[tuple[Case, str]]) -> str:
    """The cases as a table."""
    lines = ["| | what happens | what must be | outcome |", "| --- | --- | --- | --- |"]
    lines += [f"| {case.group} | {case.happens} | {case.must_be} | {outcome} |" for case, outcome in outcomes]
    passed = sum(outcome == "ok" for _, outcome in outcomes)
    skipped = sum(outcome.startswith("skipped") for _, outcome in outcomes)
    lines.append(f"\n{passed} of {len(outcomes)} cases hold, {skipped} could not be tried.")
    return "\n".join(lines)


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
    if not given.only:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")
    return int(any(outcome.startswith("FAILED") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
