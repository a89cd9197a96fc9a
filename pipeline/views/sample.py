"""Samples: some of many windows, evenly spread."""

import numpy as np
import numpy.typing as npt

Windows = npt.NDArray[np.int64]


def spread(windows: Windows, most: int) -> Windows:
    """So many of the windows at most, evenly spread."""
    n = min(most, len(windows))
    return windows[(2 * np.arange(n) + 1) * len(windows) // max(1, 2 * n)]


def over_recordings(windows: Windows, recording: npt.NDArray[np.int32], most: int) -> Windows:
    """So many of the windows at most, of as many recordings as there can be, spread in each.

    `recording` is the number of that of each window.
    """
    numbers = spread(np.unique(recording), most)
    parts = [windows[recording == number] for number in numbers.tolist()]
    shares = np.zeros(len(parts), np.int64)
    lengths = np.array([len(part) for part in parts], np.int64)
    for _ in range(min(most, int(lengths.sum()))):
        left = np.flatnonzero(shares < lengths)
        shares[left[np.argmin(shares[left])]] += 1
    chosen = [spread(part, share) for part, share in zip(parts, shares.tolist(), strict=True)]
    return np.concatenate([windows[:0], *chosen])
