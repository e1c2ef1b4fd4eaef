"""What holds for the events of every CUDA interface."""

from __future__ import annotations

import pytest

from engines.cuda.port import Cuda, CudaError


def check_untimed_event(port: Cuda) -> None:
    """An event that was not made for timing tells no time instead of a wrong one."""
    stream, timed, other = port.stream(), port.event(timed=True), port.event()
    timed.record(stream)
    other.record(stream)
    stream.synchronise()
    with pytest.raises(CudaError, match="tell the time"):
        other.ms_since(timed)
    for thing in (stream, timed, other):
        thing.close()
