"""Sources of windows for batches: a store, or several, one after the other."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.features import Axis
from pipeline.store import Encoding, Store, open_finished
from pipeline.training.order import Indices
from pipeline.training.stored_labels import stored_labels, stored_parts

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Empty = Callable[..., Array]


class Source(Protocol):
    """Windows by number: their features, labels and what is known of them."""

    path: str
    classes: list[str] | None
    valid: Mask
    threads: int | None  # that read at once; one a core if None
    encoding: Encoding
    together: int  # windows, at least, that are worth a thread's while
    mix: int | None  # shards that are mixed, if it costs much to read windows one by one

    @property
    def shard(self) -> int:
        """How many windows are fastest read together."""

    def read(self, windows: Indices, empty: Empty = np.empty, decode: bool = True) -> Array:
        """Features of windows, in the order asked for, or their codes; an OSError if damaged."""

    def labels(self, windows: Indices) -> Array | None:
        """Y of windows."""

    def known(self, windows: Indices) -> Array | None:
        """Which of y was annotated, if not all."""

    @property
    def annotated(self) -> Array | None:
        """That of all windows."""

    @property
    def window_bytes(self) -> int:
        """Bytes of the features of a window, as they are stored."""

    def what(self) -> tuple[str, str]:
        """What the features are, and their units."""

    def axes(self) -> Sequence[Axis]:
        """The axes of the features of a window."""

    def parts(self, windows: Indices) -> Counter[str]:
        """How many of the windows are in each part of the split that is stored, if one is."""

    def tell(self) -> None:
        """Warn, in the caller's thread, of what was found while windows were read."""

    def identity(self) -> str:
        """What the windows and their features are known by again."""


class StoredSource:
    """The windows of a finished store."""

    threads: int | None = None
    together = 1
    mix: int | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.store, self.path = open_finished(path), os.fspath(path)
        self.encoding = self.store.encoding
        self.valid = self.store.coordinate("valid")
        labels = self.store.together(lambda: stored_labels(self.store))
        self._label, self._annotated, self.classes = labels

    @property
    def shard(self) -> int:
        """How many windows are stored side by side."""
        return self.store.shard

    def read(self, windows: Indices, empty: Empty = np.empty, decode: bool = True) -> Array:
        """Features of windows, or their codes."""
        return read_features(self.store, windows, empty, decode)

    def labels(self, windows: Indices) -> Array | None:
        """Y of windows."""
        return None if self._label is None else self._label[windows]

    def known(self, windows: Indices) -> Array | None:
        """Which of y was annotated, if not all."""
        return None if self._annotated is None else self._annotated[windows]

    @property
    def annotated(self) -> Array | None:
        """That of all windows."""
        return None if self._annotated is None else self._annotated.values

    @property
    def window_bytes(self) -> int:
        """Bytes of the features of a window."""
        none = self.store.read(np.empty(0, np.int64))
        return none.itemsize * prod(none.shape[1:])

    def what(self) -> tuple[str, str]:
        """What the features are, and their units."""
        return str(self.store.attrs()["title"]), self.store.units()

    def axes(self) -> Sequence[Axis]:
        """The axes of the features of a window."""
        axes = self.store.axes().items()
        return [Axis(name, self.store.coordinate(name), units) for name, units in axes]

    def parts(self, windows: Indices) -> Counter[str]:
        """How many of the windows are in each part of the split that is stored, if one is."""
        split = self.store.together(lambda: stored_parts(self.store))
        if split is None:
            return Counter()
        names, numbers = split
        counts = np.bincount(numbers[windows], minlength=len(names))
        return Counter(dict(zip(names, counts.tolist(), strict=True)))

    def tell(self) -> None:
        """There is nothing to warn of."""

    def identity(self) -> str:
        """The fingerprint of its job."""
        return str(self.store.attrs()["fingerprint"])


class JoinedSource:
    """The windows of several stores, one after the other."""

    threads: int | None = None
    together = 1
    mix: int | None = None

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        if not paths:
            raise ValueError("no store is given; pass at least one")
        self._sources = [StoredSource(path) for path in paths]
        first = self._sources[0]
        for other in self._sources[1:]:
            _check_alike(first, other)
        self.path = ", ".join(source.path for source in self._sources)
        self.classes, self.shard, self.encoding = first.classes, first.shard, first.encoding
        self.valid = np.concatenate([source.valid for source in self._sources])
        self._ends = np.cumsum([len(source.valid) for source in self._sources])

    def read(self, windows: Indices, empty: Empty = np.empty, decode: bool = True) -> Array:
        """Features of windows, or their codes."""
        owner = self._owner(windows)
        if len(windows) and (owner == owner[0]).all():
            source = self._sources[int(owner[0])]
            return source.read(windows - self._start(int(owner[0])), empty, decode)
        none = self._sources[0].read(windows[:0], decode=decode)
        result = empty((len(windows), *none.shape[1:]), none.dtype)
        for number, rows in self._parts(owner):
            part = windows[rows] - self._start(number)
            result[rows] = self._sources[number].read(part, decode=decode)
        return result

    def labels(self, windows: Indices) -> Array | None:
        """Y of windows."""
        return self._of_all(windows, lambda source, some: source.labels(some))

    def known(self, windows: Indices) -> Array | None:
        """Which of y was annotated, if not all."""
        return self._of_all(windows, lambda source, some: source.known(some))

    @property
    def annotated(self) -> Array | None:
        """That of all windows."""
        return self.known(np.arange(len(self.valid)))

    @property
    def window_bytes(self) -> int:
        """Bytes of the features of a window."""
        return self._sources[0].window_bytes

    def what(self) -> tuple[str, str]:
        """What the features are, and their units."""
        return self._sources[0].what()

    def axes(self) -> Sequence[Axis]:
        """The axes of the features of a window."""
        return self._sources[0].axes()

    def parts(self, windows: Indices) -> Counter[str]:
        """How many of the windows are in each part of the splits that are stored."""
        found = Counter[str]()
        for number, rows in self._parts(self._owner(windows)):
            found += self._sources[number].parts(windows[rows] - self._start(number))
        return found

    def tell(self) -> None:
        """There is nothing to warn of."""

    def identity(self) -> str:
        """A digest of the fingerprints of their jobs."""
        fingerprints = " ".join(source.identity() for source in self._sources)
        return hashlib.sha256(fingerprints.encode()).hexdigest()

    def _owner(self, windows: Indices) -> npt.NDArray[np.intp]:
        return np.searchsorted(self._ends, windows, side="right")

    def _start(self, number: int) -> int:
        return int(self._ends[number] - len(self._sources[number].valid))

    def _parts(self, owner: npt.NDArray[np.intp]) -> list[tuple[int, npt.NDArray[np.intp]]]:
        return [(number, np.flatnonzero(owner == number)) for number in np.unique(owner).tolist()]

    def _of_all(
        self, windows: Indices, of: Callable[[StoredSource, Indices], Array | None]
    ) -> Array | None:
        first = of(self._sources[0], windows[:0])
        if first is None:
            return None
        result = np.empty((len(windows), *first.shape[1:]), first.dtype)
        for number, rows in self._parts(self._owner(windows)):
            part = of(self._sources[number], windows[rows] - self._start(number))
            assert part is not None
            result[rows] = part
        return result


class Labelled:
    """The labels of a source, by the numbers of windows."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, windows: Indices) -> Array:
        labels = self._source.labels(windows)
        if labels is None:
            raise ValueError("there are no labels, which weights of classes need; pass labels")
        return labels


def paths_of(path: Any) -> list[str | os.PathLike[str]]:
    """The path of a store, or those of several; none of a source that is no store."""
    if isinstance(path, str | os.PathLike):
        return [path]
    return [*path] if isinstance(path, Sequence) else []


def source_of(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Source) -> Source:
    """The windows of a store, of several, or those that are passed."""
    if isinstance(path, str | os.PathLike):
        return StoredSource(path)
    return JoinedSource(path) if isinstance(path, Sequence) else path


def _check_alike(one: StoredSource, other: StoredSource) -> None:
    """Refuse stores whose batches cannot be joined."""
    none = np.empty(0, np.int64)
    for what, mine, theirs in (
        ("axes", _axes(one.store), _axes(other.store)),
        ("dtype", one.store.encoding, other.store.encoding),
        ("feature", one.store.attrs()["feature"], other.store.attrs()["feature"]),
        ("classes", one.classes, other.classes),
        ("labels", _kind(one.labels(none)), _kind(other.labels(none))),
        ("annotation", _kind(one.known(none)), _kind(other.known(none))),
    ):
        if mine != theirs:
            raise ValueError(
                f"{one.path} and {other.path} differ in their {what}; pass stores of one feature "
                f"and the same classes"
            )


def _axes(store: Store) -> dict[str, Any]:
    return {name: store.coordinate(name).tolist() for name in store.axes()}


def _kind(values: Array | None) -> object:
    return None if values is None else (values.shape[1:], values.dtype)


def read_features(
    store: Store, windows: Indices, empty: Empty = np.empty, decode: bool = True
) -> Array:
    """The features of windows of a finished store, or their codes; an OSError names damage."""
    decode = decode and store.encoding.coded
    try:
        stored = store.read(windows, np.empty if decode else empty)
    except (OSError, ValueError) as error:
        _check_same_job(store, error)
        raise _complaint(store, _damaged(store, windows), f"is damaged: {error}") from error
    missing = store.encoding.is_missing(stored)
    if missing.any():
        raise _complaint(store, int(windows[missing][0]), "is missing")
    return store.encoding.decode(stored, empty) if decode else stored


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
