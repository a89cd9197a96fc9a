"""Variables: those of a store, or of what it would be, to be read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.inputs import Inputs
from pipeline.job import Plan, attrs_of, coordinates_between, variables_of
from pipeline.settings import Settings
from pipeline.store import Variable, open_finished
from pipeline.training import ComputedSource, read_features

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
ReadFeatures = Callable[[Indices], Array]
_telling = Lock()


class Variables(Protocol):
    """What a dataset is made of."""

    described: dict[str, Variable]
    attrs: dict[str, Any]
    read: ReadFeatures  # the values of windows; it may be sent to another process
    shard: int  # windows that are best read together

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Rows start to stop - 1 of a variable that is not of features."""


class StoredVariables:
    """Those of a finished store."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._store = store = open_finished(path)
        self._mark, self.described, self.attrs = store.together(
            lambda: (store.mark(), store.variables(), store.attrs())
        )
        self.read: ReadFeatures = partial(read_features, store)
        self.shard = store.shard

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Rows start to stop - 1 of a variable that is not of features."""
        values = self._store.get(name, start, stop)
        if values is None or self._store.mark() != self._mark:
            raise OSError(
                f"{self._store.path} got other labels or variables since it was opened; open it "
                f"again"
            )
        return values


class ComputedVariables:
    """Those of the store that `extract` would make."""

    def __init__(self, inputs: Inputs, settings: Settings) -> None:
        self._plan = Plan.of(inputs, settings, "", region_is_file=False)
        described = variables_of(self._plan)
        del described["valid"]  # which is known when all was read
        self.described, self.attrs = described, attrs_of(self._plan)
        del self.attrs["created"]
        source = ComputedSource(replace(inputs, labels=None), settings, None)
        self.read: ReadFeatures = partial(_read_computed, source)
        self.shard = self._plan.layout.shard

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Rows start to stop - 1 of a variable that is not of features."""
        labels, values = self._plan.inputs.labels, self.described[name].values
        if values is not None:
            return values[start:stop]
        stop = self._plan.layout.n_windows if stop is None else stop
        if labels is not None and name in labels.block(0, 0):
            return labels.block(start, stop)[name]
        return coordinates_between(self._plan, start, stop)[name]


def _read_computed(source: ComputedSource, windows: Indices) -> Array:
    values = source.read(windows)
    with _telling:  # of what several threads have found
        source.tell()
    return values
