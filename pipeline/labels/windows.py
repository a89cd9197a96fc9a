"""From events to windows: which classes are to be heard in a window, and which somebody looked for.

A time is in samples here, to a thousandth: what is less comes from rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.checks import number
from pipeline.grid import WindowGrid
from pipeline.labels.events import EVERY_CLASS, State

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
DIGITS = 3  # of a sample
LATEST = 1e9  # seconds, behind the end of any recording
PAIRS = 1 << 20  # of an event and a window, that are looked at together


@dataclass(frozen=True)
class Rule:
    """When an event counts in a window: if any of what is given is reached; else by any overlap.

    Parameters
    ----------
    min_overlap : float, optional
        Seconds that the two have in common.
    min_fraction_of_event : float, optional
        Part of the event that is in the window.
    min_fraction_of_window : float, optional
        Part of the window, of whole length, that the event takes.

    Raises
    ------
    ValueError
        If one is not above 0, or a fraction is above 1.

    Notes
    -----
    A point event counts in the window that contains it.
    """

    min_overlap: float | None = None
    min_fraction_of_event: float | None = None
    min_fraction_of_window: float | None = None

    def __post_init__(self) -> None:
        for name, allowed, most in (
            ("min_overlap", "of seconds above 0", 1e9),
            ("min_fraction_of_event", "above 0, of at most 1", 1.0),
            ("min_fraction_of_window", "above 0, of at most 1", 1.0),
        ):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, number(name, value, 1e-9, allowed, most))

    def counts(
        self, overlap: Array, duration: Array, window: int, samplerate: int
    ) -> npt.NDArray[np.bool_]:
        """Which events count, by what they have in common with a window; all in samples."""
        least = []
        if self.min_overlap is not None:
            least.append(np.full(overlap.shape, self.min_overlap * samplerate))
        if self.min_fraction_of_event is not None:
            least.append(self.min_fraction_of_event * duration)
        if self.min_fraction_of_window is not None:
            least.append(np.full(overlap.shape, self.min_fraction_of_window * window))
        if not least:
            return overlap > 0
        enough = np.round(np.minimum.reduce(least), DIGITS)
        return (overlap > 0) & (overlap >= enough)


@dataclass(frozen=True, eq=False)
class Placed:
    """Events, or spans, of the recordings of a grid: which recording, from when to when, of what.

    Times are in seconds.
    """

    recording: Indices
    start: Array
    end: Array
    label: Indices
    state: Array | None = None  # present, where it is None

    def of(self, mask: npt.NDArray[np.bool_]) -> Placed:
        """Some of them."""
        state = None if self.state is None else self.state[mask]
        return Placed(
            self.recording[mask], self.start[mask], self.end[mask], self.label[mask], state
        )


class _Spread:
    """The windows that events have samples in, found for a few windows at a time."""

    def __init__(self, grid: WindowGrid, events: Placed) -> None:
        self._grid, rate = grid, grid.samplerate
        first, count = np.zeros((2, int(events.recording.max(initial=-1)) + 1), np.int64)
        before = 0
        for recording, _, n in grid.runs():
            if recording < len(first):
                first[recording], count[recording] = before, n
            before += n
        start, end = (np.round(time * rate, DIGITS) for time in (events.start, events.end))
        hop, length = grid.hop_samples, grid.window_samples
        # Windows from the first that ends behind the start, to the last that begins before the end.
        low = np.floor((start - length) / hop).astype(np.int64) + 1
        high = np.where(end > start, np.ceil(end / hop) - 1, np.floor(start / hop))
        high = np.minimum(high, count[events.recording] - 1).astype(np.int64)
        low = np.maximum(low, 0)
        rows = np.flatnonzero((low <= high) & (end >= 0))
        rows = rows[np.argsort(first[events.recording[rows]] + low[rows], kind="stable")]
        self._offset = first[events.recording[rows]]
        self.low, self.high = self._offset + low[rows], self._offset + high[rows]
        self.start, self.end, self.label = start[rows], end[rows], events.label[rows]
        self._reach = np.maximum.accumulate(self.high)

    def pairs(self, a: int, b: int) -> Iterator[tuple[Indices, Indices, Array]]:
        """Of windows a to b - 1: event, window and what they have in common in samples.

        That is less than 0 for a point in no window, and 0 for one in a window.
        """
        some = slice(int(np.searchsorted(self._reach, a)), int(np.searchsorted(self.low, b)))
        rows = np.arange(some.start, max(some.start, some.stop))
        rows = rows[self.high[rows] >= a]
        low, high = np.maximum(self.low[rows], a), np.minimum(self.high[rows], b - 1)
        ends = np.cumsum(high - low + 1)
        for group in np.split(
            np.arange(len(rows)), np.searchsorted(ends, range(PAIRS, _last(ends), PAIRS))
        ):
            lengths = high[group] - low[group] + 1
            event = np.repeat(rows[group], lengths)
            place = np.arange(len(event)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            window = np.repeat(low[group], lengths) + place
            begin = (window - self._offset[event]) * self._grid.hop_samples
            stop = begin + self._grid.locate(window)[2]
            start, end = self.start[event], self.end[event]
            overlap = np.minimum(end, stop) - np.maximum(start, begin)
            outside = (start == end) & ((start < begin) | (start >= stop))
            yield event, window, np.where(outside, -1.0, overlap)


def _merged(spans: Placed) -> Placed:
    """Spans of one recording and class that touch or overlap each other, as one."""
    order = np.lexsort((spans.start, spans.label, spans.recording))
    recording, label = spans.recording[order], spans.label[order]
    start, end = spans.start[order], np.minimum(spans.end[order], LATEST)
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(recording) != 0) | (np.diff(label) != 0)
    # Later groups are moved behind all others, so that one running maximum serves for all.
    shift = np.cumsum(new) * (LATEST + 1)
    reach = np.maximum.accumulate(end + shift)
    new[1:] |= start[1:] + shift[1:] > reach[:-1]
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(order)) - 1 if len(order) else first
    return Placed(recording[first], start[first], (reach - shift)[last], label[first])


def _last(ends: Indices) -> int:
    return int(ends[-1]) if len(ends) else 0


class WindowLabels:
    """Labels of the windows of a grid, made of events a block at a time.

    Parameters
    ----------
    grid : WindowGrid
        The windows.
    events : Placed
        What was heard, by the numbers of its classes.
    spans : Placed
        What was annotated; label -1 is of every class.
    n_classes : int
        How many classes there are.
    rule : Rule
        When an event counts.
    """

    def __init__(
        self, grid: WindowGrid, events: Placed, spans: Placed, n_classes: int, rule: Rule
    ) -> None:
        self._grid, self.n_classes, self._rule = grid, n_classes, rule
        state = np.ones(len(events.start), np.int8) if events.state is None else events.state
        self._heard = _Spread(grid, events.of(state == State.PRESENT))
        self._unsure = _Spread(grid, events.of(state == State.UNCERTAIN))
        absent = events.of(state == State.ABSENT)
        parts = [
            np.concatenate([one, other])
            for one, other in (
                (spans.recording, absent.recording),
                (spans.start, absent.start),
                (spans.end, absent.end),
                (spans.label, absent.label),
            )
        ]
        looked = _merged(Placed(*parts))
        self._looked_at = _Spread(grid, looked)

    def block(self, a: int, b: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Labels and what was annotated, both (window, class), of windows a to b - 1."""
        label = np.zeros((b - a, self.n_classes), np.uint8)
        heard, rate = self._heard, self._grid.samplerate
        for event, window, overlap in heard.pairs(a, b):
            duration = heard.end[event] - heard.start[event]
            counts = self._rule.counts(overlap, duration, self._grid.window_samples, rate)
            counts |= (duration == 0) & (overlap == 0)
            label[window[counts] - a, heard.label[event[counts]]] = 1
        return label, self._annotated(a, b, label)

    def _annotated(self, a: int, b: int, label: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Where somebody looked at the whole of a window, and was sure; or where there is a label."""
        n_samples = self._grid.locate(np.arange(a, b))[2]
        annotated = np.zeros((b - a, self.n_classes), np.bool_)
        looked = self._looked_at
        for span, window, overlap in looked.pairs(a, b):
            whole = overlap >= n_samples[window - a]
            window, of = window[whole] - a, looked.label[span[whole]]
            annotated[window[of == EVERY_CLASS]] = True
            annotated[window[of != EVERY_CLASS], of[of != EVERY_CLASS]] = True
        for event, window, overlap in self._unsure.pairs(a, b):
            unsure = (overlap > 0) | (self._unsure.start[event] == self._unsure.end[event])
            annotated[window[unsure] - a, self._unsure.label[event[unsure]]] = False
        return annotated | (label > 0)
