"""For all tests: a busy machine is no failure, and a GPU is seen only by the tests that need one (``pytest -m gpu``)."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    # Otherwise "auto" would mean TensorRT on a machine with a GPU, and every test would first build its plans.
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("markexpr") != "gpu":
        skip = pytest.mark.skip(reason="needs an NVIDIA GPU with TensorRT: run pytest -m gpu there")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)
