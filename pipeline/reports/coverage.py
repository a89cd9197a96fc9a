"""Coverage: how much of each day, and of each hour of it, was recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.recordings import NAT, offset_text
from pipeline.reports.window_states import MASKED, WindowStates
from pipeline.store import Store

HOUR, DAY = 3600, 24
SECOND = 10**9  # in ns
# The longest span of time in days that has a row for each of such a unit.
UNITS = ((200, "day"), (1400, "week"), (7000, "month"), (np.inf, "year"))
Array = npt.NDArray[Any]


def coverage_of(store: Store, states: WindowStates) -> dict[str, Any] | None:
    """What was recorded when, in local time; None where no time is known.

    Of windows that overlap, what they have in common counts once; what could not be read does
    not count.
    """
    times = store.get("datetime")
    if times is None or not (known := times != NAT).any():
        return None
    offsets = store.coordinate("utc_offset")
    recorded = np.flatnonzero(known & (states.state != MASKED))
    local = times[recorded] // SECOND + offsets[states.recording[recorded]]
    hours, seconds = _by_hour(local, _lengths(store, recorded))
    used = np.unique(offsets[states.recording[np.flatnonzero(known)]])
    return {
        **_rows(hours, seconds),
        "offset": offset_text(int(used[0])) if len(used) == 1 else None,
        "seconds": float(seconds.sum()),
        "undated": int(len(known) - known.sum()),
    }


def local_iso(time: int, offset: int) -> str | None:
    """A time in ns since 1970 in UTC, as ISO 8601 has it in local time; None where not known."""
    if time == NAT:
        return None
    return f"{np.datetime64(int(time) // SECOND + offset, 's')}{offset_text(offset)}"


def local_times(store: Store, windows: Array) -> list[str | None]:
    """When windows began, in local time; None where that is not known."""
    times = store.get("datetime")
    if times is None:
        return [None] * len(windows)
    offsets = store.coordinate("utc_offset")[store.coordinate("recording")[windows]]
    found = zip(times[windows].tolist(), offsets.tolist(), strict=True)
    return [local_iso(time, offset) for time, offset in found]


def _lengths(store: Store, windows: Array) -> Array:
    """How many seconds of each window no other window has."""
    attrs = store.attrs()
    length = store.coordinate("n_samples")[windows] / int(attrs["samplerate"])
    return np.minimum(length, float(attrs["hop"]))


def _by_hour(starts: Array, lengths: Array) -> tuple[Array, Array]:
    """The hours since 1970 in which anything was recorded, and how many seconds."""
    hours, parts = [], []
    while len(starts):
        hour = starts // HOUR
        part = np.minimum(lengths, (hour + 1) * HOUR - starts)
        hours.append(hour)
        parts.append(part)
        more = lengths > part
        starts, lengths = ((hour + 1) * HOUR)[more], (lengths - part)[more]
    found, places = np.unique(np.concatenate(hours or [starts]), return_inverse=True)
    seconds = np.bincount(places, np.concatenate(parts or [lengths]), len(found))
    return found, np.minimum(seconds, HOUR)  # recordings may overlap


def _rows(hours: Array, seconds: Array) -> dict[str, Any]:
    """A row for each day, or longer unit, from the first to the last."""
    if not len(hours):
        return {"unit": "day", "first": None, "last": None, "rows": []}
    days = (hours // DAY).astype("datetime64[D]")
    span = int((days[-1] - days[0]).astype(int)) + 1
    unit = next(name for most, name in UNITS if span <= most)
    begins = _edges(days[0], days[-1], unit)
    row = np.searchsorted(begins, days, "right") - 1
    table = np.zeros((len(begins) - 1, DAY))
    np.add.at(table, (row, hours % DAY), seconds)
    n_days = np.diff(begins).astype(int)
    rows = [
        {
            "from": str(begin),
            "seconds": float(cells.sum()),
            "share": float(cells.sum() / (n * DAY * HOUR)),
            "hours": [round(float(cell), 4) for cell in cells / (n * HOUR)],
        }
        for begin, cells, n in zip(begins[:-1], table, n_days.tolist(), strict=True)
    ]
    return {"unit": unit, "first": str(days[0]), "last": str(days[-1]), "rows": rows}


def _edges(first: np.datetime64, last: np.datetime64, unit: str) -> Array:
    """The first days of all units from that of the first day on, and of the one after the last."""
    if unit == "week":
        monday = first - (first.astype(int) + 3) % 7  # 1970 began on a Thursday
        n = (last - monday).astype(int) // 7 + 2
        return np.asarray(monday + 7 * np.arange(n))
    code = {"day": "D", "month": "M", "year": "Y"}[unit]
    units = np.arange(first.astype(f"datetime64[{code}]"), last.astype(f"datetime64[{code}]") + 2)
    return units.astype("datetime64[D]")
