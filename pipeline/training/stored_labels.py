"""Labels of a store: in memory or, where they are of many frames, read when asked for."""

from __future__ import annotations

import json
from collections import OrderedDict
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.store import Store, rows_of_chunk
from pipeline.training.order import Indices

Array = npt.NDArray[Any]
HELD_BYTES = 1 << 28  # of a variable, at most


class StoredRows:
    """Rows of a variable along the windows of a finished store."""

    def __init__(self, store: Store, name: str, none: Array) -> None:
        self._store, self._name, self._none, self._mark = store, name, none, store.mark()
        n_windows = len(store.coordinate("valid"))
        row_bytes = max(1, prod(none.shape[1:]) * none.itemsize)
        self._length = rows_of_chunk((n_windows, *none.shape[1:]), none.dtype)
        self._kept = max(1, HELD_BYTES // (self._length * row_bytes))
        self._all: Array | None = None
        if none.ndim < 3 or n_windows * row_bytes <= HELD_BYTES:
            self._all = store.get(name)
        self._chunks: OrderedDict[int, Array] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def of(cls, store: Store, name: str) -> StoredRows | None:
        """Those of a variable, if the store has it."""
        none = store.get(name, 0, 0)
        return None if none is None else cls(store, name, none)

    @property
    def values(self) -> Array:
        """All of them."""
        found = self._store.get(self._name) if self._all is None else self._all
        assert found is not None, self._name
        return found

    def __getitem__(self, windows: Indices) -> Array:
        if self._all is not None:
            return np.asarray(self._all[windows])
        rows = np.empty((len(windows), *self._none.shape[1:]), self._none.dtype)
        numbers = windows // self._length
        for number in np.unique(numbers).tolist():
            mask = numbers == number
            rows[mask] = self._chunk(number)[windows[mask] - number * self._length]
        return rows

    def _chunk(self, number: int) -> Array:
        with self._lock:
            if number not in self._chunks:
                start = number * self._length
                values = self._store.get(self._name, start, start + self._length)
                if values is None or self._store.mark() != self._mark:
                    raise OSError(
                        f"{self._store.path} was labelled anew since it was opened; open it again"
                    )
                self._chunks[number] = values
                if len(self._chunks) > self._kept:
                    self._chunks.popitem(last=False)
            self._chunks.move_to_end(number)
            return self._chunks[number]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_chunks", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _chunks=OrderedDict(), _lock=Lock())


def stored_labels(store: Store) -> tuple[StoredRows | None, StoredRows | None, list[str] | None]:
    """y, what of it was annotated, and the names of the classes, as far as there are any."""
    label, annotated = (StoredRows.of(store, name) for name in ("label", "annotated"))
    names = store.get("class")
    return label, annotated, None if names is None else [*map(str, names)]


def stored_parts(store: Store) -> tuple[list[str], Array] | None:
    """The parts of the split of a store, if it has one, and the number of each window's."""
    told, numbers = store.attrs().get("split"), store.get("split")
    return None if told is None or numbers is None else ([*json.loads(told)["parts"]], numbers)
