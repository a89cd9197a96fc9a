"""Label counts: how often each class is heard, in which part of a split, and with which others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.reports.window_states import PARTIAL, WindowStates
from pipeline.store import Store

LISTED = 200  # classes
TOGETHER = 20  # classes, of which each pair is counted
AT_ONCE = 4096  # windows whose labels are looked at together
GOLDEN = 0.6180339887498949  # steps of this spread over the windows
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """The classes of a store, most heard first, in how many windows, and one that shows each.

    Where each window has one value, each value is a class.
    """

    classes: list[_Class]  # as many as are listed
    n_classes: int
    one_each: bool  # whether each window has one of them
    by_part: Array  # windows in which each is heard: (part of the split, class)
    together: Array  # windows in which two are heard: (class, class), of the first few
    examples: Array  # a readable window with each class, if it can be with no other; -1: none

    @classmethod
    def of(cls, store: Store, info: Mapping[str, Any], states: WindowStates) -> Self:
        """Count the labels of a store of which `info` said this."""
        one_each = store.coordinate("label", 0, 0).ndim == 1
        known = _classes(info, len(states.state), one_each)
        classes = sorted(known, key=lambda item: -item.counts["present"])[:LISTED]
        n, n_parts, few = len(classes), len(info["split"] or ()), min(TOGETHER, len(classes))
        by_part, together = np.zeros((n_parts, n), np.int64), np.zeros((few, few), np.int64)
        examples, best = np.full(n, -1), np.full(n, np.inf)
        readable, part_of = states.readable, states.state == PARTIAL
        for a in range(0, len(readable), AT_ONCE):
            b = min(a + AT_ONCE, len(readable))
            heard, n_heard = _heard(store, classes, a, b)
            for part in range(n_parts):
                by_part[part] += heard[store.coordinate("split", a, b) == part].sum(axis=0)
            near = heard[:, :few].astype(np.float64)
            together += (near.T @ near).astype(np.int64)
            # Whole ones first, with fewest others; of equals, one from anywhere.
            rank = n_heard + len(known) * part_of[a:b] + (np.arange(a, b) * GOLDEN + 0.5) % 1
            ranks = np.where((heard.T & readable[a:b]).T, rank[:, np.newaxis], np.inf)
            better = ranks.min(axis=0) < best
            examples[better] = a + ranks.argmin(axis=0)[better]
            best = np.minimum(best, ranks.min(axis=0))
        return cls(classes, len(known), one_each, by_part, together, examples)

    def described(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """The counts as plain values."""
        parts, near = info["split"] or {}, self.classes[: len(self.together)]
        pairs = {"names": [item.name for item in near], "counts": self.together.tolist()}
        return {
            "kind": _kind(info),
            "n_classes": self.n_classes,
            "classes": info["classes"],
            "rows": [
                {"name": item.name, **item.counts, "splits": dict(zip(parts, counts, strict=True))}
                for item, counts in zip(self.classes, self.by_part.T.tolist(), strict=True)
            ],
            "splits": {name: part["windows"] for name, part in parts.items()} or None,
            "together": None if self.one_each or len(near) < 2 else pairs,
            "events": info.get("events"),
        }


@dataclass(frozen=True)
class _Class:
    name: str
    value: str  # of a window's label, where it has one
    number: int  # in the labels of a window, where it has several
    counts: dict[str, int]  # of windows, by whether it is heard


def labels_at(store: Store, info: Mapping[str, Any], window: int) -> list[str]:
    """The names of the classes that are heard in a window."""
    label = store.coordinate("label", window, window + 1)[0]
    if not label.ndim:
        return [_name_of(info, str(label))]
    names = info["classes"] or [*info["labels"]]
    return [names[i] for i in np.flatnonzero(_any_frame(label[np.newaxis])[0])]


def _classes(info: Mapping[str, Any], n_windows: int, one_each: bool) -> list[_Class]:
    """All classes, in their order, with those that are heard nowhere."""
    counted, names = info["labels"], info["classes"]
    if one_each and names is not None:
        counted = dict.fromkeys(map(str, range(len(names))), 0) | counted
    if one_each or names is None:
        names = [_name_of(info, value) for value in counted]
    return [
        _Class(name, value, i, _states(item, n_windows))
        for i, (name, (value, item)) in enumerate(zip(names, counted.items(), strict=True))
    ]


def _name_of(info: Mapping[str, Any], value: str) -> str:
    """What a window's one label is called: the class of its number, or the value itself."""
    names = info["classes"]
    if names is None:
        return value
    return str(names[int(value)]) if 0 <= int(value) < len(names) else "none"


def _states(item: Any, n_windows: int) -> dict[str, int]:
    if isinstance(item, dict):
        return dict(item)
    return {"present": item, "absent": n_windows - item, "unknown": 0}


def _kind(info: Mapping[str, Any]) -> str:
    if info.get("events") is not None:
        return "events"
    return "values" if info["classes"] is None else "classes"


def _heard(
    store: Store, classes: list[_Class], a: int, b: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which classes are heard in windows a to b - 1, and how many of all."""
    label = store.coordinate("label", a, b)
    if label.ndim == 1:
        values = np.array([*map(str, label)])
        same = np.equal.outer(values, np.array([item.value for item in classes], str))
        return same, np.ones(b - a, np.int64)
    heard = _any_frame(label)
    return heard[:, [item.number for item in classes]], heard.sum(axis=1)


def _any_frame(label: Array) -> npt.NDArray[np.bool_]:
    """Which classes are heard in each window, in any of its frames."""
    return np.asarray((label.reshape(*label.shape[:2], -1) > 0).any(axis=2))
