"""Files that are written whole, and what is said where they cannot be."""

from __future__ import annotations

from pathlib import Path

from common.files import reason_of


def test_the_reason_of_a_full_disk(tmp_path: Path) -> None:
    reason = reason_of(OSError(28, "No space left on device"), tmp_path / "out.mp4")
    assert reason == f"the disk of {tmp_path} is full"
