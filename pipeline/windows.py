"""Windows: recordings as a lazy dask array, and features mapped over it."""

import uuid
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from pipeline.checks import whole
from pipeline.features import Encode, Feature, assign, bind, compute_features, shape_of
from pipeline.grid import WindowGrid
from pipeline.recordings import Recordings, read_windows

Array = npt.NDArray[Any]
Samples = npt.NDArray[np.float32]
BLOCK_WINDOWS = 64


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
        part, used = grid[start:stop].detached()
        return (reader or read_windows)(recordings[used], part)

    windows: da.Array = da.map_blocks(
        read,
        name=f"windows-{uuid.uuid4().hex}",
        chunks=(lengths, (grid.window_samples,)),
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
    )
    return windows


def map_windows(
    feature: Feature,
    audio: da.Array,
    grid: WindowGrid,
    dtype: npt.DTypeLike = np.float32,
    encode: Encode = assign,
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
    encode : callable
        Writes the feature's values, its first argument, into an array of that
        dtype, its second; as NumPy converts them if not given.

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
    feature = bind(feature, grid.samplerate, grid.window_samples / grid.samplerate, dtype)
    shape = shape_of(feature)

    def compute(block: Samples, block_info: Any = None) -> Array:
        start, stop = block_info[0]["array-location"][0]
        part = grid[start:stop]
        return compute_features(feature, block, part.locate()[2], dtype, part.offset, encode)

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
