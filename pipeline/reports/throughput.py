"""Throughput: how fast a job went, and on which hosts, by the lines of its record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.record import Done

STRETCHES = 60
HOSTS = 100
SHORTEST = 2.0  # seconds of a job that there is more to say of than one number
SLOW = 1.5  # times the usual time of a window
Array = npt.NDArray[Any]


def throughput_of(layout: Layout, done: Sequence[Done]) -> dict[str, Any] | None:
    """When the job ran and how fast, and its hosts, the slowest first; None if nothing is done.

    Regions that were computed several times count each time.
    """
    if not done:
        return None
    first, last = np.array([layout.bounds(entry.region) for entry in done], np.int64).T
    windows, seconds = last - first, np.array([entry.seconds for entry in done])
    ends = np.array([entry.time for entry in done])
    began, ended = float((ends - seconds).min()), float(ends.max())
    running = _union(ends - seconds, ends)
    return {
        "began": _iso(began),
        "ended": _iso(ended),
        "seconds": float(seconds.sum()),
        "windows_per_second": float(windows.sum() / max(running, 1e-3)),
        "timeline": _timeline(began, ended, ends, seconds, windows),
        "hosts": _hosts(done, windows, seconds),
    }


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


def _union(starts: Array, ends: Array) -> float:
    """How long anything was at work."""
    order = np.argsort(starts)
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    before = np.concatenate([[-np.inf], ends[:-1]])
    return float((ends - np.maximum(starts, np.minimum(before, ends))).sum())


def _timeline(
    began: float, ended: float, ends: Array, seconds: Array, windows: Array
) -> list[dict[str, Any]]:
    """Windows a second in equal stretches of time: each region at its own, even, pace."""
    if ended - began < SHORTEST:
        return []
    edges = np.linspace(began, ended, STRETCHES + 1)
    # How much was done until each edge.
    done = np.zeros(len(edges))
    for end, length, n in zip(ends, np.maximum(seconds, 1e-3), windows, strict=True):
        done += n * np.clip((edges - (end - length)) / length, 0, 1)
    rates = np.diff(done) / np.diff(edges)
    return [
        {"at": _iso(at), "windows_per_second": round(float(rate), 3)}
        for at, rate in zip(edges, rates, strict=False)
    ]


def _hosts(done: Sequence[Done], windows: Array, seconds: Array) -> list[dict[str, Any]]:
    by_host: dict[str, list[int]] = {}
    for i, entry in enumerate(done):
        by_host.setdefault(entry.host, []).append(i)
    per_window = seconds / np.maximum(windows, 1)
    usual = float(np.median(per_window))
    rows = list[dict[str, Any]]()
    for host, places in by_host.items():
        median = float(np.median(per_window[places]))
        relative = median / usual if usual else 1.0
        rows.append(
            {
                "host": host,
                "workers": len({done[i].worker for i in places}),
                "regions": len(places),
                "windows": int(windows[places].sum()),
                "seconds": median,
                "relative": round(relative, 3),
                "slow": len(by_host) > 1 and relative >= SLOW,
            }
        )
    return sorted(rows, key=lambda row: -row["relative"])[:HOSTS]
