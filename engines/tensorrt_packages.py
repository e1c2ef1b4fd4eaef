"""Which of pip's TensorRT packages are installed, and for which CUDA: their names say it."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata


@cache
def cuda_of_package() -> int:
    """The major version of CUDA that pip's TensorRT packages are for; 0 where pip knows none or several."""
    found = {int(match[1]) for name in installed_packages() if (match := re.fullmatch(r"tensorrt-cu(\d+)-libs", name))}
    return found.pop() if len(found) == 1 else 0


def installed_packages() -> list[str]:
    """The names of pip's TensorRT packages that are installed. All of them have to go before those for another CUDA come:
    they write the same files."""
    names = {str(found.metadata["Name"]).replace("_", "-").lower() for found in metadata.distributions()}
    return sorted(name for name in names if re.fullmatch(r"tensorrt(-cu\d+(-libs|-bindings)?)?", name))
