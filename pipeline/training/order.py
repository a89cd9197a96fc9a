"""The order in which windows come: a value, the same wherever and whenever it is made."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Uneven = Literal["pad", "drop", "keep"]
Numbers = npt.NDArray[np.uint64]
# Arrays without an axis, with which NumPy calculates faster than with numbers.
MULTIPLIER, HALF = np.array(0x9E3779B97F4A7C15, np.uint64), np.array(32, np.uint64)


class Ranked:
    """Windows of an epoch, shared by ranks; ``[a:b]`` are those at places a to b - 1.

    A rank gets every `world_size`-th place of all: if `a` and the size of a batch are multiples of
    `world_size`, the rows ``rank::world_size`` of each batch. Where the windows are no multiple of
    it, the order begins again at its end (pad), or ends before (drop), so that ranks have as many.
    """

    count: int  # windows that come
    rank: int
    world_size: int
    uneven: Uneven

    def __len__(self) -> int:
        """Places in the order, whatever the rank."""
        whole = self.count // self.world_size * self.world_size
        if self.uneven == "keep" or whole == self.count:
            return self.count
        return whole if self.uneven == "drop" else whole + self.world_size

    def places(self, start: int, stop: int) -> Indices:
        """The places of this rank among some."""
        start += (self.rank - start) % self.world_size
        return np.arange(start, stop, self.world_size, dtype=np.int64)

    def __getitem__(self, places: slice) -> Indices:
        start, stop, step = places.indices(len(self))
        assert step == 1
        return self.at(self.places(start, stop))

    def at(self, places: Indices) -> Indices:
        """The windows at some places."""
        raise NotImplementedError

    def _wrapped(self, places: Indices) -> Indices:
        """Places of which those that pad the order are the first of it."""
        return places % self.count if self.uneven == "pad" and self.count else places


@dataclass(frozen=True, eq=False)
class Order(Ranked):
    """The windows of an epoch in their order."""

    n: int  # windows in all
    shuffle: bool = False
    seed: int = 0
    epoch: int = 0
    mix: int | None = None  # shards that are shuffled among each other; all windows if None
    shard: int = 1  # windows in a shard
    windows: Indices | None = None  # those that come, if not all: `shard` in a row are a shard
    rank: int = 0
    world_size: int = 1
    uneven: Uneven = "keep"

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many windows come."""
        return self.n if self.windows is None else len(self.windows)

    def at(self, places: Indices) -> Indices:
        """The windows at some places."""
        found = self._wrapped(places)
        if self.shuffle and self.mix is None:
            found = self._permuted(found, self.count, "windows")
        elif self.shuffle and len(found):
            found = self._mixed(found)
        return found if self.windows is None else self.windows[found]

    def mixtures(self, place: int = 0) -> Iterator[tuple[int, int]]:
        """Where each mixture, the windows of `mix` shards, begins and ends, from about a place on.

        At most one of them ends before that place.
        """
        whole = self._mix * self.shard
        for number in range(place // whole, -(-self._shards // self._mix)):
            start = number * whole - self._short * (number > self._last // self._mix)
            yield start, start + self._length(number)

    # Shards are put in random order and cut into mixtures of `mix`; then the windows of each
    # mixture are put in random order. The last shard may be short: it is drawn by itself, and
    # comes last in its mixture, so only places after that mixture are shifted by what is short.

    def _mixed(self, places: Indices) -> Indices:
        whole = self._mix * self.shard
        after = (self._last // self._mix + 1) * whole - self._short
        mixture, row = np.divmod(places + self._short * (places >= after), whole)
        numbers = np.unique(mixture)
        lengths = np.array([self._length(number) for number in numbers.tolist()])
        for length in np.unique(lengths).tolist():  # one, for all but two of the mixtures
            alike = numbers[lengths == length]
            here = np.flatnonzero(np.isin(mixture, alike))
            keys = [self._keys(length, "mixture", number) for number in alike.tolist()]
            each = np.array(keys).T[:, np.searchsorted(alike, mixture[here])]
            row[here] = _shuffled(row[here], length, [*each])
        place, row = np.divmod(mixture * whole + row, self.shard)
        shard = np.full_like(place, self._shards - 1)
        others = place != self._last
        place = place[others] - (place[others] > self._last)
        shard[others] = self._permuted(place, self._shards - 1, "shards")
        return shard * self.shard + row

    def _length(self, mixture: int) -> int:
        """Windows in a mixture."""
        shards = min(self._mix, self._shards - mixture * self._mix)
        return shards * self.shard - self._short * (mixture == self._last // self._mix)

    @cached_property
    def _last(self) -> int:
        """Where the last shard comes, counted in shards."""
        place = int(self._permuted(np.zeros(1, np.int64), self._shards, "last")[0])
        return min((place // self._mix + 1) * self._mix, self._shards) - 1

    @property
    def _shards(self) -> int:
        return -(-self.count // self.shard)

    @property
    def _short(self) -> int:
        """How many windows the last shard lacks."""
        return self._shards * self.shard - self.count

    @property
    def _mix(self) -> int:
        return min(self.mix or 1, max(self._shards, 1))

    def _permuted(self, places: Indices, n: int, *what: object) -> Indices:
        """What a random permutation of the numbers below n has at these places."""
        return _shuffled(places, n, self._keys(n, *what))

    def _keys(self, n: int, *what: object) -> tuple[Numbers, ...]:
        return _keys(n, self.seed, self.epoch, *what)


def _shuffled(places: Indices, n: int, keys: Sequence[Numbers]) -> Indices:
    """What permutations of the numbers below n have at places, each by keys of its own or alike."""
    # A Feistel network on a table of a x b cells, the smallest for n (Black and Rogaway,
    # "Ciphers with Arbitrary Finite Domains", 2002). A round shifts each column by a hash of
    # its number, the next round each row, and so on: cells never meet. The few that end
    # beyond n go through the network again until they do not.
    a = isqrt(max(n - 1, 0)) + 1
    table = np.array(a, np.uint64), np.array(-(-n // a), np.uint64)
    found = _moved(places.astype(np.uint64), *table, keys)
    while len(beyond := np.flatnonzero(found >= n)):
        theirs = [key[beyond] if key.ndim else key for key in keys]
        found[beyond] = _moved(found[beyond], *table, theirs)
    return found.view(np.int64)


@lru_cache
def _keys(n: int, *what: object) -> tuple[Numbers, ...]:
    """One key a round; the fewer the numbers, the more rounds until no pattern is left."""
    rounds = 6 if n >= 1000 else 8 if n >= 100 else 16
    digest = hashlib.shake_256(" ".join(map(str, (n, *what))).encode()).digest(8 * rounds)
    return tuple(np.array(key, np.uint64) for key in np.frombuffer(digest, "<u8"))


def _moved(cells: Numbers, a: Numbers, b: Numbers, keys: Sequence[Numbers]) -> Numbers:
    row, column = np.divmod(cells, b)
    for key in keys:
        moved = column + key
        moved *= MULTIPLIER
        moved ^= moved >> HALF
        moved *= MULTIPLIER
        moved >>= HALF
        moved += row
        moved %= a
        row, column, a, b = column, moved, b, a
    row *= b
    row += column
    return row
