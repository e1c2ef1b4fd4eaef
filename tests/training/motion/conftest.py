"""The default body, shared by tests that check joint positions."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from body.lbs_torch import TorchBody
from body.model import load_body


@pytest.fixture(scope="session")
def body() -> TorchBody:
    return TorchBody(load_body())
