"""Asking the driver: what is missing is said in one line, and no package is imported for it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from engines.cuda import driver, packages
from engines.cuda.driver import Gpu, probe_gpu
from engines.engine import EngineError, RuntimeMissingError


class Library:
    """A libcuda with one GPU; ``codes`` are the results of its functions, 0 where not named."""

    def __init__(self, version: int = 12060, gpus: int = 1, **codes: int) -> None:
        self._version, self._gpus, self._codes = version, gpus, codes

    def __getattr__(self, name: str) -> Callable[..., int]:
        if self._codes.get(name) is not None and self._codes[name] < 0:
            raise AttributeError(f"undefined symbol: {name}")

        def call(*arguments: Any) -> int:
            if name == "cuDriverGetVersion":
                arguments[0]._obj.value = self._version
            elif name == "cuDeviceGetCount":
                arguments[0]._obj.value = self._gpus
            elif name == "cuDeviceGetName":
                arguments[0].value = b"Orin"
            elif name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 8, 76: 7, 16: 8, 18: 1}[arguments[1]]
            elif name == "cuDeviceTotalMem_v2":
                arguments[0]._obj.value = 7_990_000_000
            elif name == "cuGetErrorString":
                arguments[1]._obj.value = b"no CUDA-capable device is detected"
            return self._codes.get(name, 0)

        return call


def use(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    def load(name: str) -> object:
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(driver, "ctypes", SimpleNamespace(**{**vars(ctypes), "CDLL": load}))


def test_the_gpu_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Library())
    assert probe_gpu() == Gpu("Orin", "8.7", "12.6", 8, 7, integrated=True)
    assert str(probe_gpu()) == "Orin (SM 8.7)"


@pytest.mark.parametrize(("own", "used"), [(None, "LAZY"), ("EAGER", "EAGER")])
def test_only_kernels_that_run_are_loaded_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: str | None, used: str
) -> None:
    monkeypatch.setenv("CUDA_MODULE_LOADING", own or "")
    if own is None:
        monkeypatch.delenv("CUDA_MODULE_LOADING")
    use(monkeypatch, Library())
    probe_gpu()
    assert os.environ["CUDA_MODULE_LOADING"] == used


@pytest.mark.parametrize(
    ("library", "says"),
    [
        (OSError("not found"), "no NVIDIA driver here (libcuda.so.1 is not found): install one"),
        (Library(cuInit=100), "the NVIDIA driver does not start (no CUDA-capable device is detected, error 100)"),
        (Library(version=10020), "the NVIDIA driver is too old (CUDA 10.2): update it to one that supports CUDA 11.4"),
        (Library(gpus=0), "the NVIDIA driver shows no GPU: check CUDA_VISIBLE_DEVICES"),
        (Library(cuDeviceGetName=-1), "libcuda.so.1 is not NVIDIA's driver (undefined symbol: cuDeviceGetName)"),
    ],
)
def test_what_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, library: object, says: str) -> None:
    use(monkeypatch, library)
    with pytest.raises(RuntimeMissingError) as caught:
        probe_gpu()
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def refuse(name: str) -> Callable[[], Any]:
    def port() -> Any:
        raise RuntimeMissingError(f"{name} does not start")

    return port


def test_the_first_package_that_starts_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(packages.CUDA_ENVIRONMENT, raising=False)
    second = object()
    monkeypatch.setattr(packages, "_PORTS", {"pycuda": refuse("pycuda"), "cuda-bindings": lambda: second})
    assert packages.open_cuda() is second
    with pytest.raises(RuntimeMissingError, match="pycuda does not start"):
        packages.open_cuda("pycuda")
    monkeypatch.setenv(packages.CUDA_ENVIRONMENT, "cupy")
    with pytest.raises(EngineError, match="MOTIONMESH_CUDA=cupy is unknown: choose pycuda or cuda-bindings"):
        packages.open_cuda()
    monkeypatch.delenv(packages.CUDA_ENVIRONMENT)
    monkeypatch.setattr(packages, "_PORTS", {"pycuda": refuse("pycuda"), "cuda-bindings": refuse("cuda-bindings")})
    with pytest.raises(RuntimeMissingError, match="needs cuda-bindings or pycuda: pycuda does not start; cuda-bind"):
        packages.open_cuda()
