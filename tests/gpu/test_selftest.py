"""On a real GPU with TensorRT: every network in every precision, as ``python -m export.selftest`` examines them."""

from __future__ import annotations

import pytest

from engines.choices import PRECISIONS, Precision
from engines.registry import why_no_tensorrt
from export.checks.network_checks import run_selftest
from export.checks.selftest_report import markdown
from export.networks import load_networks

if reason := why_no_tensorrt():
    pytest.skip(f"needs an NVIDIA GPU: {reason}; pytest -m gpu runs these tests there", allow_module_level=True)

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_engines_are_right_and_the_program_runs(precision: Precision) -> None:
    test = run_selftest("tensorrt", precision, load_networks(), repeats=100)
    print(markdown(test))
    assert test.passed, markdown(test)
    assert all(report.mesh_rate_hz > 0 for report in test.runs.values())
