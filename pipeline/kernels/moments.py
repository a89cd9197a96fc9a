"""Moments: mean and standard deviation of the rows of many windows, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.kernels.frames import Doubles, Floats
from pipeline.kernels.halves import widen

TILE = 1 << 18  # values that are added up at a time, unless a window has more
# Variance, in squares of the mean, below which sums of squares would keep too few digits.
CLOSE = 1e-4


@dataclass(frozen=True)
class Moments:
    """How many values each row has, their mean, and the sum of squares of what differs from it."""

    count: Doubles
    mean: Doubles
    squares: Doubles

    def joined(self, other: Moments) -> Moments:
        """Those of the values of both (Chan, Golub and LeVeque, 1983)."""
        count, difference = self.count + other.count, other.mean - self.mean
        share = other.count / np.maximum(count, 1)
        between = difference**2 * self.count * share
        mean = self.mean + difference * share
        return Moments(count, mean, self.squares + other.squares + between)

    def mean_and_std(self) -> tuple[Doubles, Doubles]:
        """Mean and standard deviation (ddof 0); NaN where a row has no value."""
        count = np.where(self.count > 0, self.count, np.nan)
        return self.mean + 0 * count, np.sqrt(self.squares / count)


# How they are computed: a tile of the values, copied to float64, stays in the cache while it and
# its squares are added up. Rows whose values lie close together in the first tile are counted
# from their mean there, rounded to float32: so no digit is lost, and a constant row gives zeros.


def moments_of(blocks: Iterable[Floats], along: tuple[int, ...]) -> Moments:
    """Moments of blocks of features (window, ...), over windows and the axes `along` of a block.

    Values that are not finite do not count. The bits are the same however the windows are cut
    into blocks, each but the last a multiple of `windows_of_a_tile`.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        tiles = _tiles(blocks, along)
        first = next(tiles)
        shift = _shift(first)
        sums = _Sums(first.shape, shift)
        sums.add(first)
        for tile in tiles:
            sums.add(tile)
    mean = sums.total / np.maximum(sums.count, 1)
    squares = np.maximum(sums.squares - sums.total * mean, 0)
    return Moments(sums.count, shift + mean, squares)


def windows_of_a_tile(shape: tuple[int, ...]) -> int:
    """How many windows of features of a shape are added up at a time."""
    return max(1, TILE // math.prod(shape))


def _tiles(blocks: Iterable[Floats], along: tuple[int, ...]) -> Iterator[Doubles]:
    """Values (row, place) of a few windows at a time, in memory that is used again."""
    memory = np.empty(0)
    for block in blocks:
        length = math.prod(block.shape[axis] for axis in along)
        parts = np.moveaxis(block, along, range(-len(along), 0)).reshape(len(block), -1, length)
        n_rows, step = parts.shape[1], windows_of_a_tile(block.shape[1:])
        for a in range(0, len(parts), step):
            part = parts[a : a + step]
            if part.dtype == np.float16:
                single = np.empty(part.shape, np.float32)
                widen(part, single)
                part = single
            if memory.size < part.size:
                memory = np.empty(part.size)
            tile = memory[: part.size].reshape(n_rows, len(part), length)
            tile[...] = part.swapaxes(0, 1)
            yield tile.reshape(n_rows, -1)


def _shift(tile: Doubles) -> Doubles:
    """From which value each row is counted."""
    finite = np.isfinite(tile)
    count, values = np.maximum(finite.sum(axis=1), 1), np.where(finite, tile, 0)
    mean = values.sum(axis=1) / count
    close = np.vecdot(values, values) / count - mean**2 < CLOSE * mean**2
    return np.where(close, mean, 0).astype(np.float32).astype(np.float64)


class _Sums:
    """Number, sum and sum of squares of the finite values of each row, less its shift."""

    def __init__(self, shape: tuple[int, ...], shift: Doubles) -> None:
        self.count, self.total, self.squares = np.zeros((3, shape[0]))
        self._ones = np.ones(shape[1])  # no tile is longer than the first
        self._rows = np.flatnonzero(shift)
        self._shift = shift[self._rows, None]

    def add(self, tile: Doubles) -> None:
        """Add the values of a tile, which is changed."""
        if len(self._rows):
            tile[self._rows] -= self._shift
        squares = np.vecdot(tile, tile)
        if not math.isfinite(squares.sum()):
            bad = ~np.isfinite(tile)
            self.count -= bad.sum(axis=1)
            tile[bad] = 0
            squares = np.vecdot(tile, tile)
        self.count += tile.shape[1]
        self.squares += squares
        self.total += tile @ self._ones[: tile.shape[1]]
