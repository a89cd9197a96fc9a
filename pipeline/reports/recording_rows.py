"""Recordings of a store: the states of their windows, and how loud these are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.reports.coverage import local_times
from pipeline.reports.values import Values, known
from pipeline.reports.window_states import PARTIAL, STATES, WHOLE, WindowStates
from pipeline.store import Store

LISTED = 200
Array = npt.NDArray[Any]


def recordings_of(store: Store, states: WindowStates, values: Values | None) -> dict[str, Any]:
    """The recordings, as plain values: those first that have most windows that are not whole."""
    counts, sources = states.by_recording(), store.coordinate("source")
    # The last window of a recording may well be partial.
    lacking = counts.sum(axis=1) - counts[:, WHOLE] - (counts[:, PARTIAL] == 1)
    listed = np.argsort(-lacking, kind="stable")[:LISTED]
    seconds, begins = _lengths(store, states, len(sources)), _begins(store, states, listed)
    rows = [
        {
            "number": number,
            "path": str(sources[number]),
            "seconds": float(seconds[number]),
            "begins": begun,
            **dict(zip(STATES, counts[number].tolist(), strict=True)),
            **_loudness(values, states.recording, number),
        }
        for number, begun in zip(listed.tolist(), begins, strict=True)
    ]
    return {"total": len(sources), "rows": rows}


def _lengths(store: Store, states: WindowStates, n: int) -> Array:
    """How many seconds of each recording are in windows."""
    rate, found = int(store.attrs()["samplerate"]), np.zeros(n)
    ends = store.coordinate("start") + store.coordinate("n_samples") / rate
    np.maximum.at(found, states.recording, ends)
    return found


def _begins(store: Store, states: WindowStates, listed: Array) -> list[str | None]:
    """When the first window of each recording began, in local time."""
    first = np.searchsorted(states.recording, listed)  # windows come recording by recording
    has_any = np.searchsorted(states.recording, listed, "right") > first
    found = iter(local_times(store, first[has_any]))
    return [next(found) if there else None for there in has_any]


def _loudness(values: Values | None, recording: Array, number: int) -> dict[str, float | None]:
    """The median of the sampled windows of a recording, and the share of the floor in them."""
    if values is not None:
        of = recording[values.windows] == number
        if of.any():
            median = float(np.median(values.percentiles[of, 1]))
            return {"median": median, "floor": known(values.floor[of].mean())}
    return {"median": None, "floor": None}
