"""Summary: what is in a store, and how far its job is, as plain values."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from pipeline.layout import Layout
from pipeline.locks import holders
from pipeline.paths import StoredFile
from pipeline.record import Record, State
from pipeline.share import Share
from pipeline.store import Store, check_format, check_small_files, open_store


def summarize(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a store holds and how it was made.

    Parameters
    ----------
    path : path
        Of a store that `extract` made.

    Returns
    -------
    dict
        Plain values, fit for JSON.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such store.
    """
    store = open_store(path)
    record = Record(store.record_folder)
    finished, regions, unreadable, classes_of = True, None, None, None
    if not store.packed:
        job = record.job()
        check_format(store, job)
        unreadable, done = job["unreadable"], job["regions"]
        if (found := record.read_finished()) is not None:
            small, classes_of = found.files, found.numerics
        else:
            finished, state = False, record.state(done)
            small, done = _small_files(store, state), int(state.done.sum())
            layout = Layout.from_json(job["identity"]["layout"])
            classes_of = state.windows_by_class(layout)
        check_small_files(store, small)
        regions = {"done": done, "of": job["regions"]}
    attrs = store.attrs()
    labels, classes = store.get("label"), store.get("class")
    sources, valid = store.get("source"), store.get("valid")
    assert sources is not None
    assert valid is not None
    lengths, coordinates = [len(valid)], {}
    for name, units in store.axes().items():
        values = store.get(name)
        assert values is not None
        lengths.append(len(values))
        unit = "" if units == "1" else f" {units}"
        coordinates[name] = f"{len(values)} from {values[0]:g} to {values[-1]:g}{unit}"
    return {
        "path": os.fspath(path),
        "shape": lengths,
        "dimensions": ["window", *coordinates],
        "dtype": json.loads(attrs["settings"])["dtype"],
        "coordinates": coordinates,
        "labels": None if labels is None else _count(labels),
        "classes": None if classes is None else [str(name) for name in classes],
        "regions": regions,
        "masked_windows": int((~valid).sum()) if finished else None,
        "samplerate": int(attrs["samplerate"]),
        "window": float(attrs["window"]),
        "hop": float(attrs["hop"]),
        "feature": json.loads(attrs["feature"]),
        "settings": json.loads(attrs["settings"]),
        "sources": [str(source) for source in sources],
        "unreadable": unreadable,
        "created": str(attrs["created"]),
        "versions": json.loads(attrs["versions"]),
        "numerics": classes_of,
        "fingerprint": str(attrs["fingerprint"]),
    }


def stand(path: str | os.PathLike[str]) -> dict[str, Any]:
    """How far the job of a store is, also while it runs.

    Parameters
    ----------
    path : path
        Of a store that `extract` made.

    Returns
    -------
    dict
        Plain values, fit for JSON: who is at work, on which share and how far;
        regions done, pending and failed; and the recordings that could not be
        read, whole or in part.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such store.
    """
    store = open_store(path)
    if store.packed:
        raise ValueError(f"{path} is a packed copy, which no job is at work on; see info")
    record = Record(store.record_folder)
    job = record.job()
    check_format(store, job)
    layout = Layout.from_json(job["identity"]["layout"])
    state = record.state(layout.n_regions)
    done = int(state.done.sum())
    running = holders(store.path)
    return {
        "path": os.fspath(path),
        "finished": record.finished(),
        "running": [holder.name for holder in running],
        "windows": layout.n_windows,
        "regions": layout.n_regions,
        "done": done,
        "pending": layout.n_regions - done - len(state.failed),
        "numerics": state.windows_by_class(layout),
        "damaged_lines": state.damaged_lines,
        "failed": [
            {
                "region": region,
                "windows": list(layout.bounds(region)),
                "attempts": failed.attempts,
                "reason": failed.reason,
                "trace": failed.trace,
            }
            for region, failed in sorted(state.failed.items())
        ],
        "shares": [
            {
                "share": holder.share,
                "holder": holder.name,
                "regions": stop - start,
                "done": int(state.done[start:stop].sum()),
            }
            for holder in running
            if holder.share
            for start, stop in [Share.parse(holder.share).bounds(layout.n_regions)]
        ],
        "unreadable": job["unreadable"],
        "masked": [
            {"windows": [start, stop], "path": path, "reason": reason}
            for start, stop, path, reason in state.masked()
        ],
    }


def _small_files(store: Store, state: State) -> tuple[StoredFile, ...]:
    """Those of no region that must be as they were recorded, of an unfinished store."""
    if state.common_files is None:
        raise ValueError(f"{store.path} is marked to be made anew; run extract again")
    return state.settled_files(store.written_last)


def _count(labels: np.ndarray[Any, Any]) -> dict[str, int]:
    """How often each label stands, or each class where there are several."""
    if labels.ndim == 2:
        return {str(i): int(n) for i, n in enumerate((labels != 0).sum(axis=0))}
    values, counts = np.unique(labels, return_counts=True)
    return {str(value): int(n) for value, n in zip(values, counts, strict=True)}
