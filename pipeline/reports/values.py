"""Values: how the features of a sample of windows are distributed, and their level over time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.features import FEATURES, bind, make_feature
from pipeline.reports.coverage import local_times
from pipeline.reports.reading import Reader
from pipeline.store import Store

LOOKED_AT = 4096  # values of a window, evenly spread, that its percentiles are of
BINS, NARROWEST = 64, 1e-6
ROWS = 200
PERCENTILES, LEVELS = (10, 50, 90), ("low", "median", "high")
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Values:
    """Of a sample of windows: percentiles and floor of each, and how all values are distributed."""

    windows: Array
    percentiles: Array  # (window, 3)
    floor: Array  # share of its values that are the floor; NaN where that is not known
    some: Array  # of its values, evenly spread
    extremes: tuple[float, float]
    mean: float
    std: float

    @classmethod
    def of(cls, store: Store, reader: Reader, windows: Array) -> Self | None:
        """Those of windows, as far as they can be read; None if none can."""
        floor = _floor(store)
        found = [(some, _Block.of(X, floor)) for some, X in reader.blocks(windows)]
        if not found:
            return None
        blocks = [block for _, block in found]
        count = sum(block.n for block in blocks)
        mean = sum(block.total for block in blocks) / count
        square = sum(block.square for block in blocks) / count
        return cls(
            np.concatenate([some for some, _ in found]),
            np.concatenate([block.percentiles for block in blocks]),
            np.concatenate([block.floor for block in blocks]),
            np.concatenate([block.some for block in blocks]),
            (min(block.low for block in blocks), max(block.high for block in blocks)),
            mean,
            float(np.sqrt(max(0.0, square - mean**2))),
        )

    def described(self, store: Store, n_readable: int, clipped: float | None) -> dict[str, Any]:
        """Their distribution as plain values, with the share of all values that are clipped."""
        low, high = self.extremes
        # What is all but one value has no bins.
        least = (max(abs(low), abs(high)) or 1.0) * NARROWEST
        around = max(0.0, least - (high - low)) / 2
        counts, edges = np.histogram(self.some, BINS, (low - around, high + around))
        return {
            "name": str(store.attrs()["title"]),
            "units": store.units(),
            "sampled": len(self.windows),
            "of": n_readable,
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            "minimum": self.extremes[0],
            "maximum": self.extremes[1],
            "mean": self.mean,
            "std": self.std,
            "floor": known(self.floor.mean()),
            "clipped": clipped,
        }

    def level(self, store: Store) -> dict[str, Any]:
        """The percentiles along time, of a few windows together where there are many."""
        times, order = store.get("datetime"), np.arange(len(self.windows))
        if times is not None:
            order = np.argsort(times[self.windows], kind="stable")
        parts = np.array_split(order, min(ROWS, len(order)))
        first = self.windows[[part[0] for part in parts]]
        begins, elapsed = local_times(store, first), _elapsed(store)[first]
        levels = [np.median(self.percentiles[part], axis=0).tolist() for part in parts]
        rows = [
            {
                "window": int(window),
                "begins": begun,
                "at": float(at),
                **dict(zip(LEVELS, level, strict=True)),
                "floor": known(self.floor[part].mean()),
            }
            for part, level, window, begun, at in zip(
                parts, levels, first, begins, elapsed, strict=True
            )
        ]
        return {"units": store.units(), "rows": rows}


@dataclass(frozen=True, eq=False)
class _Block:
    """What a block of features adds to the values of all."""

    percentiles: Array
    floor: Array
    some: Array
    n: int
    total: float
    square: float
    low: float
    high: float

    @classmethod
    def of(cls, features: Array, floor: tuple[float, float] | None) -> _Block:
        X = features.reshape(len(features), -1)
        some = X[:, :: -(-X.shape[1] // LOOKED_AT)].astype(np.float64)
        is_floor = np.full(len(X), np.nan) if floor is None else _between(X, floor).mean(axis=1)
        return cls(
            np.percentile(some, PERCENTILES, axis=1).T, is_floor, some.ravel(), X.size,
            float(X.sum(dtype=np.float64)), float(np.square(X, dtype=np.float64).sum()),
            float(X.min()), float(X.max()),
        )  # fmt: skip


def known(value: float) -> float | None:
    """A number, or None of what is none."""
    return None if np.isnan(value) else float(value)


def _between(values: Array, limits: tuple[float, float]) -> npt.NDArray[np.bool_]:
    return np.asarray((values >= limits[0]) & (values <= limits[1]))


def _floor(store: Store) -> tuple[float, float] | None:
    """What values of no sound are between, as stored; None of features that are not ours."""
    attrs = store.attrs()
    feature = json.loads(attrs["feature"])
    if (kind := FEATURES.get(feature["name"])) is None:
        return None
    floor: Any = getattr(kind, "floor", 0.0)
    if isinstance(floor, property):  # it hangs on the parameters
        try:
            made = make_feature(feature["name"], feature["parameters"])
        except ValueError:  # as another version had it
            return None
        floor = getattr(bind(made, int(attrs["samplerate"]), float(attrs["window"])), "floor", 0.0)
    stored = store.encoding.dtype
    error = store.encoding.largest_error or float(np.spacing(np.abs(floor, dtype=stored)))
    return floor - error, floor + error


def _elapsed(store: Store) -> Array:
    """Seconds of audio before each window, of all recordings one after the other."""
    start, recording = store.coordinate("start"), store.coordinate("recording")
    length = start + float(store.attrs()["window"])
    lengths = np.zeros(int(recording[-1]) + 2)
    np.maximum.at(lengths[1:], recording, length)
    return np.asarray(np.cumsum(lengths)[recording] + start)
