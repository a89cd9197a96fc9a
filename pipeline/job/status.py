"""Status: how far the job of a store is, and what is in the store, as plain values."""

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.job.split_counts import describe_split
from pipeline.layout import Layout
from pipeline.locks import Holder, holders
from pipeline.record import Record, State
from pipeline.share import Share
from pipeline.steps import Step, Steps, all_unseen
from pipeline.store import (
    STATISTICS,
    Store,
    check_common_files,
    check_format,
    check_small_files,
    open_store,
)

COUNTED = 4096  # windows whose labels are looked at together
LINES = "lines of the record read"


def status_of(path: str | os.PathLike[str], progress: Steps = all_unseen) -> dict[str, Any]:
    """How far the job of a store is, also while it runs, as plain values.

    That is who is at work, on which share and how far; which regions are done, pending and
    failed; and the recordings that could not be read, whole or in part.
    """
    store, record, job, layout = open_job(path)
    state = record.state(layout.n_regions, progress=progress(LINES))
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
        "clipped": sum(state.clipped.values()),
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
        "shares": shares_of(running, state),
        "unreadable": job["unreadable"],
        "masked": [
            {"windows": [start, stop], "path": path, "reason": reason}
            for start, stop, path, reason in state.masked()
        ],
    }


def open_job(path: str | os.PathLike[str]) -> tuple[Store, Record, dict[str, Any], Layout]:
    """A store with the record of its job, what that says the job is, and how it is cut."""
    store = open_store(path)
    if store.packed:
        raise ValueError(f"{path} is a packed copy, which no job is at work on; see info")
    record = Record(store.record_folder)
    job = record.job()
    check_format(store, job)
    return store, record, job, Layout.from_json(job["identity"]["layout"])


def shares_of(running: Iterable[Holder], state: State) -> list[dict[str, Any]]:
    """The shares of a job that are at work, and how far each is."""
    return [_share(holder, state) for holder in running if holder.share]


def _share(holder: Holder, state: State) -> dict[str, Any]:
    start, stop = Share.parse(holder.share or "").bounds(len(state.done))
    done = int(state.done[start:stop].sum())
    return {"share": holder.share, "holder": holder.name, "regions": stop - start, "done": done}


def info_of(path: str | os.PathLike[str], progress: Steps = all_unseen) -> dict[str, Any]:
    """What a store holds and how it was made, as plain values."""
    store = open_store(path)
    recorded = _of_record(store, progress(LINES))
    attrs = store.attrs()
    sources, valid = store.coordinate("source"), store.coordinate("valid")
    lengths, coordinates = [len(valid)], {}
    for name, units in store.axes().items():
        values = store.coordinate(name)
        lengths.append(len(values))
        unit = "" if units == "1" else f" {units}"
        coordinates[name] = f"{len(values)} from {values[0]:g} to {values[-1]:g}{unit}"
    return {
        "path": os.fspath(path),
        "shape": lengths,
        "dimensions": ["window", *coordinates],
        "dtype": store.encoding.dtype,
        **store.encoding.described(),
        "clipped": recorded["clipped"],
        "coordinates": coordinates,
        **store.together(lambda: _of_labels(store, progress)),
        "statistics": [name for name in STATISTICS if store.get(name) is not None],
        "regions": recorded["regions"],
        "masked_windows": int((~valid).sum()) if recorded["finished"] else None,
        "samplerate": int(attrs["samplerate"]),
        "window": float(attrs["window"]),
        "hop": float(attrs["hop"]),
        "feature": json.loads(attrs["feature"]),
        "settings": json.loads(attrs["settings"]),
        "sources": [str(source) for source in sources],
        "unreadable": recorded["unreadable"],
        "datetime": recorded["datetime"],
        "created": str(attrs["created"]),
        "versions": json.loads(attrs["versions"]),
        "numerics": recorded["numerics"],
        "fingerprint": str(attrs["fingerprint"]),
    }


def _of_record(store: Store, progress: Step) -> dict[str, Any]:
    """What `info` says that only the record knows; what it says of small files is checked."""
    if store.packed:
        names = "regions", "unreadable", "numerics", "datetime", "clipped"
        unknown = dict.fromkeys(names)
        return {"finished": True, **unknown}
    record = Record(store.record_folder)
    job = record.job()
    check_format(store, job)
    done = n_regions = job["regions"]
    finished = record.read_finished()
    if finished is not None:
        check_common_files(store, finished)
        numerics, clipped = finished.numerics, finished.clipped
    else:
        state = record.state(n_regions, progress=progress)
        if state.common_files is None:
            raise ValueError(f"{store.path} is marked to be made anew; run extract again")
        check_small_files(store, state.settled_files(store.written_last))
        done = int(state.done.sum())
        numerics = state.windows_by_class(Layout.from_json(job["identity"]["layout"]))
        clipped = sum(state.clipped.values())
    return {
        "finished": finished is not None,
        "regions": {"done": done, "of": n_regions},
        "unreadable": job["unreadable"],
        "numerics": numerics,
        "clipped": clipped,
        "datetime": job.get("datetime"),  # of a store that was made before there were times
    }


def _of_labels(store: Store, progress: Steps) -> dict[str, Any]:
    classes, attrs = store.get("class"), store.attrs()
    names = None if classes is None else [str(name) for name in classes]
    events = json.loads(attrs["labels"])["events"] if "labels" in attrs else None
    told = {} if events is None else {"events": events}
    counts = _count_labels(store, names, progress("windows counted"))
    split = describe_split(store, names, progress("windows of the split counted"))
    return {"labels": counts, "classes": names, **told, **split}


def _count_labels(store: Store, classes: list[str] | None, progress: Step) -> dict[str, Any] | None:
    """How many windows have each label; of what events have made, have it, have it not, or may."""
    if (none := store.get("annotated", 0, 0)) is None:
        labels = store.get("label")
        return None if labels is None else _count(labels)
    n, known = len(store.coordinate("valid")), np.zeros(none.shape[1], np.int64)
    present = known.copy()
    for a in range(0, n, COUNTED):
        label, looked = (store.coordinate(name, a, a + COUNTED) for name in ("label", "annotated"))
        present += (label.reshape(*looked.shape, -1) > 0).any(axis=2).sum(axis=0)
        known += looked.sum(axis=0)
        progress(a + len(looked), n)
    return {
        name: {"present": p, "absent": k - p, "unknown": n - k}
        for name, p, k in zip(classes or [], present.tolist(), known.tolist(), strict=True)
    }


def _count(labels: np.ndarray[Any, Any]) -> dict[str, int]:
    """How many windows have each label, or each class where there are several."""
    if labels.ndim == 2:
        return {str(i): int(n) for i, n in enumerate((labels != 0).sum(axis=0))}
    values, counts = np.unique(labels, return_counts=True)
    return {str(value): int(n) for value, n in zip(values, counts, strict=True)}
