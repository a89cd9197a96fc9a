"""Batches: what a training loop takes, from a store or computed as it asks."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.blas import one_blas_thread
from pipeline.config import Settings
from pipeline.features import Feature, Spectrogram
from pipeline.memory import Recycled, keep_freed_memory
from pipeline.plan import Inputs, LabelsLike
from pipeline.recordings import PathLike
from pipeline.store import open_finished
from pipeline.windows import compute_features, read_windows, why_unreadable

__all__ = ["Batches", "stream"]

Array = npt.NDArray[Any]
Batch = tuple[Array, Array | None]
Indices = npt.NDArray[np.int64]
PREFETCH_BYTES = 64 * 1024**2
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
    mix : int, optional
        With `shuffle`, for slow or remote disks: shards are read whole, each
        once, in a random order, and the windows of `mix` shards at a time are
        shuffled among each other. A window may then come anywhere in the
        order, but never further from the others of its shard than the windows
        of `mix` shards. If not given, each window is read by itself, and all
        are shuffled.
    prefetch_bytes : int
        How much to read ahead while the caller works; at least one batch, or,
        with `mix`, the next shards to be mixed.

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
        *,
        mix: int | None = None,
        prefetch_bytes: int = PREFETCH_BYTES,
    ) -> None:
        _check_size(batch_size)
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must be a whole number from 0")
        if mix is not None and (mix < 1 or not shuffle):
            raise ValueError(
                f"mix is {mix}; it must be a whole number of shards above 0, and goes with shuffle"
            )
        self._store = open_finished(path)
        self.path, self.batch_size = os.fspath(path), batch_size
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.mix, self.prefetch_bytes = mix, prefetch_bytes
        valid = self._store.get("valid")
        assert valid is not None
        self.valid = valid
        self._label = self._store.get("label")
        names = self._store.get("class")
        self.classes = None if names is None else [str(name) for name in names]
        self._memory = Recycled()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch: shuffled anew, and the same every time."""
        n, rng = len(self.valid), np.random.default_rng([self.seed, epoch])
        if self.mix is None:
            self._order = rng.permutation(n) if self.shuffle else np.arange(n)
            return
        shard = self._store.shard
        shards = rng.permutation(-(-n // shard))
        mixtures = []
        for some in np.split(shards, range(self.mix, len(shards), self.mix)):
            windows = (some[:, None] * shard + np.arange(shard)).ravel()
            mixtures.append(rng.permutation(windows[windows < n]))
        self._mixed_to = np.cumsum([len(mixture) for mixture in mixtures]).tolist()
        self._order = np.concatenate(mixtures)

    def __len__(self) -> int:
        size = self.batch_size or 1
        return len(self._order) // size if self.drop_last else -(-len(self._order) // size)

    def windows(self, i: int) -> Indices:
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
        last = min(len(self) * (self.batch_size or 1), len(self._order))
        ends = [*range(size, last, size), last] if last else []
        keep_freed_memory()
        threads = len(os.sched_getaffinity(0))  # a batch is read by one
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
            try:
                read = self._ahead if self.mix is None else self._mixed
                for batch in read(pool, ends):
                    yield from self._split(batch)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _ahead(
        self, pool: ThreadPoolExecutor, ends: list[int], in_order: bool = False
    ) -> Iterator[Batch]:
        """What stands in the order up to each end; the next are read as the caller works."""
        waiting: deque[Future[Batch]] = deque()
        ahead = 1
        for start, stop in pairwise([0, *ends]):
            windows = self._order[start:stop]
            windows = np.sort(windows) if in_order else windows
            waiting.append(pool.submit(self._read, windows, self._memory.empty))
            if len(waiting) > ahead:
                batch = waiting.popleft().result()
                ahead = max(1, self.prefetch_bytes // batch[0].nbytes)
                yield batch
        while waiting:
            yield waiting.popleft().result()

    def _mixed(self, pool: ThreadPoolExecutor, ends: list[int]) -> Iterator[Batch]:
        """The same, out of shards that are read whole."""
        mixtures = zip(
            pairwise([0, *self._mixed_to]), self._ahead(pool, self._mixed_to, True), strict=True
        )
        stop = 0
        for a, b in pairwise([0, *ends]):
            pieces: list[Array] = []
            while a < b:
                if a == stop:
                    (start, stop), (X, _) = next(mixtures)
                    windows = np.sort(self._order[start:stop])
                pieces.append(X[np.searchsorted(windows, self._order[a : min(b, stop)])])
                a += len(pieces[-1])
            yield np.concatenate(pieces), self._labels(self._order[b - sum(map(len, pieces)) : b])

    def _split(self, batch: Batch) -> Iterator[Batch]:
        if self.batch_size is not None:
            yield batch
            return
        X, y = batch
        for i, x in enumerate(X):
            yield x.copy(), None if y is None else y[i]

    def _read(self, windows: Indices, empty: Callable[..., Array] = np.empty) -> Batch:
        try:
            X = self._store.read(windows, empty)
        except (OSError, ValueError) as error:
            raise self._complaint(self._damaged(windows), f"is damaged: {error}") from None
        missing = np.isnan(X.reshape(len(X), -1)[:, 0])
        if missing.any():  # what is stored is finite: this is what was never written
            raise self._complaint(int(windows[missing][0]), "is missing")
        return X, self._labels(windows)

    def _labels(self, windows: Indices) -> Array | None:
        return None if self._label is None else self._label[windows]

    def _damaged(self, windows: Indices) -> int:
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
        X = compute_features(inputs.feature, audio, grid.locate()[2], dtype, start)
        return X, problems

    starts = iter(range(0, n, step))
    waiting: deque[tuple[int, Future[tuple[Array, list[str]]]]] = deque()
    keep_freed_memory()
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
                if len(X) <= size and batch_size is not None:
                    yield X, None if y is None else y.copy()
                    continue
                for a in range(0, len(X), size):  # copies, so that none keeps all of X
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
