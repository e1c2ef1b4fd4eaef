"""Run by a Python that has OpenSim: the markers of a .trc file as OpenSim reads them.

in_opensim.py FILE OUT.npz: ``OUT`` has ``names`` (M,), ``times`` (N,) seconds and ``places`` (N, M, 3) in the file's units.
"""

from __future__ import annotations

import sys

import numpy as np
import opensim


def main(path: str, out: str) -> None:
    """Read ``path`` and write ``out``."""
    table = opensim.TimeSeriesTableVec3(path)
    names = list(table.getColumnLabels())
    flat = table.flatten()  # the matrix is a view into it, and OpenSim does not keep it alive
    places = np.array(flat.getMatrix().to_numpy())
    np.savez(
        out,
        names=np.array(names),
        times=np.array(table.getIndependentColumn()),
        places=places.reshape(len(places), -1, 3),
        units=np.array(table.getTableMetaDataString("Units")),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
