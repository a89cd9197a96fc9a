"""The timeline: from when to when recordings are, what is missing, and where they overlap."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.grid import Indices
from pipeline.recordings.starts import NAT, Starts, window_times
from pipeline.recordings.times import SECOND

Mask = npt.NDArray[np.bool_]
LISTED = 100  # places of each kind, the largest
# Clocks drift, and names tell whole seconds: what is nearer to its neighbour follows it.
DRIFT = SECOND


def describe_timeline(
    starts: Starts, paths: Sequence[str], n_samples: Indices, samplerate: int
) -> dict[str, Any] | None:
    """What is known of the times of recordings, as plain values; None if nothing is."""
    missing = np.flatnonzero(starts.start == NAT)
    if not (starts.known or starts.unzoned):
        return None
    dated = np.flatnonzero(starts.start != NAT)
    order = dated[np.argsort(starts.start[dated], kind="stable")]
    begins = starts.start[order]
    own_ends = window_times(begins, n_samples[order], samplerate)
    ends = np.maximum.accumulate(own_ends)
    # From the end of all before it to the beginning of each; negative where they overlap.
    apart = begins[1:] - ends[:-1]
    shared = np.minimum(ends[:-1], own_ends[1:]) - begins[1:]
    drifts = apart[np.abs(apart) < DRIFT]
    return {
        "first": iso(begins[0]) if len(begins) else None,
        "last": iso(ends[-1]) if len(ends) else None,
        "missing": {"recordings": len(missing), "paths": [paths[i] for i in missing[:LISTED]]},
        "without_timezone": starts.unzoned,
        "time_expanded": starts.expanded,
        "gaps": _places(apart >= DRIFT, apart, order, begins, paths),
        "overlaps": _places(apart <= -DRIFT, shared, order, begins, paths),
        "drift": {
            "recordings": int(np.count_nonzero(drifts)),
            "largest_seconds": float(np.abs(drifts).max(initial=0)) / SECOND,
        },
        "disagreements": _disagreements(starts, paths),
    }


def _disagreements(starts: Starts, paths: Sequence[str]) -> dict[str, Any]:
    """Of which recordings metadata say another time than is used, and the most so."""
    said = (starts.metadata != NAT) & (starts.start != NAT)
    differ = np.where(said, np.abs(starts.metadata - starts.start), 0)
    largest = [
        {"path": paths[i], "used": iso(starts.start[i]), "metadata": iso(starts.metadata[i])}
        for i in _largest(differ, differ > DRIFT)
    ]
    return {"recordings": int(np.count_nonzero(differ > DRIFT)), "largest": largest}


def _places(
    counted: Mask, lengths: Indices, order: Indices, begins: Indices, paths: Sequence[str]
) -> dict[str, Any]:
    """How many recordings have a gap before them or an overlap, and the longest of these."""
    return {
        "recordings": int(np.count_nonzero(counted)),
        "seconds": float(lengths[counted].sum()) / SECOND,
        "largest": [
            {
                "before": paths[order[i + 1]],
                "at": iso(begins[i + 1]),
                "seconds": float(lengths[i]) / SECOND,
            }
            for i in _largest(lengths, counted)
        ],
    }


def _largest(values: Indices, counted: Mask) -> Indices:
    """Numbers of those that count, the largest first."""
    numbers = np.flatnonzero(counted)
    largest: Indices = numbers[np.argsort(-values[numbers], kind="stable")][:LISTED]
    return largest


def iso(time: int) -> str:
    """A time in ns since 1970 as ISO 8601, in UTC, with no more of a fraction than it has."""
    text = str(np.datetime64(int(time), "ns"))
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "Z"
