"""The computation of a feature of which each window is computed by itself, from long frames."""

from collections.abc import Callable

import numpy as np

from pipeline.features.feature import check_length
from pipeline.kernels import Counts, Floats, Singles


def compute_each(
    compute: Callable[[Floats, int], Floats],
    windows: Floats,
    n_samples: Counts | None,
    out: Singles | None,
    length: int,
    shape: tuple[int, ...],
) -> Singles:
    """Values of each window and the number of its samples; ValueError if its length is another."""
    check_length(windows, length)
    if out is None:
        out = np.empty((len(windows), *shape), np.float32)
    counts = [length] * len(windows) if n_samples is None else n_samples.tolist()
    for row, (window, n) in enumerate(zip(windows, counts, strict=True)):
        out[row] = compute(window, n)
    return out
