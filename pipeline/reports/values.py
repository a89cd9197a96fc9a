"""Values: how the features of a sample of windows are distributed, and their level over time."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.features import FEATURES, bind, make_feature
from pipeline.reports.coverage import local_iso
from pipeline.reports.reading import Reader
from pipeline.store import Store

LOOKED_AT = 4096  # values of a window, evenly spread, that its percentiles are of
BINS = 64
ROWS = 200
PERCENTILES = 10, 50, 90
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Values:
    """Of each window of a sample, in order: its percentiles, its extremes and what is not usual."""

    windows: Array
    percentiles: Array  # (window, 3)
    floor: Array  # share of its values that are the floor; NaN where that is not known
    some: Array  # of its values, evenly spread
    extremes: tuple[float, float]
    mean: float
    std: float
    not_numbers: float  # share

    @classmethod
    def of(cls, store: Store, reader: Reader, windows: Array) -> Self | None:
        """Those of windows, as far as they can be read; None if there is no number in them."""
        floor = _floor(store)
        found = [(some, _Block.of(X, floor)) for some, X in reader.blocks(windows)]
        blocks = [block for _, block in found]
        count = sum(block.n for block in blocks)
        if not count:
            return None
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
            1 - count / (sum(len(some) for some, _ in found) * reader.n_values),
        )

    def described(self, store: Store, n_readable: int, clipped: float | None) -> dict[str, Any]:
        """Their distribution as plain values, with the share of all values that are clipped."""
        counts, edges = np.histogram(self.some, BINS, self.extremes)
        floor = self.floor.mean()
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
            "floor": None if np.isnan(floor) else float(floor),
            "clipped": clipped,
            "not_numbers": self.not_numbers,
        }

    def level(self, store: Store) -> dict[str, Any]:
        """The percentiles along time, of a few windows together where there are many."""
        times, begins = store.get("datetime"), _elapsed(store)
        order = np.arange(len(self.windows))
        if times is not None:
            order = np.argsort(times[self.windows], kind="stable")
        offsets = None if times is None else store.coordinate("utc_offset")
        recording = store.coordinate("recording")
        rows = []
        for part in np.array_split(order, min(ROWS, len(order))):
            window = int(self.windows[part[0]])
            low, median, high = np.nanmedian(self.percentiles[part], axis=0).tolist()
            floor = float(self.floor[part].mean())
            begun = None
            if times is not None and offsets is not None:
                begun = local_iso(int(times[window]), int(offsets[recording[window]]))
            rows.append(
                {
                    "window": window,
                    "begins": begun,
                    "at": float(begins[window]),
                    "low": low,
                    "median": median,
                    "high": high,
                    "floor": None if np.isnan(floor) else floor,
                }
            )
        return {"units": store.units(), "rows": rows}


@dataclass(frozen=True, eq=False)
class _Block:
    """What a block of features adds to the values of all."""

    percentiles: Array
    floor: Array
    some: Array
    n: int  # values that are numbers
    total: float
    square: float
    low: float
    high: float

    @classmethod
    def of(cls, features: Array, floor: tuple[float, float] | None) -> _Block:
        X = features.reshape(len(features), -1)
        looked = X[:, :: -(-X.shape[1] // LOOKED_AT)].astype(np.float64)
        numbers = X[np.isfinite(X)].astype(np.float64)
        is_floor = np.full(len(X), np.nan) if floor is None else _between(X, floor).mean(axis=1)
        looked[~np.isfinite(looked)] = np.nan
        some = looked[np.isfinite(looked)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a window may have no number
            percentiles = np.nanpercentile(looked, PERCENTILES, axis=1).T
        low, high = (numbers.min(), numbers.max()) if len(numbers) else (np.inf, -np.inf)
        return cls(
            percentiles, is_floor, some, len(numbers), float(numbers.sum()),
            float((numbers**2).sum()), float(low), float(high),
        )  # fmt: skip


def _between(values: Array, limits: tuple[float, float]) -> npt.NDArray[np.bool_]:
    return np.asarray((values >= limits[0]) & (values <= limits[1]))


def _floor(store: Store) -> tuple[float, float] | None:
    """What values of no sound are between, as stored; None of features that are not ours."""
    attrs = store.attrs()
    feature = json.loads(attrs["feature"])
    if feature["name"] not in FEATURES or "frontend" in feature["parameters"]:
        return None
    try:
        made = make_feature(feature["name"], feature["parameters"])
        bound = bind(made, int(attrs["samplerate"]), float(attrs["window"]))
    except (ValueError, ImportError):  # as another version had it
        return None
    floor, stored = float(getattr(bound, "floor", 0.0)), store.encoding.dtype
    error = store.encoding.largest_error or float(np.spacing(np.abs(floor, dtype=stored)))
    return floor - error, floor + error


def _elapsed(store: Store) -> Array:
    """Seconds of audio before each window, of all recordings one after the other."""
    start, recording = store.coordinate("start"), store.coordinate("recording")
    length = start + float(store.attrs()["window"])
    lengths = np.zeros(int(recording[-1]) + 2)
    np.maximum.at(lengths[1:], recording, length)
    return np.asarray(np.cumsum(lengths)[recording] + start)
