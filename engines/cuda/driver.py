"""Finds the NVIDIA driver and GPU through libcuda itself, before anything that would crash without them."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass

from engines.engine import RuntimeMissingError

OLDEST_CUDA = (11, 4)
"""JetPack 5 and, on desktops, driver 470: the oldest that TensorRT 8.6 was made for."""

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
"""The driver itself."""
_MULTIPROCESSORS, _INTEGRATED, _COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 16, 18, 75, 76


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU that CUDA shows (``CUDA_VISIBLE_DEVICES`` chooses)."""

    name: str
    """Name of the GPU as the driver writes it."""
    sm: str
    """Compute capability, as "8.7"."""
    cuda: str
    """Newest CUDA version that the driver supports, as "12.6"."""
    multiprocessors: int = 0
    """How many it has: tells boards of one name and chip apart."""
    memory_gb: int = 0
    """Whole GiB; tells them apart, too."""
    integrated: bool = False
    """Whether it has no memory of its own but shares the CPU's, as on a Jetson."""

    def __str__(self) -> str:
        """The GPU as messages name it."""
        return f"{self.name} (SM {self.sm})"


def probe_gpu() -> Gpu:
    """The GPU that CUDA programs of this process would use.

    Raises `RuntimeMissingError` with one line that says what is missing: the driver, a GPU, or a newer driver.
    """
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError:
        raise RuntimeMissingError(
            f"no NVIDIA driver here ({LIBRARY} is not found): install one; --engine auto does without"
        ) from None
    # Before CUDA 12.2 the driver loads every kernel of TensorRT's libraries, hundreds of megabytes of a board's memory, unless
    # it is told to load those that run.
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    try:
        _check(cuda, cuda.cuInit(0))
        version, count = ctypes.c_int(), ctypes.c_int()
        _check(cuda, cuda.cuDriverGetVersion(ctypes.byref(version)))
        _check(cuda, cuda.cuDeviceGetCount(ctypes.byref(count)))
        newest_cuda = (version.value // 1000, version.value % 1000 // 10)
        if newest_cuda < OLDEST_CUDA:
            raise RuntimeMissingError(
                f"the NVIDIA driver is too old (CUDA {_dotted(newest_cuda)}): "
                f"update it to one that supports CUDA {_dotted(OLDEST_CUDA)} or newer"
            )
        if not count.value:
            raise RuntimeMissingError("the NVIDIA driver shows no GPU: check CUDA_VISIBLE_DEVICES")
        device = ctypes.c_int()
        _check(cuda, cuda.cuDeviceGet(ctypes.byref(device), 0))
        name = ctypes.create_string_buffer(256)
        _check(cuda, cuda.cuDeviceGetName(name, len(name), device))
        sm = (_attribute(cuda, _COMPUTE_CAPABILITY_MAJOR, device), _attribute(cuda, _COMPUTE_CAPABILITY_MINOR, device))
        multiprocessors, integrated = (_attribute(cuda, each, device) for each in (_MULTIPROCESSORS, _INTEGRATED))
        memory = ctypes.c_size_t()
        _check(cuda, cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    except AttributeError as error:  # a library of that name without the function
        raise RuntimeMissingError(f"{LIBRARY} is not NVIDIA's driver ({error})") from None
    found = name.value.decode(errors="replace"), _dotted(sm), _dotted(newest_cuda)
    # Rounded: the last megabytes differ from driver to driver.
    return Gpu(*found, multiprocessors, round(memory.value / 2**30), bool(integrated))


def _attribute(cuda: ctypes.CDLL, attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _check(cuda, cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device))
    return value.value


def _check(cuda: ctypes.CDLL, result: int) -> None:
    if result:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(result, ctypes.byref(text))
        reason = text.value.decode(errors="replace") if text.value else "unknown error"
        raise RuntimeMissingError(f"the NVIDIA driver does not start ({reason}, error {result})")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
