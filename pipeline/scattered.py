"""Scattered windows: features of windows in any order, straight from recordings."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import Encode, Feature, assign, compute_features, margins_of, takes
from pipeline.grid import Indices, WindowGrid
from pipeline.recordings import OpenFiles, read_scattered
from pipeline.windows import compute_windows

Array = npt.NDArray[Any]
Computed = tuple[Array, npt.NDArray[np.bool_]]


def compute_at(
    files: OpenFiles,
    grid: WindowGrid,
    feature: Feature,
    windows: Indices,
    dtype: npt.DTypeLike = np.float32,
    encode: Encode = assign,
    out: Array | None = None,
) -> Computed:
    """Features of windows in any order, with repeats; also which of the windows could be read.

    They are written to `out`, if it is given. The bits are those of `compute_windows`. `grid`
    is that of all recordings of `files`.
    """
    outside = windows[(windows < 0) | (windows >= len(grid))]
    if len(outside):
        raise IndexError(f"window {outside[0]} of a grid of {len(grid)} windows")
    if out is None:
        out = np.empty((len(windows), *feature.shape), dtype)
    if len(windows) > 1 and (np.diff(windows) == 1).all():
        return _compute_run(files, grid, feature, windows, encode, out)
    if takes(feature, "hop_samples") and len(windows):
        return _compute_runs(files, grid, feature, windows, encode, out)
    before, after = margins_of(feature, grid.samplerate)
    numbers, starts, n_samples = grid.locate(windows)
    length = before + grid.window_samples + after
    audio = read_scattered(files, numbers, starts - before, length)
    inside, named = grid.inside(before, after, windows), windows + grid.offset
    compute_features(feature, audio, n_samples, out.dtype, named, encode, inside, out=out)
    return out, ~np.isnan(audio[:, 0])


def _compute_runs(
    files: OpenFiles,
    grid: WindowGrid,
    feature: Feature,
    windows: Indices,
    encode: Encode,
    out: Array,
) -> Computed:
    """Features for which windows that follow each other share samples: these go together."""
    numbers, places = np.unique(windows, return_inverse=True)
    found, valid = np.empty((len(numbers), *out.shape[1:]), out.dtype), np.ones(len(numbers), bool)
    for low, high in pairwise([0, *(np.flatnonzero(np.diff(numbers) > 1) + 1), len(numbers)]):
        run, values = numbers[low:high], found[low:high]
        _, valid[low:high] = _compute_run(files, grid, feature, run, encode, values)
    return np.take(found, places, axis=0, out=out), valid[places]


def _compute_run(
    files: OpenFiles,
    grid: WindowGrid,
    feature: Feature,
    windows: Indices,
    encode: Encode,
    out: Array,
) -> Computed:
    """Features of windows that follow each other."""
    part, used = grid[int(windows[0]) : int(windows[-1]) + 1].detached()
    return compute_windows(files.recordings[used], part, feature, out.dtype, encode, out)
