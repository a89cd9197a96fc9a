"""Samples: some of many windows, evenly spread."""

import numpy as np
import numpy.typing as npt

Windows = npt.NDArray[np.int64]


def spread(windows: Windows, most: int) -> Windows:
    """So many of the windows at most, evenly spread."""
    n = min(most, len(windows))
    return windows[(2 * np.arange(n) + 1) * len(windows) // max(1, 2 * n)]
