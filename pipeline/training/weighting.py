"""Weighting: windows drawn with replacement, rare classes as often as one likes.

First a class is drawn, by the weights of classes, and then a window of that class, all of these
alike; a window of several classes may come by each. What is drawn at a place is a hash of seed,
epoch and place, compared with whole numbers only: the same on every machine, in any order of
asking, without an array of the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from hashlib import shake_256
from itertools import accumulate
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from pipeline.checks import number, reject_unknown
from pipeline.features import array_digest
from pipeline.training.order import Indices, Ranked, Uneven

Numbers = npt.NDArray[np.uint64]
CHUNK = 65536  # windows whose labels are looked at together
NONE = "none"  # in place of a class: windows without any label
BITS = 62  # of the sum of the weights of windows
# Those of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
# 2014), as arrays without an axis, with which NumPy calculates faster than with numbers.
STEP = np.array(0x9E3779B97F4A7C15, np.uint64)
MULTIPLIERS = [np.array(m, np.uint64) for m in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]
SHIFTS = [np.array(n, np.uint64) for n in (30, 27, 31)]
HALF, LOW = np.array(32, np.uint64), np.array(0xFFFFFFFF, np.uint64)


Weights = Literal["balanced"] | Mapping[str, float] | npt.ArrayLike


class Rows(Protocol):
    """Labels of windows, as an array or a store has them."""

    def __getitem__(self, windows: Indices, /) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class ClassWeights:
    """Classes that are drawn, and the windows of each."""

    ends: Numbers  # of the hashes that draw each class but the last
    first: Indices  # place of each class among `windows`, and where the last ends
    windows: npt.NDArray[np.integer[Any]]

    @classmethod
    def of(
        cls,
        labels: Rows,
        n_windows: int,
        windows: Indices | None,  # those that are drawn, if not all
        classes: Sequence[str] | None,
        weights: Literal["balanced"] | Mapping[str, float],
    ) -> Self:
        """Of the labels of windows, which are one number each, or a row of classes.

        "balanced" draws all classes alike that have a window, and windows without any label like
        one more class. A mapping has the weight of each class by name, and may have one of
        "none", which is 0 otherwise.
        """
        if not isinstance(weights, Mapping) and weights != "balanced":
            raise ValueError(
                f"weights is {weights!r}; it must be 'balanced', a weight for each class by name, "
                f"or an array of one for each window"
            )
        names, found = _members(labels, n_windows, windows, classes)
        wanted = _by_name(names, found, weights)
        chosen = [name for name, weight in wanted.items() if weight > 0]
        if not chosen:
            raise ValueError("no class has a weight above 0; give one to those to be drawn")
        total = sum(Fraction(wanted[name]) for name in chosen)
        *sums, _ = accumulate(Fraction(wanted[name]) for name in chosen)
        ends = np.array([int(part * 2**64 / total) for part in sums], np.uint64)
        first = np.cumsum([0, *(len(found[name]) for name in chosen)])
        return cls(ends, first, np.concatenate([found[name] for name in chosen]))

    def digest(self) -> str:
        """What they are known by again."""
        return " ".join(map(array_digest, (self.ends, self.first, self.windows)))

    def draw(self, one: Numbers, other: Numbers) -> Indices:
        """The windows that pairs of hashes draw."""
        drawn = np.searchsorted(self.ends, one, side="right")
        first = self.first[drawn]
        counts = (self.first[drawn + 1] - first).view(np.uint64)
        row = _below(other, counts).view(np.int64)
        return np.asarray(self.windows[first + row], np.int64)


@dataclass(frozen=True, eq=False)
class WindowWeights:
    """Windows that are drawn, each by a weight of its own."""

    ends: Numbers  # sums of the weights up to each, and with it
    windows: Indices | None

    @classmethod
    def of(cls, weights: npt.ArrayLike, n_windows: int, windows: Indices | None) -> Self:
        """Of one weight for each window of all, of which some are drawn if they are named.

        Weights are rounded to whole numbers, the largest of which has more than 32 bits as long
        as there are fewer than 2^29 windows; none above 0 becomes 0.
        """
        every = np.asarray(weights)
        if every.shape != (n_windows,) or every.dtype.kind not in "biuf":
            raise ValueError(
                f"weights is an array of shape {every.shape} and {every.dtype}; it must be one "
                f"number for each of {n_windows} windows"
            )
        some = np.array(every if windows is None else every[windows], np.float64)
        bad = np.flatnonzero(~(np.isfinite(some) & (some >= 0)))
        if len(bad):
            raise ValueError(
                f"the weight of window {bad[0] if windows is None else windows[bad[0]]} is "
                f"{some[bad[0]]}; it must be a number from 0"
            )
        largest = some.max(initial=0)
        if not largest:
            raise ValueError("no window has a weight above 0; give one to those to be drawn")
        # By a power of two, which changes no digit, the largest has as many bits as fit.
        np.ldexp(some, BITS - len(some).bit_length() - math.frexp(largest)[1], out=some)
        whole = np.ceil(some, out=some).astype(np.uint64)
        return cls(np.cumsum(whole, out=whole), windows)

    def digest(self) -> str:
        """What they are known by again."""
        windows = () if self.windows is None else (self.windows,)
        return " ".join(map(array_digest, (self.ends, *windows)))

    def draw(self, one: Numbers, _: Numbers) -> Indices:
        """The windows that hashes draw."""
        value = _below(one, self.ends[-1:])
        found = np.searchsorted(self.ends, value, side="right")
        return found if self.windows is None else self.windows[found]


def weights_of(
    weights: Weights,
    labels: Rows,
    n_windows: int,
    windows: Indices | None,
    classes: Sequence[str] | None,
) -> ClassWeights | WindowWeights:
    """What is drawn by weights: classes of labelled windows, or windows by one weight each."""
    if not isinstance(weights, str | Mapping):
        return WindowWeights.of(weights, n_windows, windows)
    named = labels[np.empty(0, np.int64)].ndim == 1 and classes is not None
    if named and classes is not None and isinstance(weights, Mapping):  # labels are its places
        reject_unknown(weights, classes, "class")
        weights = {str(classes.index(name)): weight for name, weight in weights.items()}
    return ClassWeights.of(labels, n_windows, windows, classes, weights)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Weighted(Ranked):
    """The windows of an epoch as they are drawn, by weights, with replacement."""

    weights: ClassWeights | WindowWeights
    count: int  # windows that are drawn in an epoch
    seed: int = 0
    epoch: int = 0
    rank: int = 0
    world_size: int = 1
    uneven: Uneven = "keep"

    def at(self, places: Indices) -> Indices:
        """The windows at some places."""
        found = self._wrapped(places)
        one, other = (_hashes(found, key) for key in self._keys)
        return self.weights.draw(one, other)

    @cached_property
    def _keys(self) -> tuple[int, int]:
        return _keys(self.seed, self.epoch)


@lru_cache
def _keys(seed: int, epoch: int) -> tuple[int, int]:
    digest = shake_256(f"weights {seed} {epoch}".encode()).digest(16)
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _hashes(places: Indices, key: int) -> Numbers:
    """The output of SplitMix64 at places, if it begins with a key."""
    found = places.astype(np.uint64)
    found += np.array(1, np.uint64)
    found *= STEP
    found += np.array(key, np.uint64)
    for shift, multiplier in zip(SHIFTS, MULTIPLIERS, strict=False):
        found ^= found >> shift
        found *= multiplier
    found ^= found >> SHIFTS[-1]
    return found


def _below(hashes: Numbers, n: Numbers) -> Numbers:
    """Numbers below n, all alike: the upper 64 of the 128 bits of hash times n."""
    high, low, n_high, n_low = hashes >> HALF, hashes & LOW, n >> HALF, n & LOW
    middle = high * n_low + (low * n_low >> HALF)
    carried = low * n_high + (middle & LOW)
    found: Numbers = high * n_high + (middle >> HALF) + (carried >> HALF)
    return found


def _members(
    labels: Rows, n_windows: int, windows: Indices | None, classes: Sequence[str] | None
) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    """Names of the classes, and the windows of each, and of none, as far as there are any."""
    dtype = np.int32 if n_windows <= 2**31 else np.int64
    pieces: dict[str, list[npt.NDArray[Any]]] = {}
    names: list[str] = []
    n = n_windows if windows is None else len(windows)
    for a in range(0, n, CHUNK):
        some = np.arange(a, min(a + CHUNK, n)) if windows is None else windows[a : a + CHUNK]
        rows = labels[some]
        if rows.ndim > 1:
            names = list(classes or map(str, range(rows.shape[1])))
        for name, here in _alike(rows) if rows.ndim == 1 else _heard(rows, names):
            if len(here):
                pieces.setdefault(name, []).append(some[here].astype(dtype))
    found = {name: np.concatenate(pieces.pop(name)) for name in [*pieces]}
    return names or sorted(found, key=lambda name: (len(name), name)), found


def _alike(labels: npt.NDArray[Any]) -> Iterator[tuple[str, Indices]]:
    """Each label, as a name, and the rows that have it."""
    values, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rows = np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1])
    return zip(map(str, values.tolist()), rows, strict=True)


def _heard(labels: npt.NDArray[Any], names: Sequence[str]) -> Iterator[tuple[str, Indices]]:
    """Each class, and the rows that have it; at last those that have none."""
    heard = np.greater(labels.reshape(*labels.shape[:2], -1), 0).any(axis=2)
    if NONE in names:
        raise ValueError(
            f"a class has the name {NONE!r}, which weights have for windows without any label; "
            f"name it otherwise, by --label-map"
        )
    yield from ((name, np.flatnonzero(heard[:, k])) for k, name in enumerate(names))
    yield NONE, np.flatnonzero(~heard.any(axis=1))


def _by_name(
    names: Sequence[str],
    found: Mapping[str, npt.NDArray[Any]],
    weights: Literal["balanced"] | Mapping[str, float],
) -> dict[str, float]:
    """The weight of each class that is drawn, or may be."""
    if weights == "balanced":
        return dict.fromkeys(sorted(found, key=[*names, NONE].index), 1.0)
    given = {str(name): weight for name, weight in weights.items()}
    reject_unknown(given, [*names, NONE], "class")
    for name in names:
        if name not in given:
            raise ValueError(
                f"weights has no {name!r}; give one to each class, such as "
                f"dict.fromkeys(batches.classes, 1) | {{{name!r}: 2}}, or 0 to leave it out"
            )
    ordered = [name for name in (*names, NONE) if name in given]
    checked = {name: number(f"the weight of {name}", given[name], 0, "from 0") for name in ordered}
    for name, weight in checked.items():
        if weight and name not in found:
            raise ValueError(
                f"no window has the class {name!r}, which has the weight {weight:g}; give it 0"
            )
    return checked
