"""Array types used in signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
AnyFloatArray = NDArray[np.floating[Any]]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
AnyIntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]
"""Pixels: (H, W, 3), BGR in the real-time part and RGB where a docstring says so."""
AnyArray = NDArray[Any]
