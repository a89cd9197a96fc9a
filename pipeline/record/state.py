"""State: what all lines of a record say together."""

import math
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.paths import StoredFile
from pipeline.process import boot
from pipeline.record.entries import CommonFiles, Done, Entry, Failed, Invalidated, Unreadable

# Linux writes to the disk what is older than half a minute, and has more to write meanwhile.
UNFLUSHED_SECONDS = 120.0
Files = tuple[StoredFile, ...]


@dataclass
class State:
    """How far a job is; entries are added in the order in which they were recorded."""

    done: npt.NDArray[np.bool_]  # by region
    unreadable: dict[int, tuple[Unreadable, ...]] = field(default_factory=dict)  # by region
    clipped: dict[int, int] = field(default_factory=dict)  # values beyond the limits, by region
    failed: dict[int, Failed] = field(default_factory=dict)  # by region
    common_files: Files | None = None  # None if they no longer hold
    classes: list[str] = field(default_factory=list)  # numerics classes of what was done
    damaged_lines: int = 0  # what they said is missing in the rest

    def __post_init__(self) -> None:
        self._class_of = np.zeros(len(self.done), np.int16)
        self._times = np.zeros(len(self.done))

    @classmethod
    def of(cls, n_regions: int) -> Self:
        """Of a job of which nothing is recorded yet."""
        return cls(np.zeros(n_regions, np.bool_))

    def add(self, entry: Entry, holds: bool = True) -> None:
        """Take in the next entry; `holds` is false if its files are no longer there."""
        self.common_files = common_files_after(self.common_files, entry, holds)
        if isinstance(entry, Invalidated):
            self.done[list(entry.regions)] = False
            for region in entry.regions:
                self.unreadable.pop(region, None)
                self.clipped.pop(region, None)
        elif isinstance(entry, Failed):
            self._add_failed(entry)
        elif isinstance(entry, Done):
            self._add_done(entry, holds)

    def _add_failed(self, entry: Failed) -> None:
        # Logs are read one after the other, also those of shares that overlapped: what
        # was stored later than this is stored. What was stored before may be gone.
        if self.done[entry.region] and self._times[entry.region] > entry.time:
            return
        self.failed[entry.region] = entry
        self.done[entry.region] = False

    def _add_done(self, entry: Done, holds: bool) -> None:
        region = entry.region
        self.done[region], self._times[region] = holds, entry.time
        self.failed.pop(region, None)
        self.unreadable.pop(region, None)
        if entry.unreadable:
            self.unreadable[region] = entry.unreadable
        self.clipped.pop(region, None)
        if entry.clipped:
            self.clipped[region] = entry.clipped
        if entry.numerics not in self.classes:
            self.classes.append(entry.numerics)
        self._class_of[region] = self.classes.index(entry.numerics)

    def settled_files(self, written_last: str, finished: bool = False) -> Files:
        """The common files that must be as they were recorded.

        A job that ended while it finished the store may have written those whose names
        begin with `written_last`, and not recorded them yet.
        """
        unsettled = bool(self.done.all()) and not finished
        return tuple(
            file
            for file in self.common_files or ()
            if not (unsettled and file.name.startswith(written_last))
        )

    def windows_by_class(self, layout: Layout) -> dict[str, int]:
        """How many windows that are stored each numerics class has computed."""
        counts = {
            name: layout.length_of(self.done & (self._class_of == i))
            for i, name in enumerate(self.classes)
        }
        return {name: count for name, count in counts.items() if count}

    def masked(self) -> list[Unreadable]:
        """Runs of windows that could not be read, each as long as it can be, in order."""
        runs: list[Unreadable] = []
        for start, stop, path, reason in sorted(chain(*self.unreadable.values())):
            if runs and runs[-1][1:3] == (start, path):
                runs[-1] = (runs[-1][0], stop, *runs[-1][2:])
            else:
                runs.append((start, stop, path, reason))
        return runs


def common_files_after(
    before: Files | None, entry: Entry | None, holds: bool = True
) -> Files | None:
    """The common files that hold after one more entry."""
    if isinstance(entry, CommonFiles):
        return entry.files if holds else None
    return None if isinstance(entry, Invalidated) and entry.common else before


def power_lost(entries: Iterable[Entry | None]) -> Callable[[Done], bool]:
    """Tells of which regions a loss of power may have cost the files.

    Those that this host had stored, and not flushed, shortly before it was last seen
    running. The system writes what is older to the disk by itself.
    """
    host, now = socket.gethostname(), boot()
    last: dict[str, float] = {}
    for entry in entries:
        if isinstance(entry, Done) and entry.boot not in ("", now):
            last[entry.boot] = max(last.get(entry.boot, 0.0), entry.time)

    def doubtful(entry: Done) -> bool:
        ours = entry.host == host
        return ours and entry.time > last.get(entry.boot, math.inf) - UNFLUSHED_SECONDS

    return doubtful
