"""From events to windows: which classes are to be heard in a window, and which somebody looked for.

A time is in samples here, to a thousandth: what is less comes from rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.grid import WindowGrid
from pipeline.labels.events import EVERY_CLASS, State

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]
Kind = Literal["window", "fraction", "frame"]
DIGITS = 3  # of a sample
LATEST = 1e12  # samples, behind the end of any recording
PAIRS = 1 << 20  # of an event and a window, that are looked at together


@dataclass(frozen=True)
class Rule:
    """When an event counts in a window: if any of what is given is reached; else by any overlap.

    `min_overlap` is in seconds, the others are parts of the event and of a whole window.
    """

    min_overlap: float | None = None
    min_fraction_of_event: float | None = None
    min_fraction_of_window: float | None = None

    def counts(self, overlap: Array, duration: Array, grid: WindowGrid) -> Mask:
        """Which events count, by what they have in common with a window; all in samples."""
        least: list[Any] = []
        if self.min_overlap is not None:
            least.append(self.min_overlap * grid.samplerate)
        if self.min_fraction_of_event is not None:
            least.append(self.min_fraction_of_event * duration)
        if self.min_fraction_of_window is not None:
            least.append(self.min_fraction_of_window * grid.window_samples)
        if not least:
            return overlap > 0
        enough = least[0]
        for other in least[1:]:
            enough = np.minimum(enough, other)
        return np.asarray((overlap > 0) & (overlap >= np.round(enough, DIGITS)))


class Placed(NamedTuple):
    """Events, or spans, in columns: in which recording, when in samples, and of which class."""

    recording: Indices
    start: Array
    end: Array
    label: Indices

    def of(self, rows: Mask | Indices) -> Placed:
        """Some of them."""
        return Placed(*(column[rows] for column in self))

    def joined(self) -> Placed:
        """Those of one recording and class that touch or overlap each other, as one."""
        if len(self.start) < 2:
            return self
        rows = np.lexsort((self.start, self.label, self.recording))
        recording, start, end, label = (column[rows] for column in self)
        end = np.minimum(end, LATEST)
        new = np.ones(len(rows), np.bool_)
        new[1:] = (np.diff(recording) != 0) | (np.diff(label) != 0)
        reach = _running_maximum(end, new)
        new[1:] |= start[1:] > reach[:-1]
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(rows)) - 1
        return Placed(recording[first], start[first], reach[last], label[first])


def _running_maximum(values: Array, new: Mask) -> Array:
    """The largest value so far, in each group that begins where `new` is true."""
    # The rank of a group comes first, so that one running maximum serves for all.
    order = np.argsort(values, kind="stable")
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values))
    keys = np.maximum.accumulate((np.cumsum(new) << 40) + rank)
    return np.asarray(values[order[keys & ((1 << 40) - 1)]])


class Pairs(NamedTuple):
    """Events and the windows that they have samples in, one row for each such pair."""

    window: Indices  # from the first of the block
    start: Array  # of the event, from the window's first sample
    end: Array
    label: Indices
    overlap: Array  # with the window; 0 of a point in it

    @property
    def duration(self) -> Array:
        """Of the events."""
        return np.asarray(self.end - self.start)


class _Spread:
    """Events by the windows that they are in, found for a few windows at a time."""

    def __init__(self, grid: WindowGrid, events: Placed, before: float, after: float) -> None:
        self._grid, self._before, self._after = grid, before, after
        first, count = np.zeros((2, int(events.recording.max(initial=-1)) + 1), np.int64)
        number = 0
        for recording, _, n in grid.runs():
            if recording < len(first):
                first[recording], count[recording] = number, n
            number += n
        start, end, hop = events.start, events.end, grid.hop_samples
        # Windows from the first that ends behind the start, to the last that begins before the end.
        low = np.floor((start - (grid.window_samples + after)) / hop) + 1
        high = np.where(end > start, np.ceil((end + before) / hop) - 1, (start + before) // hop)
        low, high = np.maximum(low, 0), np.minimum(high, count[events.recording] - 1)
        rows = np.flatnonzero((low <= high) & (end >= -before))
        begin = first[events.recording]
        low, high = (begin + low).astype(np.int64), (begin + high).astype(np.int64)
        rows = rows[np.argsort(low[rows], kind="stable")]
        self.low, self.high = low[rows], high[rows]
        self.start, self.end, self.label = start[rows], end[rows], events.label[rows]
        self._reach = np.maximum.accumulate(self.high)

    def pairs(self, a: int, b: int) -> Iterator[Pairs]:
        """Those of windows a to b - 1, some at a time."""
        some = slice(int(np.searchsorted(self._reach, a)), int(np.searchsorted(self.low, b)))
        if some.start >= some.stop:
            return
        _, begin, n_samples = self._grid.locate(np.arange(a, b))
        rows = np.arange(some.start, some.stop)
        rows = rows[self.high[rows] >= a]
        low, high = np.maximum(self.low[rows], a), np.minimum(self.high[rows], b - 1)
        ends = np.cumsum(high - low + 1)
        cuts = np.searchsorted(ends, np.arange(PAIRS, int(ends[-1]), PAIRS))
        for group in np.split(np.arange(len(rows)), cuts):
            lengths = high[group] - low[group] + 1
            event = np.repeat(rows[group], lengths)
            place = np.arange(len(event)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            window = np.repeat(low[group], lengths) + place - a
            offset, length = begin[window], n_samples[window]
            start, end = self.start[event] - offset, self.end[event] - offset
            overlap = np.minimum(end, length) - np.maximum(start, 0)
            if self._before or self._after:
                inside = (start < length + self._after) & (end >= -self._before)
            else:
                inside = (overlap > 0) | ((start == end) & (start >= 0) & (start < length))
            if not inside.all():
                event, window = event[inside], window[inside]
                start, end, overlap = start[inside], end[inside], overlap[inside]
            yield Pairs(window, start, end, self.label[event], overlap)


class WindowLabels:
    """Labels of the windows of a grid, made of events a block at a time.

    Parameters
    ----------
    grid : WindowGrid
        The windows.
    events : Placed
        What was heard, by the numbers of its classes.
    state : array of State, shape (event,)
        What is said of each.
    spans : Placed
        What was annotated; class -1 stands for all.
    n_classes : int
        How many classes there are.
    rule : Rule
        When an event counts in a window.
    kind : {"window", "fraction", "frame"}
        Whether a label is 1 where the class is heard in the window (window, class), how much of
        the window it takes, or where it is heard in each frame (window, class, frame).
    frames : array, shape (frame + 1,), optional
        The edges of the frames, in samples from the window's start.
    """

    def __init__(
        self,
        grid: WindowGrid,
        events: Placed,
        state: Array,
        spans: Placed,
        n_classes: int,
        rule: Rule = Rule(),
        kind: Kind = "window",
        frames: Array | None = None,
    ) -> None:
        self._grid, self._rule, self._kind, self._frames = grid, rule, kind, frames
        self.shape: tuple[int, ...] = (n_classes,)
        before = after = 0.0
        if frames is not None:
            self.shape = (n_classes, len(frames) - 1)
            before, after = max(0.0, -frames[0]), max(0.0, frames[-1] - grid.window_samples)
        present = state == State.PRESENT
        heard = events if present.all() else events.of(present)
        if kind == "fraction":
            heard = heard.joined()
        self._heard = _Spread(grid, heard, before, after)
        self._unsure = _Spread(grid, events.of(state == State.UNCERTAIN), 0, 0)
        absent = events.of(state == State.ABSENT)
        looked = (np.concatenate(pair) for pair in zip(spans, absent, strict=True))
        self._looked_at = _Spread(grid, Placed(*looked).joined(), 0, 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels."""
        return np.dtype(np.float32 if self._kind == "fraction" else np.uint8)

    def block(self, a: int, b: int) -> tuple[Array, Mask]:
        """Labels, and what was annotated (window, class), of windows a to b - 1."""
        label = np.zeros((b - a, *self.shape), self.dtype)
        n_samples = self._grid.locate(np.arange(a, b))[2]
        for pairs in self._heard.pairs(a, b):
            if self._kind == "window":
                counts = self._rule.counts(pairs.overlap, pairs.duration, self._grid)
                counts |= (pairs.overlap == 0) & (pairs.duration == 0)
                label[pairs.window[counts], pairs.label[counts]] = 1
            elif self._kind == "fraction":
                whole = n_samples[pairs.window]
                at = pairs.window, pairs.label
                np.add.at(label, at, (pairs.overlap / whole).astype(np.float32))
            else:
                self._fill_frames(label, pairs)
        if self._kind == "fraction":
            np.minimum(label, 1, out=label)  # by rounding it may come out above
        heard = np.asarray(label.any(axis=2) if label.ndim > 2 else label > 0)
        return label, self._annotated(a, b, heard, n_samples)

    def _fill_frames(self, label: Array, pairs: Pairs) -> None:
        """Set the frames that an event has samples in, or the one that has a point."""
        edges = self._frames
        assert edges is not None
        low = np.searchsorted(edges, pairs.start, "right") - 1
        high = np.searchsorted(edges, pairs.end, "left") - 1
        high = np.where(pairs.duration == 0, low, high)
        inside = (high >= 0) & (low < len(edges) - 1) & (low <= high)
        low, high = np.maximum(low[inside], 0), np.minimum(high[inside], len(edges) - 2)
        window, of = pairs.window[inside], pairs.label[inside]
        lengths = high - low + 1
        frame = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - low, lengths)
        label[np.repeat(window, lengths), np.repeat(of, lengths), frame] = 1

    def _annotated(self, a: int, b: int, heard: Mask, n_samples: Indices) -> Mask:
        """Where somebody looked at all of a window, and was sure; or where there is a label."""
        annotated = np.zeros_like(heard)
        for pairs in self._looked_at.pairs(a, b):
            whole = pairs.overlap >= n_samples[pairs.window]
            window, of = pairs.window[whole], pairs.label[whole]
            every = of == EVERY_CLASS
            annotated[window[every]] = True
            annotated[window[~every], of[~every]] = True
        for pairs in self._unsure.pairs(a, b):
            annotated[pairs.window, pairs.label] = False
        annotated |= heard
        return annotated
