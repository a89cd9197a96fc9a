"""Encoding: how features, float32, become the numbers that are stored."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.features import Feature, assign

Array = npt.NDArray[Any]

ATTRIBUTES = ("scale_factor", "add_offset", "_FillValue")  # of the CF conventions


@dataclass(frozen=True)
class Encoding:
    """How a value is stored, and what is stored where no window was written.

    A float is stored as the nearest number of its dtype. A whole number is the code
    ``round((value - offset) / scale)``; `missing`, the least or the greatest of its
    dtype, is the code of no value.
    """

    dtype: str
    scale: float | None = None
    offset: float = 0.0
    missing: int | None = None  # None: NaN

    @classmethod
    def of(cls, dtype: str, feature: Feature) -> Self:
        """The encoding of a feature that will be stored; the least code is that of no value."""
        if np.dtype(dtype).kind == "f":
            return cls(dtype)
        steps: Mapping[str, float] = getattr(feature, "steps", {})
        return cls(dtype, steps[dtype], missing=int(np.iinfo(dtype).min))

    @classmethod
    def read(cls, dtype: str, attrs: Mapping[str, Any]) -> Self:
        """The encoding of a stored array, by its attributes."""
        if not all(name in attrs for name in ATTRIBUTES):
            return cls(dtype)
        scale, offset, missing = (attrs[name] for name in ATTRIBUTES)
        return cls(dtype, float(scale), float(offset), int(missing))

    @property
    def attributes(self) -> dict[str, Any]:
        """What tells other programs how to decode, as the CF conventions have it."""
        if self.scale is None:
            return {}
        return dict(zip(ATTRIBUTES, (self.scale, self.offset, self.missing), strict=True))

    @property
    def fill_value(self) -> float:
        """What is stored where nothing was written."""
        return math.nan if self.missing is None else self.missing

    def encode(self, values: Array, out: Array) -> None:
        """Write values as they are stored; one that is out of range as inf, or the nearest code."""
        if self.scale is None:
            assign(values, out)
            return
        codes = values.astype(np.float64)
        codes -= self.offset
        codes /= self.scale
        np.rint(codes, out=codes)
        least, greatest = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        low, high = least + (self.missing == least), greatest - (self.missing == greatest)
        np.clip(codes, low, high, out=out, casting="unsafe")

    def decode(self, stored: Array, empty: Callable[..., Array] = np.empty) -> Array:
        """The values of what is stored: floats as they are, else float32, NaN where missing.

        `empty` makes the array.
        """
        if self.scale is None:
            return stored
        values = empty(stored.shape, np.float32)
        np.add(stored * np.float64(self.scale), self.offset, out=values, casting="same_kind")
        values[stored == self.missing] = np.nan
        return values

    def is_missing(self, stored: Array) -> npt.NDArray[np.bool_]:
        """Which windows of a block were never written: all of their values are missing."""
        first: Array = stored[(slice(None), *(0,) * (stored.ndim - 1))]  # type: ignore[arg-type]
        return np.asarray(np.isnan(first) if self.missing is None else first == self.missing)
