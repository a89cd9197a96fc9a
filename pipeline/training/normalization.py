"""Normalization: windows less the mean, in units of the standard deviation, of a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.kernels import windows_of_a_tile
from pipeline.store import STATISTICS, Store

Array = npt.NDArray[Any]
ALONG = ("time", "sample")  # axes of a feature along which the values of a row lie
LOST = 1e-7  # of a standard deviation, that the mean may lose to rounding


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
    """What is taken from each value, by what it is multiplied, and what is added then, if any."""

    mean: npt.NDArray[np.float32]
    factor: npt.NDArray[np.float32]
    rest: npt.NDArray[np.float32] | None

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
        factor = 1 / np.where(std == 0, 1, std)
        rounded = mean.astype(np.float32)
        rest = (rounded - mean) * factor
        return cls(
            rounded,
            factor.astype(np.float32),
            rest.astype(np.float32) if (np.abs(rest) > LOST).any() else None,
        )

    def apply(self, features: Array, empty: Callable[..., Array]) -> Array:
        """Windows normalized: in place if they are float32, else in what `empty` makes."""
        single = features.dtype == np.float32
        result = features if single else empty(features.shape, np.float32)
        step = windows_of_a_tile(features.shape[1:])  # which stay in the cache
        for a in range(0, len(features), step):
            out = result[a : a + step]
            np.subtract(features[a : a + step], self.mean, out=out, dtype=np.float32)
            out *= self.factor
            if self.rest is not None:
                out += self.rest
        return result
