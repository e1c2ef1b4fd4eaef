"""What the self-test says of the GPU's state comes from the driver's own tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.checks.machine import gpu_state


def tool(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_drivers_tool_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(
        tmp_path,
        "nvidia-smi",
        'case "$1" in *temperature.gpu*) echo "580.1, 1980 MHz, 9501 MHz, 41, 55.2 W, 800 MiB";; esac',
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_state() == "580.1, 1980 MHz, 9501 MHz, 41, 55.2 W, 800 MiB"


def test_without_a_tool_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_state() == ""
