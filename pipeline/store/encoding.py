"""Encoding: how features, float32, become the numbers that are stored."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.features import Feature, assign, limits_of

Array = npt.NDArray[Any]

ATTRIBUTES = ("scale_factor", "add_offset", "_FillValue")  # of the CF conventions
CACHED = 1 << 19  # values that are encoded or decoded at once, as they are gone through again


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
    def of(cls, dtype: str, feature: Feature, limits: Sequence[float] | None = None) -> Self:
        """The encoding of a feature that will be stored; the least code is that of no value.

        Whole numbers have codes from one of the limits to the other, which are the feature's own
        if none are given; a ValueError if it has none.
        """
        if np.dtype(dtype).kind == "f":
            return cls(dtype)
        missing = int(np.iinfo(dtype).min)
        steps: Mapping[str, float] = getattr(feature, "steps", {})
        if limits is None and dtype in steps:
            return cls(dtype, steps[dtype], missing=missing)
        low, high = _limits(dtype, feature) if limits is None else limits
        least, greatest = missing + 1, int(np.iinfo(dtype).max)
        # As float32, so that other programs may decode to it.
        scale = float(np.float32((high - low) / (greatest - least)))
        return cls(dtype, scale, float(np.float32(low - least * scale)), missing)

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
    def coded(self) -> bool:
        """Whether what is stored are codes of values, and not values."""
        return self.scale is not None

    @property
    def fill_value(self) -> float:
        """What is stored where nothing was written."""
        return math.nan if self.missing is None else self.missing

    @property
    def limits(self) -> tuple[float, float] | None:
        """The values of the first and the last code; None of floats."""
        if self.scale is None:
            return None
        least, greatest = self._codes
        return self.offset + least * self.scale, self.offset + greatest * self.scale

    @property
    def largest_error(self) -> float | None:
        """How far a value within the limits may be from what is stored of it; None of floats."""
        if self.scale is None or self.limits is None:
            return None
        rounding = 2.0**-21 * max(*map(abs, self.limits), abs(self.offset))  # of float32
        return self.scale / 2 + rounding

    def described(self) -> dict[str, Any]:
        """What its codes hold, as plain values; nothing of floats."""
        if self.limits is None:
            return {}
        limits = [float(f"{value:.7g}") for value in self.limits]  # of which float32 knows no more
        error = float(f"{1.005 * (self.largest_error or 0):.3g}")  # rounded, but never down
        return {"limits": limits, "largest_error": error}

    @property
    def _codes(self) -> tuple[int, int]:
        least, greatest = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        return least + (self.missing == least), greatest - (self.missing == greatest)

    def encode(self, values: Array, out: Array) -> int:
        """Write values as they are stored; how many are the code of a limit, as they are beyond it.

        Floats beyond their dtype become infinite.
        """
        if self.scale is None:
            assign(values, out)
            return 0
        few = _windows_in_cache(values)
        parts = (slice(a, a + few) for a in range(0, len(values), few))
        return sum(self._encode(values[part], out[part]) for part in parts)

    def _encode(self, values: Array, out: Array) -> int:
        assert self.scale is not None
        with np.errstate(over="ignore"):  # what is infinite is beyond, too
            codes = np.subtract(values, np.float32(self.offset), dtype=np.float32)
            codes *= np.float32(1 / self.scale)
        np.rint(codes, out=codes)
        (least, greatest), beyond = self._codes, 0
        if codes.size and (codes.min() < least or codes.max() > greatest):
            beyond = int(np.count_nonzero((codes < least) | (codes > greatest)))
            np.clip(codes, least, greatest, out=codes)
        np.copyto(out, codes, casting="unsafe")
        return beyond

    def decode(self, stored: Array, empty: Callable[..., Array] = np.empty) -> Array:
        """The values of what is stored: floats as they are, else float32, NaN where missing.

        `empty` makes the array.
        """
        if self.scale is None:
            return stored
        values = empty(stored.shape, np.float32)
        scale, offset = np.float32(self.scale), np.float32(self.offset)
        few = _windows_in_cache(stored)
        for a in range(0, len(stored), few):
            some = np.multiply(stored[a : a + few], scale, out=values[a : a + few])
            some += offset
        values[self.is_missing(stored)] = np.nan
        return values

    def is_missing(self, stored: Array) -> npt.NDArray[np.bool_]:
        """Which windows of a block were never written: all of their values are missing."""
        first: Array = stored[(slice(None), *(0,) * (stored.ndim - 1))]  # type: ignore[arg-type]
        return np.asarray(np.isnan(first) if self.missing is None else first == self.missing)


def _windows_in_cache(block: Array) -> int:
    return max(1, CACHED // max(1, math.prod(block.shape[1:])))


def _limits(dtype: str, feature: Feature) -> tuple[float, float]:
    """The feature's own limits; a ValueError if it has none that are of use."""
    name, found = getattr(feature, "called", type(feature).__name__), limits_of(feature)
    if found is None or getattr(feature, "linear", False):
        why = "gives powers, of which equal steps lose the small ones" if found else "has no limits"
        raise ValueError(
            f"dtype is {dtype}, but {name} {why}; pass limits, the least and the greatest value "
            f"that its codes are to hold, or dtype float32"
        )
    return found
