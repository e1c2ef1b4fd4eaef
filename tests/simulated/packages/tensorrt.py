"""Stands for the ``tensorrt`` package where this folder is on the path: its double, on the simulated device."""

from __future__ import annotations

import os

from tests.engines.tensorrt_double import tensorrt_double
from tests.simulated.device import SimulatedDevice

globals().update(vars(tensorrt_double(SimulatedDevice(), os.environ.get("SIMULATED_TENSORRT", "10.3.0"))))
