"""Padding: what stands for samples that are outside a recording."""

from typing import Literal

import numpy as np

from pipeline.kernels.frames import Counts, Singles

PadMode = Literal["constant", "reflect", "symmetric", "edge"]


def padded(rows: Singles, inside: Counts, mode: PadMode) -> Singles:
    """Rows with other samples where they are not `inside`, as `numpy.pad` has them.

    They are zero there. Those that change are copied. With "reflect" and "symmetric" each must
    have as many samples inside as are to be mirrored, unless it has all of its recording.
    """
    length = rows.shape[1]
    partial = np.flatnonzero((inside[:, 0] > 0) | (inside[:, 1] < length))
    if mode == "constant" or not len(partial):
        return rows
    rows = rows.copy()
    for row in partial.tolist():
        first, stop = inside[row].tolist()
        n = stop - first
        before, after = np.arange(-first, 0), np.arange(n, length - first)
        rows[row, :first] = rows[row, first + _sources(before, n, mode)]
        rows[row, stop:] = rows[row, first + _sources(after, n, mode)]
    return rows


def _sources(places: Counts, n: int, mode: PadMode) -> Counts:
    """Which of `n` samples stand at places before or after them, counted from the first."""
    if mode == "edge" or n == 1:
        return np.clip(places, 0, n - 1)
    repeated = mode == "symmetric"  # whether the sample at the edge is its own mirror image
    period = 2 * n if repeated else 2 * (n - 1)
    places %= period
    return np.where(places < n, places, period - places - repeated)
