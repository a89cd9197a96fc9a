"""Normalization: windows less the mean, in units of the standard deviation, of a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.kernels import widen, windows_of_a_tile
from pipeline.store import STATISTICS, Store

Array = npt.NDArray[Any]
ALONG = ("time", "sample")  # axes of a feature along which the values of a row lie
LOST = 1e-6  # of a standard deviation, that rounding may take from a mean


def row_axes(store: Store) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the axes on which a row is one place, and where in a window the others are."""
    axes = [*store.axes()]
    along = tuple(i for i, name in enumerate(axes) if name in ALONG)
    return tuple(name for name in axes if name not in ALONG), along


def stored_statistics(store: Store) -> tuple[Array, Array] | None:
    """Mean and standard deviation of the rows of a store, if it has them."""
    mean, std = (store.get(name) for name in STATISTICS)
    return None if mean is None or std is None else (mean, std)


@dataclass(frozen=True, eq=False)
class Normalization:
    """What is taken from each value, and by what it is multiplied.

    Where a mean rounded to float32 is off by more than `LOST`, the rest is added at the end.
    """

    mean: npt.NDArray[np.float32]
    factor: npt.NDArray[np.float32]
    places: tuple[slice | npt.NDArray[np.intp], ...] | None  # of a window, that have a rest
    rest: npt.NDArray[np.float32]

    @classmethod
    def of(cls, store: Store) -> Self:
        """That of a store; a ValueError if it has no statistics."""
        found = stored_statistics(store)
        if found is None:
            raise ValueError(
                f"{store.path} has no mean and std, which normalize=True needs; run "
                f"audio-pipeline statistics {store.path}"
            )
        _, along = row_axes(store)
        mean, std = (np.expand_dims(values, along) for values in found)
        rounded, factor = mean.astype(np.float32), 1 / np.where(std == 0, 1, std)
        rest = (rounded - mean) * factor
        lost = np.abs(rest) > LOST
        rows = np.nonzero(np.atleast_1d(lost))
        places = tuple(slice(None) if i in along else rows[i] for i in range(rest.ndim))
        return cls(
            rounded,
            np.minimum(factor, np.finfo(np.float32).max).astype(np.float32),
            places if lost.any() else None,
            np.asarray(rest[places], np.float32),
        )

    def apply(self, features: Array, empty: Callable[..., Array]) -> Array:
        """Windows normalized: in place if they are float32, else in what `empty` makes."""
        single = features.dtype == np.float32
        result = features if single else empty(features.shape, np.float32)
        step = windows_of_a_tile(features.shape[1:])  # which stay in the cache
        for a in range(0, len(features), step):
            out = result[a : a + step]
            if not single:
                widen(features[a : a + step], out)
            out -= self.mean
            out *= self.factor
            if self.places is not None:
                out[:, *self.places] += self.rest
        return result
