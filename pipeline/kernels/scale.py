"""Scale: from sums of power to the values of a feature, such as decibels."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.kernels.frames import Counts, Singles

Output = Literal["power", "log", "log10", "db"]
FACTORS = {"log": 1.0, "log10": 1 / math.log(10), "db": 10 / math.log(10)}


@dataclass(frozen=True)
class Scale:
    """How sums become values; of each window by itself.

    A logarithm is of no less than `amin`, relative to `ref` or the loudest of the window, and no
    more than `top_db` below it. Then `mean` is subtracted, and `std` divides.
    """

    output: Output = "db"
    exponent: float = 2.0  # of the magnitude that is summed
    ref: float | Literal["max"] = 1.0
    amin: float = 1e-10
    top_db: float | None = None
    mean: float = 0.0
    std: float = 1.0

    @property
    def floor(self) -> float:
        """The value of silence."""
        return self._values(0.0)[0]

    def limits(self, largest: float) -> tuple[float, float]:
        """The least and the largest value that sums from 0 to the largest can have."""
        silent, loud = self._values(largest)
        return min(self.floor, silent), loud

    def _values(self, largest: float) -> tuple[float, float]:
        """The values of silence and of the largest sum in one window."""
        sums, values = np.zeros((2, 1, 64), np.float32), np.empty((1, 2, 64), np.float32)
        sums[1] = min(largest, float(np.finfo(np.float32).max))
        self.apply(sums, np.array([[0, 64]]), values)
        return float(values[0, 0, 0]), float(values[0, 1, 0])

    @property
    def units(self) -> str:
        """Of the values."""
        return "dB" if self.output == "db" and (self.mean, self.std) == (0, 1) else "1"

    @property
    def _decibel(self) -> float:
        """Of a natural logarithm of the sums."""
        return FACTORS["db"] * 2 / self.exponent

    def apply(self, sums: Singles, own: Counts, out: Singles) -> None:
        """Write the values (window, band, frame) of sums (band, window, frame), which are lost.

        The loudest of a window is looked for in its `own` frames alone: of each window the first
        and the one after the last.
        """
        least = 0 if self.output == "power" else self.amin
        np.clip(sums, np.float32(least), np.finfo(np.float32).max, out=sums)
        if self.output != "power":
            np.log(sums, out=sums)
            self._relate(sums, own)
        result = out.swapaxes(0, 1)
        if (self.mean, self.std) == (0, 1):
            result[...] = sums
        else:
            np.multiply(sums - np.float32(self.mean), np.float32(1 / self.std), out=result)

    def _relate(self, values: Singles, own: Counts) -> None:
        """Natural logarithms in the units of the output, related to the loudest of each window."""
        factor = self._decibel if self.output == "db" else FACTORS[self.output]
        if factor != 1:
            np.multiply(values, np.float32(factor), out=values)
        if isinstance(self.ref, float) and self.ref != 1:
            values -= np.float32(math.log(max(self.amin, self.ref)) * factor)
        if self.ref != "max" and self.top_db is None:
            return
        spans = [slice(first, max(first + 1, stop)) for first, stop in own.tolist()]
        loudest = [values[:, window, frames].max() for window, frames in enumerate(spans)]
        highest = np.array(loudest, np.float32)[:, None]
        if self.ref == "max":
            values -= highest
            highest[...] = 0
        if self.top_db is not None:
            np.maximum(
                values, highest - np.float32(self.top_db * factor / self._decibel), out=values
            )
