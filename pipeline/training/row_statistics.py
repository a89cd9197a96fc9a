"""Statistics: mean and standard deviation of the rows of a finished store, kept in it."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt

from pipeline.kernels import Moments, moments_of, windows_of_a_tile
from pipeline.locks import locked
from pipeline.process import Recycled, cores, keep_freed_memory, one_blas_thread
from pipeline.steps import unseen
from pipeline.store import STATISTICS, Attachment, Store, Variable, attach, open_finished
from pipeline.training.normalization import row_axes, stored_statistics
from pipeline.training.order import Indices
from pipeline.training.sources import read_features
from pipeline.training.stored_split import is_of_split, statistics_split

READ_BYTES = 1 << 23  # at a time, which the cache holds until they are added up
AHEAD = 4  # shards a thread, of which little is kept
TEXTS = "mean over the valid windows", "standard deviation over the valid windows"


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each row, and whether they were computed just now.

    Attributes
    ----------
    mean, std : numpy.ndarray of float64, shape (row,)
        As they are stored.
    computed : bool
        False if they were in the store already.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    computed: bool


def statistics(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    progress: Callable[[int, int], None] = unseen,
) -> Statistics:
    """Compute mean and standard deviation of each row of a store, and keep them in it.

    A row is a place on every axis of the features but ``time`` or ``sample``: a frequency of a
    spectrogram, a coefficient, or all of a waveform.

    Parameters
    ----------
    path : path
        A store that `extract` has finished.
    split : str, optional
        Of the windows in this part of the store's split only, such as "train": a network that is
        tested on others must not know of these.
    progress : callable
        Called with how many windows were read, and how many there are.

    Returns
    -------
    Statistics
        ``mean`` and ``std`` (ddof 0), in float64, over the valid windows; values that are not
        finite do not count. The bits are the same whatever the number of threads.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If it is not finished, or a packed copy, or has no such part, or no valid window, or
        another job has it.
    OSError
        If it is damaged, or cannot be written to; it is as it was then.

    Notes
    -----
    Those of other windows that are there are replaced.

    They are stored as variables ``mean`` and ``std``, both at once or not at all. A job that goes
    on, as after ``verify --repair``, makes the store without them: run this again then.
    """
    store = open_finished(path)
    if (found := _found(store, split)) is not None:
        return found
    if store.packed:
        raise ValueError(
            f"{path} is a packed copy, to which nothing is added; compute the statistics of the "
            f"store it was made of, and pack that again"
        )
    with locked(store.path) as lock:
        store.sweep()  # what one that was killed has left
        store = open_finished(path)  # another may have been at it until now
        if (found := _found(store, split)) is not None:
            return found
        moments = _moments_of_store(store, progress, split)
        mean, std = (values.reshape(_shape(store)) for values in moments.mean_and_std())
        lock.check()
        told = {"statistics": json.dumps({"split": split})}
        some = split is not None or "statistics" in store.attrs()
        attach(store, Attachment(_variables(store, mean, std), attrs=told if some else {}))
        return Statistics(mean, std, computed=True)


def _found(store: Store, split: str | None) -> Statistics | None:
    """The statistics that a store has, if they are of this part."""
    found = stored_statistics(store)
    if found is None or statistics_split(store) != split:
        return None
    return Statistics(*found, computed=False)


def _variables(store: Store, *values: npt.NDArray[np.float64]) -> dict[str, Variable]:
    rows, _ = row_axes(store)
    units = store.units()
    return {
        name: Variable(rows, array.shape, array.dtype, {"units": units, "long_name": text}, array)
        for name, text, array in zip(STATISTICS, TEXTS, values, strict=True)
    }


def _shape(store: Store) -> tuple[int, ...]:
    """How many rows there are along each of their axes."""
    return tuple(len(store.coordinate(name)) for name in row_axes(store)[0])


def _moments_of_store(
    store: Store, progress: Callable[[int, int], None], split: str | None
) -> Moments:
    """Those of all shards, each computed by itself, joined in their order."""
    valid, shard = store.coordinate("valid"), store.shard
    if split is not None:
        valid = valid & is_of_split(store, split)
    windows = (np.flatnonzero(valid[a : a + shard]) + a for a in range(0, len(valid), shard))
    moments: Moments | None = None
    keep_freed_memory()
    with one_blas_thread():
        for last, found in _read_ahead(_Reader.of(store), (some for some in windows if len(some))):
            moments = moments.joined(found) if moments else found
            progress(last + 1, len(valid))
    if moments is None:
        where, told = ("", "status") if split is None else (f" in {split}", "info")
        what = "what could not be read" if split is None else "the windows of each part"
        raise ValueError(
            f"{store.path} has no valid window{where}, and so no statistics; see "
            f"audio-pipeline {told} {store.path} for {what}"
        )
    return moments


@dataclass(frozen=True)
class _Reader:
    """Computes moments of windows of a store, reading a few at a time."""

    store: Store
    along: tuple[int, ...]  # axes of a block
    step: int  # windows read at a time
    memory: Recycled

    @classmethod
    def of(cls, store: Store) -> Self:
        none = store.read(np.empty(0, np.int64))
        step = windows_of_a_tile(none.shape[1:])
        n_bytes = step * none.itemsize * prod(none.shape[1:])
        along = tuple(axis + 1 for axis in row_axes(store)[1])
        return cls(store, along, step * max(1, READ_BYTES // n_bytes), Recycled())

    def moments(self, windows: Indices) -> Moments:
        parts = (windows[a : a + self.step] for a in range(0, len(windows), self.step))
        blocks = (read_features(self.store, part, self.memory.empty) for part in parts)
        return moments_of(blocks, self.along)


def _read_ahead(reader: _Reader, shards: Iterable[Indices]) -> Iterator[tuple[int, Moments]]:
    """The last window and the moments of each shard, in order, computed on all cores."""
    n_threads = cores()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="statistics")
    waiting: deque[tuple[int, Future[Moments]]] = deque()
    try:
        for windows in shards:
            waiting.append((int(windows[-1]), pool.submit(reader.moments, windows)))
            if len(waiting) > AHEAD * n_threads:
                last, future = waiting.popleft()
                yield last, future.result()
        for last, future in waiting:
            yield last, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
