"""Placing: events and spans of label files in the recordings of a grid, and what has no place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.grid import WindowGrid
from pipeline.labels.events import ANY_CHANNEL, EVERY_CLASS, Events, Unit
from pipeline.labels.labelling import Labelling
from pipeline.labels.matching import NONE, UNREAD, Index
from pipeline.labels.windows import DIGITS, LATEST, Placed
from pipeline.recordings import Recordings

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
LISTED = 10_000  # events without a place, at most, that are told one by one
TOGETHER = 0.01  # seconds between recordings of a sequence, at most
DRIFT = 1.0  # seconds that recordings which follow each other may share
LEFT_OUT = -2  # in place of a class
MIX = -1  # in place of a channel
# Why an event has no place, and how that is said.
REASONS = {
    "no_recording": "is of {recording!r}, which matches no recording",
    "unreadable": "is of {recording!r}, which cannot be read",
    "no_time": "is of {recording!r}, of which it is not known when it began",
    "other_channel": "is on another channel than is used",
    "before_start": "ends at {end:g} s, before its recording begins",
    "behind_end": "begins at {start:g} s, behind the end of its recording",
    "left_out": "has the label {label!r}, which is left out",
}


class Account(NamedTuple):
    """What became of events: how many there are of each kind, and those without a place."""

    counts: dict[str, int]
    listed: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Placement:
    """Events and spans in recordings, by the numbers of their classes.

    `rows` says which of the events of the label files each is.
    """

    classes: tuple[str, ...]
    events: Placed
    rows: npt.NDArray[np.int32]
    state: Array
    spans: Placed
    account: Account


@dataclass(frozen=True, eq=False)
class Places:
    """Recordings as events see them: where they are, how long, and which channel is used."""

    index: Index
    n_samples: Array  # at the rate of the grid
    native: Array  # samples a second of the file
    channel: Array
    clock: Array | None  # when each begins, in seconds since 1970, UTC; NaN where not known

    @classmethod
    def of(
        cls, recordings: Recordings, unread: Sequence[str] = (), clock: Array | None = None
    ) -> Places:
        """Those of a job, and paths of those that cannot be read."""
        locations, native, channel = list[str](), list[int](), list[int]()
        for item in recordings:
            locations.append(item.location)
            native.append(item.header.samplerate)
            channel.append(MIX if item.channel == "mix" else item.channel)
        index = Index(locations, unread)
        return cls(index, recordings.n_samples, np.array(native), np.array(channel), clock)


class _Rows:
    """Events on their way to a place: in which recording, when, and why one has none."""

    def __init__(self, events: Events, places: Places, samplerate: int) -> None:
        self.events, self.places, self.samplerate = events, places, samplerate
        self.event = np.arange(len(events), dtype=np.int32)
        self.reason = np.zeros(len(events), np.int8)
        self.recording = np.zeros(len(events), np.int32)
        self.start = self.end = np.zeros(0)

    def column(self, name: str) -> Array:
        """A column of the events."""
        values = self.events.columns[name]
        return values if len(values) == len(self.event) else values[self.event]

    @property
    def none(self) -> Mask:
        """Which have a place, so far."""
        return np.asarray(self.reason == 0)

    def lose(self, reason: str, mask: Mask) -> None:
        """Take the place from some, if they have one."""
        self.reason[mask & self.none] = [*REASONS].index(reason) + 1

    def find_recordings(self, by_name: Array, by_file: Array) -> None:
        """Which recording each is of."""
        self.recording = recordings_of(self.events, self.events.columns, by_name, by_file)
        self._find_by_clock()
        self.lose("no_recording", self.recording == NONE)
        self.lose("unreadable", self.recording == UNREAD)
        used = self.places.channel[np.maximum(self.recording, 0)]
        own = self.column("channel")
        self.lose("other_channel", (own != ANY_CHANNEL) & (used != MIX) & (own != used))

    def _find_by_clock(self) -> None:
        """Find the recordings of events that have the time of day, and name none that is known."""
        clock, names = self.column("unit") == Unit.CLOCK, self.events.recordings
        unnamed = self.column("recording") == (names.index("") if "" in names else NONE)
        rows = np.flatnonzero(clock & (unnamed | (self.recording == NONE)))
        if not len(rows):
            return
        begin = self.places.clock
        if begin is None or np.isnan(begin).all():
            self.events.fail(
                rows[0],
                "its times are of the day, but it is not known when the recordings began; pass "
                "datetime (--datetime)",
            )
        order = np.argsort(begin, kind="stable")[: int((~np.isnan(begin)).sum())]
        first, last = begin[order], begin[order] + self.places.n_samples[order] / self.samplerate
        start = self.column("start")[rows]
        at = np.searchsorted(first, start, "right") - 1
        inside = (at >= 0) & (start < last[at])
        # Clocks drift, so recordings that follow each other may share a fraction of a second.
        shared = inside & (at > 0) & (start < last[at - 1] - DRIFT)
        if shared.any():
            row = int(np.flatnonzero(shared)[0])
            self.events.fail(
                rows[row],
                "several recordings were running at its time; name in the table which it is of",
            )
        self.recording[rows] = NONE
        self.recording[rows[inside]] = order[at[inside]]

    def find_samples(self) -> None:
        """From which sample to which, at the rate of the grid."""
        unit, rate, clock = self.column("unit"), self.samplerate, self.places.clock
        start, end, factor = self.column("start"), self.column("end"), np.asarray(rate)
        if (unit == Unit.CLOCK).any():
            begin = np.nan if clock is None else clock[np.maximum(self.recording, 0)]
            start, end = (np.where(unit == Unit.CLOCK, t - begin, t) for t in (start, end))
            self.lose("no_time", np.isnan(start))
        if (unit == Unit.SAMPLES).any():
            native = self.places.native[np.maximum(self.recording, 0)]
            factor = np.where(unit == Unit.SAMPLES, rate / native, rate)
        self.start, self.end = np.round(start * factor, DIGITS), np.round(end * factor, DIGITS)

    def go_on(self) -> None:
        """Let events that are longer than their recording go on in the one that follows it."""
        known = self.none & np.isfinite(self.column("sequence"))
        over = np.flatnonzero(known & (self.end > self.length))
        if not len(over):
            return
        begun = self._sequences(known, over)
        more: list[tuple[int, int, float, float]] = []  # as the columns below
        for row in over.tolist():
            more += self._pieces(row, begun[int(self.column("file")[row])])
        if not more:
            return
        event, recording, start, end = (np.array(column) for column in zip(*more, strict=True))
        self.event = np.concatenate([self.event, event.astype(np.int32)])
        self.reason = np.concatenate([self.reason, np.zeros(len(more), np.int8)])
        self.recording = np.concatenate([self.recording, recording.astype(np.int32)])
        self.start, self.end = (
            np.concatenate(pair) for pair in ((self.start, start), (self.end, end))
        )

    def _sequences(self, known: Mask, over: Array) -> dict[int, dict[int, float]]:
        """Where recordings begin in the sequences of some label files, by file and recording."""
        file, sequence = self.column("file"), self.column("sequence")
        rows = np.flatnonzero(known & np.isin(file, np.unique(file[over])))
        pairs = np.stack([file[rows], self.recording[rows]])
        _, first = np.unique(pairs, axis=1, return_index=True)
        found: dict[int, dict[int, float]] = {}
        for row in rows[first].tolist():
            found.setdefault(int(file[row]), {})[int(self.recording[row])] = float(sequence[row])
        return found

    def _pieces(
        self, row: int, begun: Mapping[int, float]
    ) -> Iterator[tuple[int, int, float, float]]:
        """What lies of an event in the recordings that follow, as event, recording, start, end."""
        recording, rest = int(self.recording[row]), float(self.end[row])
        while True:
            length = int(self.places.n_samples[recording])
            rest, end = rest - length, begun[recording] + length / self.samplerate
            following = [
                other
                for other, begin in begun.items()
                if other != recording and abs(begin - end) <= TOGETHER
            ]
            if rest <= 0 or len(following) != 1:
                return
            (recording,) = following
            yield row, recording, 0.0, rest

    @property
    def length(self) -> Array:
        """Of the recording of each, in samples."""
        return np.asarray(self.places.n_samples[np.maximum(self.recording, 0)])

    def lose_outside(self) -> None:
        """Take the place from those outside their recording."""
        point = self.start == self.end
        self.lose("before_start", np.where(point, self.end < 0, self.end <= 0))
        self.lose("behind_end", self.start >= self.length)

    def listed(self) -> list[dict[str, Any]]:
        """Those without a place, as people know them, up to 10,000."""
        rows, events = np.flatnonzero(~self.none)[:LISTED], self.events
        columns = events.columns
        return [
            {
                "file": events.files[columns["file"][event]],
                "line": int(columns["line"][event]),
                "recording": events.recordings[columns["recording"][event]],
                "start": float(columns["start"][event]),
                "end": float(columns["end"][event]),
                "label": events.labels[columns["label"][event]],
                "reason": [*REASONS][self.reason[row] - 1],
            }
            for row, event in zip(rows.tolist(), self.event[rows].tolist(), strict=True)
        ]


def place(events: Events, places: Places, grid: WindowGrid, labelling: Labelling) -> Placement:
    """Find the recording of each event, its samples there, and its class."""
    by_name, by_file = _matched(events, places.index)
    rows = _Rows(events, places, grid.samplerate)
    rows.find_recordings(by_name, by_file)
    found = recordings_of(events, events.spans, by_name, by_file)
    heard_of = np.union1d(rows.recording[rows.none], found[found >= 0])
    rows.find_samples()
    rows.go_on()
    rows.lose_outside()
    _check_any(rows)
    classes, numbers = _classes(rows, events.spans["label"][found >= 0], labelling)
    rows.lose("left_out", numbers[rows.column("label")] == LEFT_OUT)
    used, length = rows.none, rows.length
    counts = _counts(rows)
    spans = _spans(events, found, numbers, heard_of, grid.samplerate)
    if labelling.unlabelled == "negative":
        unknown = np.setdiff1d(np.arange(len(places.n_samples)), heard_of)
        spans = _joined(spans, _whole(unknown))
    placed = Placed(
        rows.recording[used],
        np.maximum(rows.start[used], 0),
        np.minimum(rows.end[used], length[used]),
        numbers[rows.column("label")[used]],
    )
    account = Account(counts, rows.listed())
    return Placement(classes, placed, rows.event[used], rows.column("state")[used], spans, account)


def recordings_of(
    events: Events, columns: Mapping[str, Array], by_name: Array, by_file: Array
) -> npt.NDArray[np.int32]:
    """The recording of each event, or span: by the name that it gives, or by that of its file."""
    found: npt.NDArray[np.int32] = by_name[columns["recording"]]
    if "" in events.recordings:
        unnamed = columns["recording"] == events.recordings.index("")
        found[unnamed] = by_file[columns["file"][unnamed]]
    return found


def _matched(events: Events, index: Index) -> tuple[Array, Array]:
    """The recording of each name, and of each label file that names none."""
    n_names, n_files = len(events.recordings), len(events.files)
    first = np.zeros(n_names, np.int32)  # file of each name
    for columns in (events.spans, events.columns):
        first[columns["recording"][::-1]] = columns["file"][::-1]
    where = [events.files[file] for file in first.tolist()]
    by_name = index.match(events.recordings, where) if n_names else np.zeros(0, np.int32)
    by_file = np.full(n_files, NONE, np.int32)
    if "" in events.recordings:
        unnamed = events.recordings.index("")
        of = [c["file"][c["recording"] == unnamed] for c in (events.columns, events.spans)]
        files = np.unique(np.concatenate(of))
        by_file[files] = index.match_files([events.files[i] for i in files.tolist()])
    return by_name, by_file


def _check_any(rows: _Rows) -> None:
    """Refuse events of which none has a place."""
    if not len(rows.reason) or rows.none.any():
        return
    first, others = rows.listed()[0], len(rows.reason) - 1
    first["recording"] = first["recording"] or os.path.basename(first["file"])
    more = f", nor has any of the {others} others a place" if others else ""
    rows.events.fail(
        0,
        f"its event {REASONS[first['reason']].format(**first)}{more}; pass the recordings that the "
        f"label files are of",
    )


def _classes(
    rows: _Rows, of_spans: Array, labelling: Labelling
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """The names of the classes, and the class of each label."""
    labels, names = rows.events.labels, labelling.names()
    used = np.unique(np.concatenate([rows.column("label")[rows.none], of_spans]))
    used = used[used != EVERY_CLASS]
    if "" in labels and "" not in names and (bare := labels.index("")) in used:
        unnamed = np.flatnonzero(rows.none & (rows.column("label") == bare))
        if len(unnamed):
            rows.events.fail(
                rows.event[unnamed[0]],
                f"it has no label, as {len(unnamed)} in all; pass a label_map (--label-map) that "
                f"has a name for '', or null to leave them out",
            )
    renamed = [names.get(label, label) for label in labels]
    classes = labelling.classes
    if classes is None:
        classes = tuple(sorted({name for i in used.tolist() if (name := renamed[i]) is not None}))
    if not classes:
        raise ValueError("the label files name no class in these recordings; pass classes")
    number = {name: i for i, name in enumerate(classes)}
    numbers = [LEFT_OUT if name is None else number.get(name, LEFT_OUT) for name in renamed]
    return classes, np.array([*numbers, LEFT_OUT], np.int32)  # the last is that of every class


def _counts(rows: _Rows) -> dict[str, int]:
    """How many events there are, how many have a place, and why others have none."""
    counts = np.bincount(rows.reason, minlength=len(REASONS) + 1).tolist()
    n = len(rows.events)
    whole = rows.none & (np.arange(len(rows.event)) < n)
    lost = dict(zip(REASONS, counts[1:], strict=True))
    over = rows.end - rows.length
    cut = whole & (over > TOGETHER * rows.samplerate) & np.isfinite(over)
    counted = {"files": len(rows.events.files), "events": n, "matched": int(whole.sum())}
    return {**counted, "cut_at_end": int(cut.sum()), **lost}


def _whole(recordings: Array) -> Placed:
    """Spans over all of some recordings."""
    n = len(recordings)
    return Placed(recordings, np.zeros(n), np.full(n, np.inf), np.full(n, EVERY_CLASS))


def _joined(one: Placed, other: Placed) -> Placed:
    return Placed(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))


def _spans(
    events: Events, recording: Array, numbers: Array, heard_of: Array, samplerate: int
) -> Placed:
    """What was annotated: what is said of a recording or, without that, all of it."""
    columns, found = events.spans, recording >= 0
    label = np.where(columns["label"] == EVERY_CLASS, EVERY_CLASS, numbers[columns["label"]])
    explicit = columns["explicit"].astype(np.bool_)
    told = np.unique(recording[found & explicit])
    used = found & explicit & (label != LEFT_OUT)
    start, end = (
        np.minimum(np.round(columns[name][used] * samplerate, DIGITS), LATEST)
        for name in ("start", "end")
    )
    own = Placed(recording[used], start, end, label[used])
    return _joined(own, _whole(np.setdiff1d(heard_of, told)))
