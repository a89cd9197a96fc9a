"""Findings: all that a report says of a store, finished or not, as plain values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.amounts import duration
from pipeline.job import info_of, open_job, status_of
from pipeline.layout import Layout
from pipeline.record import Done
from pipeline.reports.coverage import coverage_of
from pipeline.reports.label_counts import LabelCounts
from pipeline.reports.pictures import pictures_of
from pipeline.reports.reading import Reader
from pipeline.reports.recording_rows import recordings_of
from pipeline.reports.sounds import Sounds
from pipeline.reports.throughput import throughput_of
from pipeline.reports.values import Values
from pipeline.reports.window_states import WindowStates
from pipeline.store import Store, open_store
from pipeline.text import counted
from pipeline.views import spread

FORMAT = 1  # of a report
LISTED = 50  # failures of each kind
SAMPLE = 2000  # windows whose features are read, at most
SAMPLE_BYTES = 1 << 27  # of their features, at most
OPENED_BY = """\
import pipeline as pl

batches = pl.Batches({path!r}, batch_size=64, shuffle=True, seed=0)
for X, y in batches:
    print({shown})
"""


def findings_of(path: str | os.PathLike[str], audio: bool = False) -> dict[str, Any]:
    """What is known of a store: of its record, its small variables and a sample of its windows.

    With `audio`, pictures come with the sounds of their windows.
    """
    store, info = open_store(path), info_of(path)
    job = None if store.packed else _Job.of(path)
    states = WindowStates.of(store, None if job is None else job.status)
    labels = None if info["labels"] is None else LabelCounts.of(store, info, states)
    n_readable, reader = int(states.readable.sum()), Reader(store)
    looked_at = states.usual
    values = Values.of(store, reader, _sample(looked_at, reader.n_values))
    sound = Sounds(store).of if audio else lambda *_: None
    pictures = pictures_of(store, reader, info, states, labels, sound)
    clipped = info["clipped"] if store.encoding.coded else None
    share = None if clipped is None else clipped / max(1, n_readable * reader.n_values)
    stored = os.path.getsize(path) if job is None else job.stored_bytes
    return {
        "report": FORMAT,
        **_identity(store, info, job),
        "variables": _variables(store),
        "splits": {name: part["windows"] for name, part in (info["split"] or {}).items()} or None,
        "windows": states.counts(),
        **_progress(job),
        "recordings": recordings_of(store, states, values),
        "coverage": coverage_of(store, states),
        "labels": None if labels is None else labels.described(info),
        "pictures": pictures,
        "values": None if values is None else values.described(store, len(looked_at), share),
        "level": None if values is None else values.level(store),
        "failures": {**_failures(job, info), "damaged": _damage(reader)},
        "throughput": None if job is None else throughput_of(job.layout, job.done),
        "bytes": _bytes(stored, n_readable, reader.n_values),
        **{name: info[name] for name in ("feature", "settings", "versions", "numerics")},
        "fingerprint": info["fingerprint"],
        "open": OPENED_BY.format(
            path=os.fspath(path), shown="X.shape" if labels is None else "X.shape, y.shape"
        ),
    }


@dataclass(frozen=True)
class _Job:
    """The job of a store that is not packed: how far it is, and what it did."""

    status: dict[str, Any]
    layout: Layout
    done: list[Done]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Self:
        _, record, _, layout = open_job(path)
        done = [entry for entry in record.entries() if isinstance(entry, Done)]
        return cls(status_of(path), layout, done)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the features, as they were last stored."""
        last = {entry.region: entry.files for entry in self.done}
        return sum(file.size for files in last.values() for file in files)


def _identity(store: Store, info: Mapping[str, Any], job: _Job | None) -> dict[str, Any]:
    n, n_recordings = info["shape"][0], len(info["sources"])
    axes = " x ".join(
        f"{length} {name}"
        for name, length in zip(info["dimensions"][1:], info["shape"][1:], strict=True)
    )
    seconds = n * min(info["hop"], info["window"])
    title = str(store.attrs()["title"])
    summary = (
        f"{counted(n, 'window')} of {info['window']:g} s ({duration(seconds)}) of "
        f"{counted(n_recordings, 'recording')}: {title}, "
        f"{axes or 'one value'}, {info['dtype']}"
    )
    names = "shape", "dimensions", "dtype", "samplerate", "window", "hop", "created"
    return {
        "path": os.fspath(info["path"]),
        "title": title,
        "units": store.units(),
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "finished": job is None or job.status["finished"],
        "packed": job is None,
        "summary": summary,
        **{name: info[name] for name in names},
    }


def _variables(store: Store) -> list[dict[str, Any]]:
    """What each window has, X and y first, the dimension of windows left out."""
    variables = store.variables()
    first = [name for name in ("features", "label") if name in variables]
    return [
        {
            "name": name,
            "dimensions": [*variable.dims[1:]],
            "shape": [*variable.shape[1:]],
            "dtype": str(variable.dtype),
        }
        for name, variable in ({name: variables[name] for name in first} | variables).items()
        if variable.dims[:1] == ("window",)
    ]


def _progress(job: _Job | None) -> dict[str, Any]:
    """How many regions are done, and who is at work."""
    if job is None:
        return {"regions": None, "running": []}
    status = job.status
    regions = {
        "total": status["regions"],
        "done": status["done"],
        "failed": len(status["failed"]),
        "pending": status["pending"],
    }
    shares = {share["holder"]: share for share in status["shares"]}
    unknown = {"share": None, "regions": None, "done": None}
    running = [{**unknown, "holder": name, **shares.get(name, {})} for name in status["running"]]
    return {"regions": regions, "running": running}


def _sample(windows: npt.NDArray[np.int64], n_values: int) -> npt.NDArray[np.int64]:
    """The windows whose features are looked at, evenly spread."""
    return spread(windows, max(1, min(SAMPLE, SAMPLE_BYTES // (4 * max(1, n_values)))))


def _failures(job: _Job | None, info: Mapping[str, Any]) -> dict[str, Any]:
    status: Mapping[str, Any] = {"failed": [], "masked": [], "damaged_lines": 0}
    status = status if job is None else job.status
    unreadable = info["unreadable"] or {}
    found = {name: status[name] for name in ("failed", "masked")}
    found["unreadable"] = [{"path": path, "reason": text} for path, text in unreadable.items()]
    return {
        **{name: items[:LISTED] for name, items in found.items()},
        **{f"n_{name}": len(items) for name, items in found.items()},
        "damaged_lines": status["damaged_lines"],
    }


def _damage(reader: Reader) -> list[dict[str, Any]]:
    found = [*reader.damage.items()]
    return [{"reason": reason, "windows": n} for reason, n in found[:LISTED]]


def _bytes(stored: int, n_readable: int, n_values: int) -> dict[str, Any]:
    return {
        "stored": stored,
        "per_window": stored / max(1, n_readable),
        "decoded": 4 * n_readable * n_values,
    }
