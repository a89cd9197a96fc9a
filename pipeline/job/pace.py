"""Pace: how fast a job goes, on which hosts, and when it will be done, by the lines of its record.

Between the end of one region and the end of another, what was done is the windows of those that
ended since. Of the time between, only that counts in which some region was at work: a job that
was killed and resumed has the pace that it had while it ran.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.record import Done

RECENT_SECONDS = 120.0
FEWEST, MOST = 8, 1024  # regions that the pace goes by: of slow ones more than those of late
NOBODY = -1  # in place of the number of a host


@dataclass(frozen=True)
class Host:
    """What a host has done, and when it was last heard of."""

    name: str
    regions: int
    windows_per_second: float  # of late
    last_seen: float  # seconds since 1970


class _End(NamedTuple):
    """The end of a region."""

    time: float
    seconds: float  # that it took
    windows: int
    host: int


class Pace:
    """The pace of a job, to which its lines are added as they are read, in any order."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._latest: list[_End] = []  # a heap, the earliest first
        self._host_of = np.full(layout.n_regions, NOBODY)
        self._names: dict[str, int] = {}
        self._seen: list[float] = []  # when, by number of the host

    def add(self, entry: Done) -> None:
        """Take in that a region is stored."""
        host = self._names.setdefault(entry.host, len(self._names))
        if host == len(self._seen):
            self._seen.append(entry.time)
        self._seen[host] = max(self._seen[host], entry.time)
        self._host_of[entry.region] = host
        start, stop = self._layout.bounds(entry.region)
        heapq.heappush(self._latest, _End(entry.time, entry.seconds, stop - start, host))
        if len(self._latest) > MOST:
            heapq.heappop(self._latest)

    def _rates(self, now: float) -> dict[str, float]:
        first, ends = self._stretch()
        seconds = _busy_seconds(first, ends, now)
        rates = dict.fromkeys(self._names, 0.0)
        names = [*self._names]
        for end in ends:
            rates[names[end.host]] += end.windows / seconds
        return rates

    def hosts(self, done: npt.NDArray[np.bool_], now: float) -> list[Host]:
        """Each host, with how many of the regions that are done; the last heard of first."""
        counts = np.bincount(self._host_of[done] + 1, minlength=len(self._names) + 1)[1:]
        rates = self._rates(now)
        found = zip(self._names, counts.tolist(), rates.values(), self._seen, strict=True)
        return sorted((Host(*host) for host in found), key=lambda host: -host.last_seen)

    def _stretch(self) -> tuple[float, Sequence[_End]]:
        """From when on the pace is looked at, and the regions that ended since."""
        latest = sorted(self._latest)
        if not latest:
            return 0.0, []
        recent = sum(end.time > latest[-1].time - RECENT_SECONDS for end in latest)
        before, ends = latest[: -max(recent, FEWEST)], latest[-max(recent, FEWEST) :]
        return before[-1].time if before else min(e.time - e.seconds for e in ends), ends


def _busy_seconds(first: float, ends: Sequence[_End], now: float) -> float:
    """How long any region was at work since `first`.

    That nothing ended for longer than any region took counts too: what hangs is slow.
    """
    busy, until = 0.0, first
    for end in ends:
        busy += max(0.0, end.time - max(until, end.time - end.seconds))
        until = max(until, end.time)
    longest = max((end.seconds for end in ends), default=0.0)
    return max(busy + max(0.0, now - until - longest), 1e-3)
