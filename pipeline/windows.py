"""Windows: recordings as a lazy dask array, and features mapped over it."""

from __future__ import annotations

import inspect
import math
import uuid
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from pipeline.checks import whole
from pipeline.features import (
    Feature,
    Spectrogram,
    bind,
    check_feature,
    check_values,
    feature_floor,
    shape_of,
)
from pipeline.grid import Indices, WindowGrid
from pipeline.recordings import Recordings, read_windows

Array = npt.NDArray[Any]
Samples = npt.NDArray[np.float32]
BLOCK_WINDOWS = 64
ROUNDED_BYTES = 1 << 22  # of float32, which are still in the cache when they are rounded


def open_windows(
    recordings: Recordings,
    grid: WindowGrid,
    *,
    block: int = BLOCK_WINDOWS,
    reader: Callable[[Recordings, WindowGrid], Samples] | None = None,
) -> da.Array:
    """Recordings as a lazy array of windows.

    Parameters
    ----------
    recordings : Recordings
        What to read from.
    grid : WindowGrid
        The windows, of the same recordings.
    block : int
        Windows in a block of the array: one task, one piece of memory.
    reader : callable, optional
        Reads a block, in place of `read_windows`.

    Returns
    -------
    dask.array.Array of float32, shape (window, sample)
        Nothing is read before it is computed. Zeros follow the samples of a
        partial window. A window that cannot be read is all NaN.

    Raises
    ------
    ValueError
        If `block` is not a whole number above 0.
    """
    block = whole("block", block, 1, "of windows above 0")
    lengths = tuple(min(block, len(grid) - t) for t in range(0, len(grid), block)) or (0,)

    def read(block_info: Any = None) -> Samples:
        (start, stop), _ = block_info[None]["array-location"]
        return (reader or read_windows)(*_part(recordings, grid, start, stop))

    windows: da.Array = da.map_blocks(
        read,
        name=f"windows-{uuid.uuid4().hex}",
        chunks=(lengths, (grid.window_samples,)),
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
    )
    return windows


def map_windows(
    feature: Feature, audio: da.Array, grid: WindowGrid, dtype: npt.DTypeLike = np.float32
) -> da.Array:
    r"""Features of windows, lazily, block by block.

    Parameters
    ----------
    feature : Feature
        Such as `Spectrogram`; its rate and window are taken from `grid`.
    audio : dask.array.Array, shape (window, sample)
        From `open_windows`.
    grid : WindowGrid
        The grid that `audio` was opened with.
    dtype : dtype
        Of the result.

    Returns
    -------
    dask.array.Array, shape (window, \*feature.shape)
        Windows of which any sample is not finite have the feature's floor.

    Raises
    ------
    ValueError
        If `audio` and `grid` do not fit, or the feature is for another rate.
    """
    if audio.shape != (len(grid), grid.window_samples):
        raise ValueError(
            f"audio has shape {audio.shape}, but the grid has {len(grid)} windows of "
            f"{grid.window_samples} samples; give the grid that audio was opened with"
        )
    feature = bind_to_grid(feature, grid, dtype)
    shape = shape_of(feature)

    def compute(block: Samples, block_info: Any = None) -> Array:
        start, stop = block_info[0]["array-location"][0]
        part = grid[start:stop]
        return compute_features(feature, block, part.locate()[2], dtype, part.offset)

    mapped: da.Array = da.map_blocks(
        compute,
        audio,
        name=f"features-{uuid.uuid4().hex}",
        # The sample axis becomes the first of the feature, if it has one: to drop it
        # would make dask copy every block.
        drop_axis=None if shape else 1,
        chunks=(audio.chunks[0], *((length,) for length in shape)),
        new_axis=list(range(2, 1 + len(shape))) or None,
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(shape)), dtype),
    )
    return mapped


def bind_to_grid(feature: Feature, grid: WindowGrid, dtype: npt.DTypeLike = np.float32) -> Feature:
    """The feature, for the rate and the windows of a grid.

    Raises
    ------
    ValueError
        If it is none, was made for others, its axes do not fit its shape, or
        its values do not fit the dtype.
    """
    check_feature(feature)
    bound = bind(feature, grid.samplerate, grid.window_samples / grid.samplerate)
    shape_of(bound)
    check_values(bound, dtype)
    return bound


def compute_features(
    feature: Feature,
    audio: Samples,
    n_samples: Indices,
    dtype: npt.DTypeLike = np.float32,
    first: int = 0,
) -> Array:
    r"""Features of a block of windows, in NumPy.

    Parameters
    ----------
    feature : Feature
        For the rate and length of these windows.
    audio : numpy.ndarray of float32, shape (window, sample)
        Windows with a sample that is not finite get the feature's floor.
    n_samples : numpy.ndarray of int, shape (window,)
        Samples that each window really has.
    dtype : dtype
        Of the result.
    first : int
        Number of the first window, for what is said of them.

    Returns
    -------
    numpy.ndarray, shape (window, \*feature.shape)

    Raises
    ------
    ValueError
        If the feature gives another shape, what are no real numbers, or a
        value that is not finite in the dtype.
    """
    result = np.empty((len(audio), *feature.shape), dtype)
    readable = np.isfinite(audio).all(axis=1)
    where = f"windows {first} to {first + len(audio) - 1}"
    if readable.all():
        _call(feature, audio, n_samples, result, where)
    else:
        some = np.empty((int(readable.sum()), *feature.shape), dtype)
        _call(feature, audio[readable], n_samples[readable], some, where)
        result[readable] = some
        result[~readable] = feature_floor(feature)
    return result


def _call(feature: Feature, audio: Samples, n_samples: Indices, out: Array, where: str) -> None:
    """Compute features into `out`, of which the dtype may be another than theirs."""
    if not len(audio):
        return
    accepted = inspect.signature(feature).parameters
    few, rounded = len(audio), out.dtype != np.float32 and "out" in accepted
    if rounded:
        few = max(1, min(few, ROUNDED_BYTES // (4 * math.prod(out.shape[1:]))))
        scratch = np.empty((few, *out.shape[1:]), np.float32)
    for start in range(0, len(audio), few):
        rows = slice(start, start + few)
        part = out[rows]
        options = {"n_samples": n_samples[rows], "out": scratch[: len(part)] if rounded else part}
        options = {name: value for name, value in options.items() if name in accepted}
        with np.errstate(all="ignore"):  # what comes of it is looked at
            values = np.asarray(feature(audio[rows], **options))
        if not isinstance(feature, Spectrogram):
            _store(type(feature).__name__, values, part, where)
        elif values is not part:
            part[...] = values


def _store(name: str, values: Array, out: Array, where: str) -> None:
    """Copy what a feature of that name gave, if it is as it must be."""
    if values.shape != out.shape:
        raise ValueError(
            f"{name} gave an array of shape {values.shape} for {len(out)} windows; its shape "
            f"says {out.shape}"
        )
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} gave values of dtype {values.dtype} in {where}; stored features must be "
            f"real numbers"
        )
    with np.errstate(over="ignore"):
        out[...] = values
    if np.isfinite(out).all():
        return
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} gave values that are not finite for audio that is, in {where}; stored "
            f"features must be finite"
        )
    raise ValueError(
        f"{name} gave values of up to {np.abs(values).max():g} in {where}, and {out.dtype} ends at "
        f"{np.finfo(out.dtype).max:g}; give dtype float32, or make them smaller"
    )


def _part(
    recordings: Recordings, grid: WindowGrid, start: int, stop: int
) -> tuple[Recordings, WindowGrid]:
    part, used = grid[start:stop].detached()
    return recordings[used], part
