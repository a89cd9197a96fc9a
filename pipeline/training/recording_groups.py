"""Groups of recordings: what sounds alike, such as a day, and therefore stays together."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from pipeline.checks import one_of
from pipeline.recordings import NAT
from pipeline.steps import Step, unseen
from pipeline.store import COORDINATE_CHUNK, Store
from pipeline.training.order import Indices

SECOND = 10**9
By = Literal["recording", "site", "day"] | Callable[[str], str]
BY = ("recording", "site", "day")


def check_by(by: By) -> None:
    """Refuse what groups are not made by."""
    if not callable(by):
        one_of("by", by, (*BY, "a function that gives the group of a path"))


@dataclass(frozen=True, eq=False)
class StoredRecordings:
    """The recordings of a finished store: where they are, and from when to when, in ns of UTC."""

    store: Store
    paths: list[str]
    n_windows: Indices
    begins: Indices  # NAT where it is not known
    ends: Indices  # of the samples that are in windows

    @classmethod
    def of(cls, store: Store, progress: Step = unseen) -> Self:
        paths = [str(path) for path in store.coordinate("source")]
        counts = np.zeros(len(paths), np.int64)
        n_windows = len(store.coordinate("valid"))
        for a, recording in chunks(store, "recording"):
            counts += np.bincount(recording, minlength=len(paths))
            progress(a + len(recording), n_windows)
        begins, ends = (np.full(len(paths), NAT) for _ in range(2))
        if store.get("datetime", 0, 0) is not None:
            some = np.flatnonzero(counts)  # windows come recording by recording
            last = np.cumsum(counts)[some] - 1
            begins[some] = _at(store, "datetime", last + 1 - counts[some])
            lengths = _at(store, "n_samples", last) * SECOND // int(store.attrs()["samplerate"])
            times = _at(store, "datetime", last)
            ends[some] = np.where(times == NAT, NAT, times + lengths)
        return cls(store, paths, counts, begins, ends)

    def groups(self, by: By) -> list[str | None]:
        """The group of each recording; None of those without windows."""
        name = {"recording": self._recording, "site": self._site, "day": self._day}
        of = name[by] if isinstance(by, str) else lambda i: self._named(by, i)
        return [of(i) if n else None for i, n in enumerate(self.n_windows.tolist())]

    def _recording(self, i: int) -> str:
        name = self.paths[i].rpartition("/")[2]
        return _normal(name.rpartition(".")[0] or name)

    def _site(self, i: int) -> str:
        folder = self.paths[i].rpartition("/")[0].rstrip("/").rpartition("/")[2]
        if folder in ("", ".", ".."):
            raise ValueError(
                f"{self.paths[i]} names no folder, which would be its site; pass another 'by', or "
                f"extract from paths with folders"
            )
        return _normal(folder)

    def _day(self, i: int) -> str:
        if self.begins[i] == NAT:
            raise ValueError(
                f"nothing says on which day {self.paths[i]} was recorded; pass another 'by', or "
                f"extract with --datetime"
            )
        local = int(self.begins[i]) + int(self._utc_offset[i]) * SECOND
        return str(np.datetime64(local // SECOND, "s").astype("datetime64[D]"))

    @cached_property
    def _utc_offset(self) -> npt.NDArray[Any]:
        return self.store.coordinate("utc_offset")

    def _named(self, by: Callable[[str], str], i: int) -> str:
        group: object = by(self.paths[i])
        if not isinstance(group, str):
            raise ValueError(
                f"the group of {self.paths[i]} is {group!r}; 'by' must give its name, a text"
            )
        return group

    def divided(self, parts: npt.NDArray[np.int8]) -> int:
        """How many recordings begin where one of their folder ends that is in another part."""
        settings = json.loads(self.store.attrs()["settings"])
        hop = float(self.store.attrs()["hop"])  # so much a window has, at most, left out at the end
        near = SECOND + round(hop * SECOND) * (settings["tail"] == "drop")
        known = np.flatnonzero(self.begins != NAT)
        folders = np.array([self.paths[i].rpartition("/")[0] for i in known.tolist()], object)
        found = 0
        for some in _alike(folders):
            before = known[some][np.argsort(self.ends[known[some]], kind="stable")]
            begins, ends = self.begins[known[some]], self.ends[before]
            place = np.searchsorted(ends, begins - near, "right")
            follows = place < np.searchsorted(ends, begins + near, "left")
            differ = parts[before[place[follows]]] != parts[known[some][follows]]
            found += int(np.count_nonzero(differ))
        return found


def _alike(names: npt.NDArray[Any]) -> Iterator[Indices]:
    """Places of each name."""
    _, numbers, counts = np.unique(names, return_inverse=True, return_counts=True)
    yield from np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1])


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # which systems that move files may have changed


def chunks(store: Store, name: str) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """A variable along the windows, some at a time, with the first of them."""
    for a in range(0, len(store.coordinate("valid")), COORDINATE_CHUNK):
        yield a, store.coordinate(name, a, a + COORDINATE_CHUNK)


def _at(store: Store, name: str, windows: Indices) -> Indices:
    """Values of a variable at windows that are sorted."""
    found = np.empty(len(windows), np.int64)
    for a, values in chunks(store, name):
        first, last = np.searchsorted(windows, (a, a + len(values)))
        found[first:last] = values[windows[first:last] - a]
    return found
