"""Batches: what a training loop takes from windows that are stored, or computed on the way."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from math import inf
from operator import index
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
import numpy.typing as npt

from pipeline.checks import one_of, whole
from pipeline.features import array_digest
from pipeline.html import Section, Shown
from pipeline.process import Recycled, aligned, cores, keep_freed_memory
from pipeline.store import open_finished
from pipeline.training.augmentation import Augment, augmented
from pipeline.training.normalization import Normalization
from pipeline.training.order import Indices, Order, Uneven
from pipeline.training.reading import Batch, closed_at_exit, mixed, read_ahead, spans, split
from pipeline.training.sources import Empty, Labelled, Source, StoredSource, paths_of, source_of
from pipeline.training.summary import Summary
from pipeline.training.weighting import ClassWeights, Weighted, Weights, WindowWeights, weights_of

if TYPE_CHECKING:
    from pipeline.training.adaptors.grain import GrainBatches
    from pipeline.training.adaptors.jax import JaxBatches
    from pipeline.training.adaptors.keras import KerasBatches
    from pipeline.training.adaptors.torch import TorchBatches, TorchWindows

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]
AnyOrder = Order | Weighted
PREFETCH_BYTES = 64 * 1024**2
# Batches are read together up to so many bytes and windows, and so many times a thread ahead:
# to read takes as long for a few small windows as for one, and a caller waits for the first.
READ_BYTES, READ_WINDOWS = 1 << 22, 1 << 10
AHEAD = 8


class Batches(Shown):
    """The batches of windows that are stored, or computed as they are asked for.

    Sized, indexable, and iterable as often as one likes: ``len(batches)``,
    ``batches[i]``, ``for X, y in batches``. While iterating, the next batches
    are read as the caller works on one.

    Parameters
    ----------
    path : path, or sequence of paths
        A store that `extract` has finished, or several of one feature and the
        same classes, whose windows are numbered one store after the other.
    batch_size : int or None
        Windows in a batch, of each rank; None gives single windows, without
        that axis.
    shuffle : bool
        A random order of all windows, the same for the same seed and epoch on
        every machine.
    seed : int
        Of the order, and of what `augment` draws.
    drop_last : bool
        Leave out the last batch if it is not full.
    mix : int, optional
        With `shuffle`, for slow or remote disks: shards are read whole, each
        once, in a random order, and the windows of `mix` shards at a time are
        shuffled among each other. A window may then come anywhere in the
        order, but those of a shard come no further apart than the windows of
        `mix` shards. If not given, each window is read by itself, and all are
        shuffled; but `stream` takes 8 where a recording of more than 10 s is MP3
        or Ogg, of which all before a window must be decoded, and warns of it.
    windows : array of int or bool, optional
        Numbers of the windows that come, or whether each does; all if not
        given.
    weights : "balanced", mapping of class to number, or array of number, optional
        Windows are drawn with replacement, as many as there are, whatever
        `shuffle` says: first a class, all alike or by its weight, then any of
        its windows. Windows without a label are one more class, "none". Or
        each window by a weight of its own.
    rank, world_size : int
        Of several processes that share the batches, which this is: of each
        batch of all of them it gets every `world_size`-th window.
    uneven : {"pad", "drop", "keep"}
        Where the windows are no multiple of `world_size`: the order begins
        again at its end, or ends before, so that all ranks get as many; or
        some get one less.
    normalize : bool or path
        Each value less the mean of its row, in units of that row's standard
        deviation, as `statistics` has stored them, here or in the store at a
        path; 1 in place of a deviation of 0. X is float32 then, whatever the
        store's dtype.
    annotated : bool
        Each batch is ``(X, y, annotated)``: where somebody looked, and was
        sure, which y is worth learning from.
    decode : bool
        Where whole numbers are stored, the values that they are codes of, as
        float32; else the codes. `encoding` says which values they are of.
    augment : callable, optional
        Called with X and y of each window, and a `numpy.random.Generator` that
        is known by seed, epoch and window, and gives X and y in their place.
    prefetch_bytes : int
        The most to read ahead while the caller works; at least one batch, or,
        with `mix`, the next shards to be mixed.

    Attributes
    ----------
    valid : numpy.ndarray of bool, shape (window,)
        False for windows whose audio could not be read: their X is the
        feature's floor. Of windows that are computed, as far as is known.
    annotated : numpy.ndarray of bool, shape (window, class), or None
        False where nobody looked, or was sure: y is 0 there. None where labels
        are of every window.
    classes : list of str or None
        Names of the classes that labels are of.
    encoding : dict
        Of whole numbers ``scale_factor``, ``add_offset`` and ``_FillValue``: a
        value is code times factor plus offset. Empty where values are stored.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If it is not finished, or `batch_size` or another value is not allowed,
        or several stores do not fit each other, or `normalize` asks for what
        `statistics` has not computed yet.

    Notes
    -----
    X is an array (batch, frequency, time) and y one of (batch,), (batch, class)
    or (batch, class, time), both the caller's own; y is None where there are no
    labels. The order of an epoch follows from seed and epoch alone: with the
    same settings, a store, several and `stream` give the same bits.
    """

    def __init__(
        self,
        path: PathLike | Sequence[PathLike] | Source,
        batch_size: int | None = 64,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        *,
        mix: int | None = None,
        windows: npt.ArrayLike | None = None,
        weights: Weights | None = None,
        rank: int = 0,
        world_size: int = 1,
        uneven: Uneven = "pad",
        normalize: bool | PathLike = False,
        annotated: bool = False,
        decode: bool = True,
        augment: Augment | None = None,
        prefetch_bytes: int = PREFETCH_BYTES,
    ) -> None:
        self.batch_size = check_batch_size(batch_size)
        self.shuffle, self.drop_last = shuffle, drop_last
        self.seed = whole("seed", seed, 0, "from 0")
        what = "of shards above 0, and goes with shuffle"
        mix = None if mix is None else whole("mix", mix, 1 if shuffle else inf, what)
        self.rank, self.world_size = _checked_rank(rank, world_size)
        one_of("uneven", uneven, get_args(Uneven))
        self.uneven: Uneven = uneven
        self.prefetch_bytes = whole("prefetch_bytes", prefetch_bytes, 0, "of bytes from 0")
        self._source, self.stores = source_of(path), paths_of(path)
        self.mix = self._source.mix if shuffle and mix is None and weights is None else mix
        self.path, self.valid = self._source.path, self._source.valid
        self.classes = self._source.classes
        self.encoding = self._source.encoding.attributes
        self._with_annotated, self._augment, self._decode = annotated, augment, decode
        self._windows = None if windows is None else _checked_windows(windows, len(self.valid))
        self._drawn = self._weights_of(weights)
        if normalize is not False and not decode:
            raise ValueError("normalize goes with values, not with their codes; leave out decode")
        self._normalization = _normalization_of(self._source, normalize)
        self._memory = Recycled()
        self._epoch, self._start, self._samples = 0, 0, 0
        self._order = self._order_of(0)

    @property
    def annotated(self) -> Array | None:  # numpydoc ignore=GL08
        return self._source.annotated

    def _weights_of(self, weights: Weights | None) -> ClassWeights | WindowWeights | None:
        if weights is None:
            return None
        if self.mix is not None:
            raise ValueError("weights goes without mix; leave one of them out")
        labels = Labelled(self._source)
        return weights_of(weights, labels, len(self.valid), self._windows, self.classes)

    def _order_of(self, epoch: int) -> AnyOrder:
        ranks = self.rank, self.world_size, self.uneven
        if self._drawn is not None:
            count = len(self.valid) if self._windows is None else len(self._windows)
            return Weighted(self._drawn, count, self.seed, epoch, *ranks)
        shard = 1 if self.mix is None else self._source.shard
        return Order(
            *(len(self.valid), self.shuffle, self.seed, epoch, self.mix, shard, self._windows),
            *ranks,
        )

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch: shuffled anew, and the same every time.

        A loop that has begun keeps the order that it began with. The place that
        `load_state_dict` has set is kept if it is one of this epoch.
        """
        epoch = whole("epoch", epoch, 0, "from 0")
        if epoch != self._epoch:
            self._epoch, self._start, self._samples = epoch, 0, 0
            self._order = self._order_of(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The place that the last loop is at, between two batches, as plain values.

        It is that of all ranks, so any rank's will do for all of them, and for
        any `world_size` if the batches of all ranks together are as large.
        """
        return {
            **{"seed": self.seed, "epoch": self._epoch, "samples": self._samples},
            "fingerprint": self._fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next loop go on at the place of `state_dict`, to the same bits as without.

        A ValueError if it is a place in other windows, or in another order.
        """
        try:
            seed, epoch, samples, of = (
                state[name] for name in ("seed", "epoch", "samples", "fingerprint")
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the state is {state!r:.80}; pass what state_dict gave") from error
        if (seed, of) != (self.seed, self._fingerprint):
            raise ValueError(
                "the state is of other windows, or of another order; pass the same stores, seed, "
                "shuffle, mix and windows as were used then"
            )
        self.set_epoch(epoch)
        total = self._stop
        self._start = self._samples = whole("samples", samples, 0, f"up to {total}", total)

    def state_at(self, i: int) -> dict[str, Any]:
        """The place before batch `i` of this epoch, as `state_dict` has it."""
        return {**self.state_dict(), "samples": min(i * self._step, self._stop)}

    @property
    def selected(self) -> Indices:
        """Numbers of the windows that come, in their order without shuffle."""
        return np.arange(len(self.valid)) if self._windows is None else self._windows

    def of_rank(self, rank: int, world_size: int) -> Self:
        """The same batches, of one of several processes."""
        made = copy.copy(self)
        made.rank, made.world_size = _checked_rank(rank, world_size)
        made._memory, made._order = Recycled(), made._order_of(made._epoch)
        return made

    def to_torch(self, map_style: bool = False) -> TorchBatches | TorchWindows:
        """A data set of tensors for PyTorch's DataLoader, whose workers and ranks share them.

        Pass it with ``batch_size=None``: it gives whole batches. Without workers it is usually
        fastest, as threads read ahead; with `mix`, workers read batch by batch. With `map_style`,
        one of single windows, of which a list of numbers is one read, for samplers of one's own.
        """
        from pipeline.training.adaptors.torch import to_torch

        return to_torch(self, map_style)

    def to_keras(self) -> KerasBatches:
        """A `keras.utils.PyDataset` of the batches; pass `fit` ``shuffle=False`` to keep theirs.

        `fit` begins with the first batch of an epoch, as it asks for batches by number. To go on in
        the middle, pass what is left, ``for X, y in batches``, to `train_on_batch`; then
        `set_epoch` to the next, which is the `initial_epoch` of `fit`.
        """
        from pipeline.training.adaptors.keras import to_keras

        return to_keras(self)

    def to_jax(self, device: Any = None, ahead: int = 2) -> JaxBatches:
        """The batches as arrays of JAX, of which so many are put on a device ahead."""
        from pipeline.training.adaptors.jax import to_jax

        return to_jax(self, device, ahead)

    def to_grain(self) -> GrainBatches:
        """The batches, as a source that Grain reads at random."""
        from pipeline.training.adaptors.grain import to_grain

        return to_grain(self)

    def to_tensorflow(self) -> Any:
        """A `tf.data.Dataset` of the batches."""
        from pipeline.training.adaptors.tensorflow import to_tensorflow

        return to_tensorflow(self)

    @cached_property
    def _fingerprint(self) -> str:
        windows = None if self._windows is None else array_digest(self._windows)
        drawn = None if self._drawn is None else self._drawn.digest()
        order = self.shuffle, self.mix, windows, drawn
        what = [self._source.identity(), *map(str, order)]
        return hashlib.sha256(" ".join(what).encode()).hexdigest()[:32]

    @property
    def _step(self) -> int:
        """Places in the order that a batch of all ranks takes."""
        return (self.batch_size or 1) * self.world_size

    @property
    def _stop(self) -> int:
        """The place that the last batch ends before."""
        return min(len(self) * self._step, len(self._order))

    def _summary(self) -> Summary:
        X = self._source.read(np.empty(0, np.int64), decode=self._decode)
        options = {
            "epoch": f"{self._epoch:,}" if self._epoch else None,
            "last batch": "left out if not full" if self.drop_last else None,
            "normalize": None if self._normalization is None else "by the mean and std of each row",
            "augment": None
            if self._augment is None
            else f"{self._augment!r}; X and y are as before",
        }
        if self._normalization is not None:
            X = self._normalization.apply(X, np.empty)
        return Summary(self, self._source, self._windows, X, self._drawn is not None, options)

    def _line(self) -> str:
        return self._summary().line()

    def _sections(self) -> Iterator[Section]:
        return self._summary().sections()

    def __len__(self) -> int:
        n = len(self._order)
        return n // self._step if self.drop_last else -(-n // self._step)

    def windows(self, i: int) -> Indices:
        """Numbers of the windows in batch `i`, in their order."""
        return self._order.at(self._places(i))

    def _places(self, i: int) -> Indices:
        """The places in the order that are in batch `i`."""
        try:
            i = index(i)
        except TypeError as error:
            raise TypeError(
                f"a batch is asked for by {i!r}; pass its number, one batch at a time"
            ) from error
        if not -len(self) <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        start = i % len(self) * self._step
        return self._order.places(start, min(start + self._step, len(self._order)))

    def __getitem__(self, i: int) -> Batch:
        batch = next(split(self._read(self._order, self._places(i)), self.batch_size))
        self._source.tell()
        return batch

    def read(self, windows: npt.ArrayLike) -> Batch:
        """A batch of any windows, by their numbers, in the order in which they are asked for."""
        numbers = _checked_windows(windows, len(self.valid))
        batch = self._of_windows(numbers, self._order)
        self._source.tell()
        return batch

    def __iter__(self) -> Generator[Batch, None, None]:
        start, self._start = self._start, 0
        self._samples = start
        return closed_at_exit(self._iterate(self._order, start, self._stop))

    def _iterate(self, order: AnyOrder, start: int, stop: int) -> Generator[Batch, None, None]:
        """The batches of an order, from one place in it to another."""
        keep_freed_memory()
        size, step, threads = self.batch_size, self._step, self._source.threads or cores()
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
            try:
                one = partial(self._read, order, empty=self._memory.empty)
                read = partial(read_ahead, pool, one, AHEAD * threads, self.prefetch_bytes)
                parts = spans(start, stop, self._windows_of_a_read() * self.world_size)
                found = read(order.places(a, b) for a, b in parts)
                if isinstance(order, Order) and order.mix is not None:
                    found = mixed(read, order, parts, start, stop)
                for batches in found:
                    self._source.tell()
                    for batch in split(batches, size):
                        start = min(start + step, stop)
                        if order.epoch == self._epoch:
                            self._samples = start
                        yield batch
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _windows_of_a_read(self) -> int:
        """Windows that are read together: those of as many small batches as is fast."""
        size = self.batch_size or 1
        n_bytes = self._source.window_bytes
        if self._decode and (encoding := self._source.encoding).coded:
            n_bytes *= 4 // np.dtype(encoding.dtype).itemsize
        most = min(READ_BYTES, self.prefetch_bytes) // (size * n_bytes)
        least = -(-self._source.together // size)
        return size * max(1, least, min(most, READ_WINDOWS // size))

    def _read(self, order: AnyOrder, places: Indices, empty: Empty = aligned) -> Batch:
        # What is drawn several times is changed otherwise each time.
        keys = places if isinstance(order, Weighted) else None
        return self._of_windows(order.at(places), order, empty, keys)

    def _of_windows(
        self,
        windows: Indices,
        order: AnyOrder,
        empty: Empty = aligned,
        places: Indices | None = None,
    ) -> Batch:
        X = self._source.read(windows, empty, self._decode)
        if self._normalization is not None:
            X = self._normalization.apply(X, empty)
        y = self._source.labels(windows)
        if self._augment is not None:
            keys = windows[:, None] if places is None else np.stack([windows, places], axis=1)
            X, y = augmented(self._augment, X, y, (order.seed, order.epoch), keys)
        if not self._with_annotated:
            return X, y
        known = self._source.known(windows)
        if known is None and y is not None:
            known = np.ones(y.shape, np.bool_)
        return X, y, known


def _checked_rank(rank: int, world_size: int) -> tuple[int, int]:
    size = whole("world_size", world_size, 1, "of processes above 0")
    return whole("rank", rank, 0, "from 0, below world_size", size - 1), size


def _checked_windows(windows: npt.ArrayLike, n: int) -> Indices:
    """Numbers of windows, or those that a mask marks."""
    found = np.asarray(windows)
    if found.dtype == np.bool_ and found.shape == (n,):
        return np.flatnonzero(found)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(
            f"windows is an array of shape {found.shape} and dtype {found.dtype}; pass numbers of "
            f"windows, or a truth value for each of the {n}"
        )
    wrong = (found < 0) | (found >= n)
    if wrong.any():
        raise ValueError(f"windows has {found[wrong][0]}; there are windows 0 to {n - 1}")
    return found.astype(np.int64)


def _normalization_of(source: Source, normalize: bool | PathLike) -> Normalization | None:
    """How the windows of a source are normalized, if they are."""
    if normalize is False:
        return None
    if normalize is not True:
        found = Normalization.of(open_finished(normalize))
    elif isinstance(source, StoredSource):
        found = Normalization.of(source.store)
    else:
        raise ValueError(
            "normalize is true, but the windows are not those of one store; pass the path of a "
            "store whose mean and std are to be taken"
        )
    shape = source.read(np.empty(0, np.int64)).shape[1:]
    try:
        fits = np.broadcast_shapes(found.mean.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"normalize is {normalize!r}, whose mean has shape {found.mean.shape}, but a window "
            f"has shape {shape}; pass a store of the same feature"
        )
    return found


def check_batch_size(batch_size: int | None) -> int | None:
    """A number of windows, or None; ValueError for all else."""
    what = "of windows above 0, or None"
    return None if batch_size is None else whole("batch_size", batch_size, 1, what)
