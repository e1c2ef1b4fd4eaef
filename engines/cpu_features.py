"""What a CPU can compute with, by the flags that its system names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_BF16: Final = frozenset({"amx_bf16", "avx512_bf16"})
"""Units that multiply bfloat16: AMX (Xeons from Sapphire Rapids on), AVX-512 BF16 (AMD from Zen 4 on)."""


@cache
def cpu_flags() -> frozenset[str]:
    """The flags of the first core, as Linux names them; empty where the system does not say."""
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return frozenset()
    line = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(line.group(1).split()) if line else frozenset()


def multiplies_bf16() -> bool:
    """Whether the CPU has units for products of bfloat16. Without them they are imitated, which is slower than float32."""
    return bool(cpu_flags() & _BF16)
