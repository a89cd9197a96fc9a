"""Summary: what a notebook shows of batches; it reads small variables, and no features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.amounts import size
from pipeline.html import Section, Table
from pipeline.labels import countable
from pipeline.text import counted
from pipeline.training.order import Indices
from pipeline.training.sources import Source

Array = npt.NDArray[Any]
VALUES = 20  # of labels that are no classes, which are told apart


class Looped(Protocol):
    """Batches, as far as a summary tells of them."""

    batch_size: int | None
    shuffle: bool
    seed: int
    mix: int | None
    rank: int
    world_size: int
    path: str
    valid: npt.NDArray[np.bool_]
    classes: list[str] | None

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Summary:
    """What is told of batches."""

    batches: Looped
    source: Source
    selected: Indices | None  # numbers of the windows that come; None: all
    X: Array  # of no windows
    drawn: bool  # by weights, with replacement
    options: dict[str, str | None]  # others, in words

    @property
    def n_windows(self) -> int:
        """How many windows there are to come."""
        return len(self.batches.valid) if self.selected is None else len(self.selected)

    def line(self) -> str:
        """The batches in one line."""
        return f"{self.batches.path}, {self._batches()}, X {_kind(self.X, self._size())}"

    def sections(self) -> Iterator[Section]:
        """Facts, axes and classes."""
        batches, y = self.batches, self.source.labels(np.empty(0, np.int64))
        name, units = self.source.what()
        bad = self._n_windows_of(~batches.valid)
        unit = "" if units == "1" else f" ({units})"
        chosen = "" if self.selected is None else f" of {len(batches.valid):,}"
        yield {
            "X": f"{_kind(self.X, self._size())}, {name}{unit}",
            "y": "none" if y is None else _kind(y, self._size()),
            "batches": self._batches(),
            "windows": f"{self.n_windows:,}{chosen}{f', {bad:,} masked' if bad else ''}",
            "ranks": self._rank(),
            "order": self._order(),
            **self.options,
            "split": self._split(),
            "memory": f"{size(self._bytes(y))} a batch",
            "path": batches.path,
        }
        axes = [
            (axis.name, n, f"{axis.values[0]:g}", f"{axis.values[-1]:g}", axis.units)
            for axis, n in zip(self.source.axes(), self.X.shape[1:], strict=True)
        ]
        if axes:
            yield Table("Axes", ("name", "length", "from", "to", "units"), axes, unfolded=True)
        if y is not None:
            yield from self._labels(y)

    def _size(self) -> tuple[int, ...]:
        size = self.batches.batch_size
        return () if size is None else (min(size, max(1, self.n_windows)),)

    def _batches(self) -> str:
        n, size = len(self.batches), self.batches.batch_size
        if size is None:
            return counted(n, "single window")
        return f"{n:,} batch{'es' * (n != 1)} of {counted(size, 'window')}"

    def _rank(self) -> str | None:
        rank, size = self.batches.rank, self.batches.world_size
        return f"rank {rank} of {size}" if size > 1 else None

    def _order(self) -> str:
        seed, mix = f", seed {self.batches.seed}", self.batches.mix
        if self.drawn:
            return f"drawn with replacement, by weights{seed}"
        if not self.batches.shuffle:
            return "as they are numbered"
        return f"shuffled{'' if mix is None else f', {mix} shards at a time'}{seed}"

    def _n_windows_of(self, mask: npt.NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask if self.selected is None else mask[self.selected]))

    def _bytes(self, y: Array | None) -> int:
        arrays = (item for item in (self.X, y) if item is not None)
        return sum(item.itemsize * prod((*self._size(), *item.shape[1:])) for item in arrays)

    def _split(self) -> str | None:
        if not countable((self.n_windows,)):
            return None
        parts = self.source.parts(self._windows())
        return ", ".join(f"{name} {n:,}" for name, n in parts.items() if n) or None

    def _windows(self) -> Indices:
        return np.arange(self.n_windows) if self.selected is None else self.selected

    def _labels(self, y: Array) -> Iterator[Table]:
        """How many windows have each class or value, where there are not too many to look at."""
        classes = self.batches.classes
        if not countable((self.n_windows, *y.shape[1:])):
            if classes is not None:
                yield Table("Classes", ("name",), [(name,) for name in classes])
            return
        labels, known = (of(self._windows()) for of in (self.source.labels, self.source.known))
        assert labels is not None
        if labels.ndim == 1:
            yield _values(labels, classes)
            return
        present = (labels != 0).reshape(*labels.shape[:2], -1).any(axis=2).sum(axis=0)
        unknown = np.zeros_like(present) if known is None else (~known).sum(axis=0)
        names = classes or [*map(str, range(len(present)))]
        rows = [
            (names[i], int(present[i]), int(unknown[i]))
            for i in np.argsort(-present, kind="stable")
        ]
        yield Table("Classes", ("name", "windows", "unknown"), rows, unfolded=True)


def _values(labels: Array, classes: list[str] | None) -> Table:
    values, counts = np.unique(labels, return_counts=True)
    if len(values) > VALUES and classes is None:
        rows: list[Any] = [(f"{values[0]:g} to {values[-1]:g}", len(labels))]
        return Table("Labels", ("value", "windows"), rows, unfolded=True)
    order = np.argsort(-counts, kind="stable")
    names = values if classes is None else np.array(classes, object)[values]
    rows = [(str(names[i]), int(counts[i])) for i in order]
    return Table("Labels", ("value", "windows"), rows, unfolded=True)


def _kind(values: Array, size: tuple[int, ...]) -> str:
    """The shape and dtype of a batch of so many windows."""
    return f"{(*size, *values.shape[1:])} {values.dtype}"
