"""Counts of a split: the windows, recordings and classes of each part, as plain values."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.steps import Step, unseen
from pipeline.store import COORDINATE_CHUNK, STATISTICS, Store

LABELS = 4096  # windows whose labels are looked at together


def describe_split(
    store: Store, classes: list[str] | None, progress: Step = unseen
) -> dict[str, Any]:
    """What `info` says of the split of a store, as far as there is one."""
    attrs = store.attrs()
    if "split" not in attrs or store.get("split", 0, 0) is None:
        return {"split": None}
    told = json.loads(attrs["split"])
    counted = _count(store, len(told["parts"]))
    parts = {
        name: {"fraction": fraction, "windows": windows, "recordings": recordings}
        for (name, fraction), (windows, recordings) in zip(
            told["parts"].items(), counted, strict=True
        )
    }
    found = {"split": parts, "split_by": told["by"], "split_seed": told["seed"]}
    label = store.get("label", 0, 0)
    if label is not None and label.ndim > 1:
        names = classes or [str(i) for i in range(label.shape[1])]
        present = _count_classes(store, len(parts), len(names), progress)
        found["classes_by_split"] = {
            part: dict(zip(names, row, strict=True))
            for part, row in zip(parts, present.tolist(), strict=True)
        }
    if all(store.get(name) is not None for name in STATISTICS):
        found["statistics_split"] = json.loads(attrs.get("statistics", "{}")).get("split")
    return found


def _count(store: Store, n_parts: int) -> list[list[int]]:
    """How many windows and recordings each part has."""
    counted, last = np.zeros((n_parts, 2), np.int64), -1
    for a in range(0, len(store.coordinate("valid")), COORDINATE_CHUNK):
        part, recording = (
            store.coordinate(name, a, a + COORDINATE_CHUNK) for name in ("split", "recording")
        )
        first = np.diff(recording, prepend=last) != 0  # windows come recording by recording
        for column, some in enumerate((part, part[first])):
            counted[:, column] += np.bincount(some, minlength=n_parts)
        last = recording[-1]
    counts: list[list[int]] = counted.tolist()
    return counts


def _count_classes(
    store: Store, n_parts: int, n_classes: int, progress: Step
) -> npt.NDArray[np.int64]:
    """How many windows of each part have each class."""
    present = np.zeros((n_parts, n_classes), np.int64)
    n = len(store.coordinate("valid"))
    for a in range(0, n, LABELS):
        label, part = (store.coordinate(name, a, a + LABELS) for name in ("label", "split"))
        heard = np.greater(label.reshape(len(label), n_classes, -1), 0).any(axis=2)
        np.add.at(present, part, heard.astype(np.int64))
        progress(a + len(part), n)
    return present
