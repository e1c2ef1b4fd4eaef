"""Which Python package wraps the CUDA driver."""

from __future__ import annotations

import os
from collections.abc import Callable

from engines.cuda.port import Cuda
from engines.cuda.with_bindings import bindings_port
from engines.cuda.with_pycuda import pycuda_port
from engines.engine import EngineError, RuntimeMissingError

CUDA_ENVIRONMENT = "MOTIONMESH_CUDA"
"""The environment variable that chooses the package: one of `PACKAGES`."""

_PORTS: dict[str, Callable[[], Cuda]] = {"cuda-bindings": bindings_port, "pycuda": pycuda_port}
PACKAGES = tuple(_PORTS)
"""The one that can do more comes first: stream priorities."""


def open_cuda(package: str | None = None) -> Cuda:
    """The driver through ``package``, through the one that `CUDA_ENVIRONMENT` names, or through the first that starts.

    Raises `RuntimeMissingError` when none does, `EngineError` for an unknown name.
    """
    package = package or os.environ.get(CUDA_ENVIRONMENT)
    if package:
        if package not in _PORTS:
            raise EngineError(f"{CUDA_ENVIRONMENT}={package} is unknown: choose {' or '.join(_PORTS)}")
        return _PORTS[package]()
    reasons = []
    for port in _PORTS.values():
        try:
            return port()
        except RuntimeMissingError as error:  # noqa: PERF203
            reasons.append(str(error))
    raise RuntimeMissingError(f"TensorRT needs cuda-bindings or pycuda: {'; '.join(reasons)}")
