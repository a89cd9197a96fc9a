"""Batches: what a training loop takes from a store."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import tee
from math import inf, prod
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.checks import whole
from pipeline.process import Recycled, cores, keep_freed_memory
from pipeline.store import Store, open_finished
from pipeline.training.normalization import Normalization
from pipeline.training.order import Indices, Order
from pipeline.training.stored_labels import stored_labels

Array = npt.NDArray[Any]
Batch = tuple[Any, ...]  # X and y, which may be None; and what was annotated, if asked for
PREFETCH_BYTES = 64 * 1024**2
# Batches are read together up to so many bytes and windows, and so many times a thread ahead:
# to read takes as long for a few small windows as for one, and a caller waits for the first.
READ_BYTES, READ_WINDOWS = 1 << 22, 1 << 10
AHEAD = 8


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
        A random order of all windows, the same for the same seed and epoch on
        every machine.
    seed : int
        Of the order.
    drop_last : bool
        Leave out the last batch if it is not full.
    mix : int, optional
        With `shuffle`, for slow or remote disks: shards are read whole, each
        once, in a random order, and the windows of `mix` shards at a time are
        shuffled among each other. A window may then come anywhere in the
        order, but those of a shard come no further apart than the windows of
        `mix` shards. If not given, each window is read by itself, and all are
        shuffled.
    normalize : bool
        Each value less the mean of its row, in units of that row's standard
        deviation, as `statistics` has stored them; 1 in place of a deviation
        of 0. X is float32 then, whatever the store's dtype.
    annotated : bool
        Each batch is ``(X, y, annotated)``: where somebody looked, and was
        sure, which y is worth learning from.
    prefetch_bytes : int
        The most to read ahead while the caller works; at least one batch, or,
        with `mix`, the next shards to be mixed.

    Attributes
    ----------
    valid : numpy.ndarray of bool, shape (window,)
        False for windows whose audio could not be read: their X is the
        feature's floor.
    annotated : numpy.ndarray of bool, shape (window, class), or None
        False where nobody looked, or was sure: y is 0 there. None where labels
        are of every window.
    classes : list of str or None
        Names of the classes that labels are of.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If it is not finished, or `batch_size` is not allowed, or `normalize`
        asks for what `statistics` has not computed yet.

    Notes
    -----
    X is an array (batch, frequency, time) and y one of (batch,), (batch, class)
    or (batch, class, time), both the caller's own; y is None where the store
    has no labels.
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
        normalize: bool = False,
        annotated: bool = False,
        prefetch_bytes: int = PREFETCH_BYTES,
    ) -> None:
        self.batch_size = check_batch_size(batch_size)
        self.shuffle, self.drop_last = shuffle, drop_last
        self.seed = whole("seed", seed, 0, "from 0")
        what = "of shards above 0, and goes with shuffle"
        self.mix = None if mix is None else whole("mix", mix, 1 if shuffle else inf, what)
        self.prefetch_bytes = whole("prefetch_bytes", prefetch_bytes, 0, "of bytes from 0")
        self._store, self.path = open_finished(path), os.fspath(path)
        self.valid = self._store.coordinate("valid")
        self._with_annotated = annotated
        labels = self._store.together(lambda: stored_labels(self._store))
        self._label, self._annotated, self.classes = labels
        self._normalization = Normalization.of(self._store) if normalize else None
        self._memory = Recycled()
        self.set_epoch(0)

    @property
    def annotated(self) -> Array | None:  # numpydoc ignore=GL08
        return None if self._annotated is None else self._annotated.values

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch: shuffled anew, and the same every time.

        A loop that has begun keeps the order that it began with.
        """
        epoch = whole("epoch", epoch, 0, "from 0")
        shard = 1 if self.mix is None else self._store.shard
        self._order = Order(len(self.valid), self.shuffle, self.seed, epoch, self.mix, shard)

    def __len__(self) -> int:
        size = self.batch_size or 1
        return len(self._order) // size if self.drop_last else -(-len(self._order) // size)

    def windows(self, i: int) -> Indices:
        """Numbers of the windows in batch `i`, in their order."""
        try:
            i = index(i)
        except TypeError as error:
            raise TypeError(
                f"a batch is asked for by {i!r}; pass its number, one batch at a time"
            ) from error
        if not -len(self) <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        size = self.batch_size or 1
        start = i % len(self) * size
        return self._order[start : start + size]

    def __getitem__(self, i: int) -> Batch:
        return next(split(self._read(self.windows(i)), self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        return self._iterate(self._order, min(len(self) * (self.batch_size or 1), len(self._order)))

    def _iterate(self, order: Order, last: int) -> Iterator[Batch]:
        """The batches of an order, as far as they are wanted, up to a place in it."""
        keep_freed_memory()
        size, threads = self.batch_size, cores()
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
            try:
                read = partial(self._ahead, pool, AHEAD * threads)
                spans = _spans(last, self._windows_of_a_read())
                plain = read(order[a:b] for a, b in spans)
                for batch in plain if self.mix is None else self._mixed(read, order, spans):
                    yield from split(batch, size)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _windows_of_a_read(self) -> int:
        """Windows that are read together: those of as many small batches as is fast."""
        size = self.batch_size or 1
        none = self._store.read(np.empty(0, np.int64))
        n_bytes = size * none.itemsize * prod(none.shape[1:])
        most = min(READ_BYTES, self.prefetch_bytes)
        return size * max(1, min(most // n_bytes, READ_WINDOWS // size))

    def _ahead(
        self, pool: ThreadPoolExecutor, most: int, wanted: Iterable[Indices]
    ) -> Iterator[Batch]:
        """What is stored of windows; the next are read as the caller works."""
        waiting: deque[Future[Batch]] = deque()
        ahead = 1
        for windows in wanted:
            waiting.append(pool.submit(self._read, windows, self._memory.empty))
            if len(waiting) > ahead:
                batch = waiting.popleft().result()
                ahead = max(1, min(self.prefetch_bytes // batch[0].nbytes, most))
                yield batch
        while waiting:
            yield waiting.popleft().result()

    def _mixed(
        self,
        read: Callable[[Iterable[Indices]], Iterator[Batch]],
        order: Order,
        spans: Iterable[tuple[int, int]],
    ) -> Iterator[Batch]:
        """The same, where each mixture of shards is read at once."""
        wanted, mixtures = tee(order[a:b] for a, b in order.mixtures())
        whole = zip(mixtures, read(map(np.sort, wanted)), strict=True)
        mixture = rows = np.empty(0, np.int64)
        for a, b in spans:
            pieces, windows = [], []
            while a < b:
                if not len(rows):
                    mixture, (X, *_) = next(whole)
                    rows = np.searchsorted(np.sort(mixture), mixture)
                pieces.append(X[rows[: b - a]])
                windows.append(mixture[: b - a])
                mixture, rows = mixture[b - a :], rows[b - a :]
                a += len(pieces[-1])
            yield np.concatenate(pieces), *self._labels(np.concatenate(windows))

    def _read(self, windows: Indices, empty: Callable[..., Array] = np.empty) -> Batch:
        X = read_features(self._store, windows, empty)
        if self._normalization is not None:
            X = self._normalization.apply(X, empty)
        return X, *self._labels(windows)

    def _labels(self, windows: Indices) -> tuple[Array | None, ...]:
        y = None if self._label is None else self._label[windows]
        if not self._with_annotated:
            return (y,)
        if self._annotated is not None:
            return y, self._annotated[windows]
        return y, None if y is None else np.ones(y.shape, np.bool_)


def read_features(
    store: Store, windows: Indices, empty: Callable[..., Array] = np.empty
) -> npt.NDArray[np.floating[Any]]:
    """The features of windows of a finished store, or an OSError that names what is damaged."""
    try:
        stored = store.read(windows, empty)
    except (OSError, ValueError) as error:
        _check_same_job(store, error)
        raise _complaint(store, _damaged(store, windows), f"is damaged: {error}") from error
    missing = store.encoding.is_missing(stored)
    if missing.any():
        raise _complaint(store, int(windows[missing][0]), "is missing")
    return store.encoding.decode(stored)


def _check_same_job(store: Store, error: Exception) -> None:
    """Say so if the store is no longer that which was opened: then nothing is damaged."""
    try:
        if store.job is not None:
            store.job.check()
    except OSError:
        raise OSError(
            f"{store.path} was removed, or another job has taken its place, since it was opened; "
            f"open it again"
        ) from error


def _damaged(store: Store, windows: Indices) -> int:
    """The first of the windows that cannot be read; the first of all if they can, this time."""
    for window in windows:
        try:
            store.read(window[None])
        except (OSError, ValueError):
            return int(window)
    return int(windows[0])


def _complaint(store: Store, window: int, what: str) -> OSError:
    file = store.locate(store.file_of(window))
    return OSError(
        f"{store.path}: window {window}, in {file}, {what}; verify --repair and extract again "
        f"compute it anew"
    )


def _spans(stop: int, length: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + length, stop)) for start in range(0, stop, length))


def split(batch: Batch, batch_size: int | None) -> Iterator[Batch]:
    """Batches out of several at once, or single windows; copies, so that none keeps the others."""
    n, size = len(batch[0]), batch_size or 1
    if n <= size:
        yield batch if batch_size else _part(batch, 0)
        return
    for a in range(0, n, size):
        part = slice(a, a + size) if batch_size else a
        yield tuple(item if item is None else item.copy() for item in _part(batch, part))


def _part(batch: Batch, part: slice | int) -> Batch:
    return tuple(None if item is None else item[part] for item in batch)


def check_batch_size(batch_size: int | None) -> int | None:
    """A number of windows, or None; ValueError for all else."""
    what = "of windows above 0, or None"
    return None if batch_size is None else whole("batch_size", batch_size, 1, what)
