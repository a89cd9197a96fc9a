"""Windows: recordings as a lazy dask array, and features mapped over it or read at once."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from pipeline.checks import whole
from pipeline.features import (
    Encode,
    Feature,
    assign,
    bind,
    compute_features,
    margins_of,
    shape_of,
    takes,
)
from pipeline.grid import WindowGrid
from pipeline.kernels import groups
from pipeline.recordings import Recordings, read_shared, read_windows

Array = npt.NDArray[Any]
Samples = npt.NDArray[np.float32]
BLOCK_WINDOWS = 64
AUDIO_BYTES = 1 << 24  # of windows that are read and computed together


def open_windows(
    recordings: Recordings,
    grid: WindowGrid,
    *,
    block: int = BLOCK_WINDOWS,
    context: Feature | tuple[float, float] = (0.0, 0.0),
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
    context : Feature or tuple of two floats
        Seconds of the recording that come with each window, before and after it,
        or the feature that they are for.
    reader : callable, optional
        Reads a block, in place of `read_windows`.

    Returns
    -------
    dask.array.Array of float32, shape (window, sample)
        Nothing is read before it is computed. Each row is the samples before a
        window, its own, and those after it, with zeros where there is no
        recording. A window that cannot be read is all NaN.

    Raises
    ------
    ValueError
        If `block` is not a whole number above 0, or `context` is none.
    """
    if isinstance(context, tuple):
        before, after = (round(seconds * grid.samplerate) for seconds in context)
    else:
        before, after = margins_of(_bound(context, grid), grid.samplerate)
    block = whole("block", block, 1, "of windows above 0")

    def read(block_info: Any = None) -> Samples:
        (start, stop), _ = block_info[None]["array-location"]
        part, used = grid[start:stop].detached()
        if reader is not None:
            return reader(recordings[used], part)
        return read_windows(recordings[used], part, before, after)

    windows: da.Array = da.map_blocks(
        read,
        name=f"windows-{uuid.uuid4().hex}",
        chunks=(_lengths(grid, block), (before + grid.window_samples + after,)),
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
        From `open_windows`, with the context that the feature needs.
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
    feature = _bound(feature, grid, dtype)
    if np.dtype(dtype).kind != "f" and encode is assign:
        raise ValueError(
            f"dtype is {np.dtype(dtype)}, to which NumPy would cut the values; pass float32 or "
            f"float16, or how to encode them"
        )
    shape, (before, after) = shape_of(feature), margins_of(feature, grid.samplerate)
    length = before + grid.window_samples + after
    if audio.shape != (len(grid), length):
        context = ", context=feature" if before or after else ""
        raise ValueError(
            f"audio has shape {audio.shape}, but the grid has {len(grid)} windows, of which "
            f"{type(feature).__name__} needs {length} samples each; pass what "
            f"open_windows(recordings, grid{context}) gives"
        )

    def compute(block: Samples, block_info: Any = None) -> Array:
        start, stop = block_info[0]["array-location"][0]
        part = grid[start:stop]
        inside = part.inside(before, after)
        n_samples = part.locate()[2]
        return compute_features(feature, block, n_samples, dtype, part.offset, encode, inside)

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


def features_of(
    recordings: Recordings,
    grid: WindowGrid,
    feature: Feature,
    *,
    block: int,
    dtype: npt.DTypeLike,
    encode: Encode,
    note: Callable[[int, npt.NDArray[np.bool_]], None],
) -> da.Array:
    r"""Features of windows, lazily, each block read and computed by one task.

    `note` is told the first window of each block, and which of its windows could be read.
    """

    def compute(block_info: Any = None) -> Array:
        start, stop = block_info[None]["array-location"][0]
        part, used = grid[start:stop].detached()
        values, valid = compute_windows(recordings[used], part, feature, dtype, encode)
        note(start, valid)
        return values

    computed: da.Array = da.map_blocks(
        compute,
        name=f"features-{uuid.uuid4().hex}",
        chunks=(_lengths(grid, block), *((length,) for length in feature.shape)),
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(feature.shape)), dtype),
    )
    return computed


def compute_windows(
    recordings: Recordings,
    grid: WindowGrid,
    feature: Feature,
    dtype: npt.DTypeLike = np.float32,
    encode: Encode = assign,
    out: Array | None = None,
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Read windows and compute their features; also which of the windows could be read.

    They are written to `out`, if it is given. Few windows are read at a time, as their audio may
    be much more than their features. A feature that takes `hop_samples` is called with windows of
    one recording at a time, which share the samples of their context.
    """
    values = np.empty((len(grid), *feature.shape), dtype) if out is None else out
    valid = np.ones(len(grid), np.bool_)
    margins, few = margins_of(feature, grid.samplerate), read_together(feature, grid)
    sharing = takes(feature, "hop_samples")
    hop = grid.hop_samples if sharing else None
    row = 0
    for part, audio in _read(recordings, grid, margins, few, sharing):
        rows = slice(row, row + len(part))
        valid[rows] = ~np.isnan(audio[:, 0])
        n_samples, inside = part.locate()[2], part.inside(*margins)
        compute_features(
            feature, audio, n_samples, dtype, part.offset, encode, inside, hop, values[rows]
        )
        row = rows.stop
    return values, valid


def held_samples(feature: Feature, grid: WindowGrid) -> int:
    """Samples that are held for each window: with its context, or what is not shared."""
    length = grid.window_samples + sum(margins_of(feature, grid.samplerate))
    return min(grid.hop_samples, length) if takes(feature, "hop_samples") else length


def read_together(feature: Feature, grid: WindowGrid) -> int:
    """How many windows are read and computed together, at most."""
    return max(1, AUDIO_BYTES // (4 * held_samples(feature, grid)))


def _read(
    recordings: Recordings, grid: WindowGrid, margins: tuple[int, int], few: int, sharing: bool
) -> Iterator[tuple[WindowGrid, Samples]]:
    """Windows and their samples, a few at a time: any, or of one recording, which share samples.

    Where these are damaged, and each window has samples of its own, still fewer, so that they
    are no more.
    """
    length, row = grid.window_samples + sum(margins), 0
    for count in grid.counts[grid.counts > 0].tolist() if sharing else [len(grid)]:
        of_run = grid[row : row + count]
        for rows in groups(count, few):
            part, used = of_run[rows].detached()
            audio = read_shared(recordings[used], part, *margins) if sharing else None
            if audio is not None:
                yield part, audio
                continue
            fewer = 1 + len(part) * grid.hop_samples // length if sharing else len(part)
            for some in groups(len(part), fewer):
                alone, of = part[some].detached()
                yield alone, read_windows(recordings[used][of], alone, *margins)
        row += count


def _bound(feature: Feature, grid: WindowGrid, dtype: npt.DTypeLike = np.float32) -> Feature:
    return bind(feature, grid.samplerate, grid.window_samples / grid.samplerate, dtype)


def _lengths(grid: WindowGrid, block: int) -> tuple[int, ...]:
    return tuple(min(block, len(grid) - t) for t in range(0, len(grid), block)) or (0,)
