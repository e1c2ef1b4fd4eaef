"""Run by a Python that has OpenSim: the markers of a .trc file as OpenSim reads them.

in_opensim.py FILE OUT.npz: ``OUT`` has ``names`` (M,), ``times`` (N,) seconds and ``places`` (N, M, 3) in the file's units.
"""

from __future__ import annotations

import sys

import numpy as np
import opensim


def main(path: str, out: str) -> None:
    table = opensim.TimeSeriesTableVec3(path)
    names = list(table.getColumnLabels())
    columns = [table.getDependentColumn(name).to_numpy() for name in names]
    np.savez(
        out,
        names=np.array(names),
        times=np.array(table.getIndependentColumn()),
        places=np.stack(columns, 1),
        units=np.array(table.getTableMetaDataString("Units")),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
