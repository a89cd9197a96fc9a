"""Watching: how far a job is, looked at again and again, as plain values."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pipeline.checks import number
from pipeline.job.pace import Pace
from pipeline.job.status import open_job, shares_of
from pipeline.locks import holders
from pipeline.paths import as_path
from pipeline.record import Done, RewrittenError, State

LAST_FAILED = 5


def watch(path: str | os.PathLike[str], every: float) -> Iterator[dict[str, Any]]:
    """How far the job of a store is, every so many seconds, until it is finished."""
    number("every", every, 0.1, "of seconds, from 0.1 to 86400", most=86400)
    watched = _Watched(path)
    while True:
        try:
            look = watched.look()
        except (RewrittenError, FileNotFoundError):  # all is read again, if it is still there
            watched = _found_again(path, every)
            continue
        yield look
        if look["finished"]:
            return
        time.sleep(every)


def _found_again(path: str | os.PathLike[str], every: float) -> _Watched:
    """The job that is there now; who is at work may be about to make the store anew."""
    while True:
        time.sleep(every)
        try:
            return _Watched(path)
        except FileNotFoundError:
            if not holders(as_path(path)):
                raise


class _Watched:
    """A job, of whose record only what was added is read at each look."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._store, self._record, self._job, self._layout = open_job(path)
        self._path, self._stamp = os.fspath(path), self._record.stamp()
        self._additions = self._record.additions()
        self._state, self._pace = State.of(self._layout.n_regions), Pace(self._layout)

    def look(self) -> dict[str, Any]:
        """How far the job is now; a RewrittenError if it is another, or was begun anew."""
        if self._record.stamp() != self._stamp:
            raise RewrittenError(self._path)
        finished = self._record.finished()  # before that is read which then is the last line
        self._read()
        now, running = time.time(), holders(self._store.path)
        return {
            "path": self._path,
            "time": _iso(now),
            "finished": finished,
            "running": [holder.name for holder in running],
            "shares": shares_of(running, self._state),
            **self._counts(),
            **self._speed(now, bool(running)),
            **self._failures(),
        }

    def _read(self) -> None:
        for entry in self._additions:
            if entry is not None:  # the region of a damaged line is done again
                self._state.add(entry)
            if isinstance(entry, Done):
                self._pace.add(entry)

    def _counts(self) -> dict[str, int]:
        done = self._state.done
        return {
            "windows": self._layout.n_windows,
            "windows_done": self._layout.length_of(done),
            "regions": self._layout.n_regions,
            "done": int(done.sum()),
        }

    def _speed(self, now: float, runs: bool) -> dict[str, Any]:
        """Rates of late, and how long it will take at these; none if nobody is at work."""
        hosts = self._pace.hosts(self._state.done, now)
        rate = sum(host.windows_per_second for host in hosts) if runs else 0.0
        pending = ~self._state.done
        pending[list(self._state.failed)] = False
        left = self._layout.length_of(pending)
        return {
            "windows_per_second": round(rate, 3),
            "times_real_time": round(rate * float(self._job["attrs"]["hop"]), 3),
            "seconds_left": round(left / rate, 1) if rate else None,
            "hosts": [
                {
                    "host": host.name,
                    "done": host.regions,
                    "windows_per_second": round(host.windows_per_second, 3) if runs else 0.0,
                    "last_seen": _iso(host.last_seen),
                    "seconds_ago": round(max(0.0, now - host.last_seen), 1),
                }
                for host in hosts
            ],
        }

    def _failures(self) -> dict[str, Any]:
        """How many regions have failed, and those that did so last."""
        last = sorted(self._state.failed.values(), key=lambda failed: failed.time)[-LAST_FAILED:]
        return {
            "failed": len(self._state.failed),
            "last_failed": [
                {"region": item.region, "attempts": item.attempts, "reason": item.reason}
                for item in last
            ],
        }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
