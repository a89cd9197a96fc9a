"""Batches: what a training loop takes, from a store or computed as it asks."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.cluster import one_blas_thread
from pipeline.config import Settings
from pipeline.features import Feature, Spectrogram
from pipeline.plan import Inputs, LabelsLike
from pipeline.recordings import PathLike
from pipeline.store import open_finished
from pipeline.windows import compute_features, read_windows, why_unreadable

__all__ = ["Batches", "stream"]

Array = npt.NDArray[Any]
Batch = tuple[Array, Array | None]
AHEAD = 2  # batches read while the caller works
SINGLES = 64  # windows read at a time where they are given one by one


class Batches:
    """The batches of a store, ``(X, y)`` each.

    Sized, indexable, and iterable as often as one likes: ``len(batches)``,
    ``batches[i]``, ``for X, y in batches``. While iterating, the next batches
    are read as the caller works on one.

    Parameters
    ----------
    path : path
        A store that `extract` has finished.
    batch_size : int or None
        Windows in a batch; None gives single windows, without that axis.
    shuffle : bool
        A random order of all windows, the same for the same seed and epoch.
    seed : int
        Of the order.
    drop_last : bool
        Leave out the last batch if it is not full.

    Attributes
    ----------
    valid : numpy.ndarray of bool, shape (window,)
        False for windows whose audio could not be read: their X is the
        feature's floor.
    classes : list of str or None
        Names of the classes that labels are of.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If it is not finished, or `batch_size` is not allowed.

    Notes
    -----
    X is an array (batch, frequency, time) and y one of (batch,) or (batch,
    class), both the caller's own; y is None where the store has no labels.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_size: int | None = 64,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        _check_size(batch_size)
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must be a whole number from 0")
        self._store = open_finished(path)
        self.path, self.batch_size = os.fspath(path), batch_size
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        valid = self._store.get("valid")
        assert valid is not None
        self.valid = valid
        self._label = self._store.get("label")
        names = self._store.get("class")
        self.classes = None if names is None else [str(name) for name in names]
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch: shuffled anew, and the same every time."""
        n = len(self.valid)
        order = np.arange(n)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(n)
        self._order = order

    def __len__(self) -> int:
        size = self.batch_size or 1
        return len(self._order) // size if self.drop_last else -(-len(self._order) // size)

    def windows(self, i: int) -> npt.NDArray[np.int64]:
        """Numbers of the windows in batch `i`, in their order."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        size = self.batch_size or 1
        start = i % len(self) * size
        return self._order[start : start + size]

    def __getitem__(self, i: int) -> Batch:
        X, y = self._read(self.windows(i))
        if self.batch_size is None:
            return X[0], None if y is None else y[0]
        return X, y

    def __iter__(self) -> Iterator[Batch]:
        size = self.batch_size or SINGLES
        last = len(self) * (self.batch_size or 1)
        parts = (
            self._order[a : min(a + size, last)]
            for a in range(0, min(last, len(self._order)), size)
        )
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for part in parts:
                    waiting.append(pool.submit(self._read, part))
                    if len(waiting) > AHEAD:
                        yield from self._split(waiting.popleft().result())
                while waiting:
                    yield from self._split(waiting.popleft().result())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _split(self, batch: Batch) -> Iterator[Batch]:
        if self.batch_size is not None:
            yield batch
            return
        X, y = batch
        for i, x in enumerate(X):
            yield x.copy(), None if y is None else y[i]

    def _read(self, windows: npt.NDArray[np.int64]) -> Batch:
        try:
            X = self._store.read(windows)
        except (OSError, ValueError) as error:
            raise self._complaint(self._damaged(windows), f"is damaged: {error}") from None
        missing = np.isnan(X.reshape(len(X), -1)[:, 0])
        if missing.any():  # what is stored is finite: this is what was never written
            raise self._complaint(int(windows[missing][0]), "is missing")
        return X, None if self._label is None else self._label[windows]

    def _damaged(self, windows: npt.NDArray[np.int64]) -> int:
        """The first of the windows that cannot be read."""
        for window in windows:
            try:
                self._store.read(window[None])
            except (OSError, ValueError):
                return int(window)
        return int(windows[0])  # it could be read this time

    def _complaint(self, window: int, what: str) -> OSError:
        file = self._store.locate(self._store.file_of(window))
        return OSError(
            f"{self.path}: window {window}, in {file}, {what}; verify --repair and extract again "
            f"compute it anew"
        )


def stream(
    sources: PathLike | Iterable[PathLike],
    features: Feature = Spectrogram(),  # noqa: B008 - it is frozen
    labels: LabelsLike = None,
    batch_size: int | None = 64,
    *,
    threads: int | None = None,
    **settings: Any,
) -> Iterator[Batch]:
    """Batches of features, computed on all cores while the caller works.

    Parameters
    ----------
    sources, features, labels, **settings
        As for `extract`.
    batch_size : int or None
        Windows in a batch; None gives single windows, without that axis.
    threads : int, optional
        How many compute; one a core if not given.

    Returns
    -------
    iterator of (X, y)
        In the order of the windows, as `Batches` gives them.

    Raises
    ------
    ValueError, OSError
        At once, if the inputs or the settings will not do. With
        ``on_error="stop"`` an OSError where audio cannot be read; otherwise a
        RuntimeWarning, and X is the feature's floor there.
    """
    _check_size(batch_size)
    checked = Settings.from_mapping(settings)
    inputs = Inputs.find(sources, features, labels, checked)
    for path, reason in inputs.recordings.unreadable:
        _complain(f"{path}: {reason}", checked)
    return _batches(inputs, checked, batch_size, threads or len(os.sched_getaffinity(0)))


def _batches(
    inputs: Inputs, settings: Settings, batch_size: int | None, threads: int
) -> Iterator[Batch]:
    n, size = len(inputs.grid), batch_size or 1
    dtype = np.dtype(settings.dtype)
    step = -(-max(size, 16) // size) * size  # whole batches, enough to be worth a thread's while

    def compute(start: int) -> tuple[Array, list[str]]:
        grid, used = inputs.grid[start : start + step].detached()
        recordings = inputs.recordings[used]
        audio = read_windows(recordings, grid)
        bad = np.flatnonzero(np.isnan(audio[:, 0]))
        problems = [why_unreadable(recordings, grid, int(bad[0]))] if len(bad) else []
        return compute_features(inputs.feature, audio, grid.locate()[2], dtype), problems

    starts = iter(range(0, n, step))
    waiting: deque[tuple[int, Future[tuple[Array, list[str]]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="stream")
    try:
        with one_blas_thread():
            while True:
                while len(waiting) <= threads and (start := next(starts, None)) is not None:
                    waiting.append((start, pool.submit(compute, start)))
                if not waiting:
                    return
                start, future = waiting.popleft()
                X, problems = future.result()
                for problem in problems:
                    _complain(problem, settings)
                labels = inputs.labels
                y = None if labels is None else labels.values[start : start + len(X)]
                for a in range(0, len(X), size):
                    part = a if batch_size is None else slice(a, a + size)
                    yield X[part].copy(), None if y is None else y[part].copy()
    finally:
        pool.shutdown(cancel_futures=True)


def _check_size(batch_size: int | None) -> None:
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"batch_size is {batch_size}; it must be a whole number of windows above 0, or None"
        )


def _complain(problem: str, settings: Settings) -> None:
    if settings.on_error == "stop":
        raise OSError(f"{problem}; give on_error='mask' to go on without it")
    warnings.warn(f"{problem}; masked", RuntimeWarning, stacklevel=3)
