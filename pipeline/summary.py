"""Summary: what is in a store, as plain values."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from pipeline.record import Record
from pipeline.store import open_store

__all__ = ["summarize"]


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
    job, attrs = record.job(), store.attrs()
    axes = {name: store.get(name) for name in ("frequency", "time")}
    labels, classes = store.get("label"), store.get("class")
    sources, valid = store.get("source"), store.get("valid")
    assert sources is not None
    assert valid is not None
    coordinates = {
        name: f"{len(values)} from {values[0]:g} to {values[-1]:g} {unit}"
        for (name, values), unit in zip(axes.items(), ("Hz", "s"), strict=True)
        if values is not None
    }
    lengths = [len(values) for values in axes.values() if values is not None]
    done = len(record.done())
    return {
        "path": os.fspath(path),
        "shape": [len(valid), *lengths],
        "dimensions": ["window", *coordinates],
        "dtype": json.loads(attrs["settings"])["dtype"],
        "coordinates": coordinates,
        "labels": None if labels is None else _count(labels),
        "classes": None if classes is None else [str(name) for name in classes],
        "regions": {"done": done, "of": job["regions"]},
        "masked_windows": int((~valid).sum()) if record.finished() else None,
        "samplerate": int(attrs["samplerate"]),
        "window": float(attrs["window"]),
        "hop": float(attrs["hop"]),
        "feature": json.loads(attrs["feature"]),
        "settings": json.loads(attrs["settings"]),
        "sources": [str(source) for source in sources],
        "unreadable": job["unreadable"],
        "created": str(attrs["created"]),
        "versions": json.loads(attrs["versions"]),
        "fingerprint": str(attrs["fingerprint"]),
    }


def _count(labels: np.ndarray[Any, Any]) -> dict[str, int]:
    """How often each label stands, or each class where there are several."""
    if labels.ndim == 2:
        return {str(i): int(n) for i, n in enumerate((labels != 0).sum(axis=0))}
    values, counts = np.unique(labels, return_counts=True)
    return {str(value): int(n) for value, n in zip(values, counts, strict=True)}
