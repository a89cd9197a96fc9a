"""Normalization: windows as float32, at one level or at least none that overflows."""

import numpy as np
import numpy.typing as npt

from pipeline.features.frames import Counts, Floats, Singles


def normalized(windows: Floats, n_samples: Counts) -> tuple[Singles, npt.NDArray[np.bool_]]:
    """Windows at zero mean and unit standard deviation of the samples that they have.

    Also which of them are constant: these have no deviation, and are about zero.
    """
    result = np.zeros(windows.shape, np.float32)
    constant = np.ones(len(windows), np.bool_)
    for n in set(n_samples.tolist()) - {0}:  # mostly one; windows of as many go together
        found = n_samples == n
        rows = slice(None) if found.all() else np.flatnonzero(found)
        values = windows[rows, :n]
        steady = values.min(axis=1) >= values.max(axis=1)
        values = values.astype(np.float64)
        values -= values.mean(axis=1, keepdims=True)
        deviation = np.sqrt(np.mean(values * values, axis=1, keepdims=True))
        deviation[steady] = 1
        result[rows, :n] = np.divide(values, deviation, out=values)
        constant[rows] = steady
    return result, constant


def limited(windows: Floats, frame_length: int) -> Singles:
    """Windows no louder than what the power of a frame can hold."""
    loudest = 1e18 / frame_length
    return np.clip(windows, -loudest, loudest).astype(np.float32)
