"""Events as they are heard in recordings, with their frequencies: to be looked at."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.grid import WindowGrid
from pipeline.labels.collecting import label_files
from pipeline.labels.event_labels import EventLabels, read_placed
from pipeline.labels.events import Events, State
from pipeline.labels.labelling import Labelling
from pipeline.labels.placing import Placement, Places
from pipeline.recordings import Recordings

Array = npt.NDArray[Any]
MOST_BYTES = 1 << 26  # of label files that are read only to be looked at


@dataclass(frozen=True, eq=False)
class Heard:
    """Events that are heard, or may be, in columns.

    Times are in seconds from the recording's start, frequencies in Hz, NaN where not known.
    """

    recording: Array
    start: Array
    end: Array
    label: Array  # number of the class
    low: Array
    high: Array
    sure: Array

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(cls, events: Events, placement: Placement, samplerate: int) -> Heard:
        """Those of label files that have a place in a recording."""
        rows = placement.state != State.ABSENT
        placed, of = placement.events.of(rows), placement.rows[rows]
        low, high = events.columns["low"][of], events.columns["high"][of]
        start, end = placed.start / samplerate, placed.end / samplerate
        sure = placement.state[rows] == State.PRESENT
        return cls(placed.recording, start, end, placed.label, low, high, sure)

    def where(self, rows: Array) -> Heard:
        """Some of them."""
        return Heard(*(getattr(self, field.name)[rows] for field in fields(self)))

    def between(self, recording: int, first: float, last: float) -> Heard:
        """Those of a recording that have a part of it, from one time to another."""
        point = self.start == self.end
        inside = (self.start < last) & ((self.end > first) | (point & (self.end >= first)))
        return self.where(np.flatnonzero(inside & (self.recording == recording)))


def read_heard(
    labels: str,
    recordings: Recordings,
    grid: WindowGrid,
    times: Array | None,
    labelling: Labelling,
    clock: Array | None = None,
) -> tuple[EventLabels, Heard]:
    """The events of the label files that a path, a folder or a glob names, and what they label."""
    size = sum(file.stat().st_size for file in label_files(labels))
    if size > MOST_BYTES:
        raise ValueError(f"{labels} has {size} bytes; {MOST_BYTES} are read at most")
    places = Places.of(recordings, [path for path, _ in recordings.unreadable], clock)
    events, placement = read_placed(labels, places, grid, labelling)
    made = EventLabels(placement, grid, labelling, times, labels)
    return made, Heard.of(events, placement, grid.samplerate)
