"""Events: what is to be heard in recordings, from when to when, in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
UNKNOWN = float("nan")
ANY_CHANNEL = -1
EVERY_CLASS = -1
TO_THE_END = float("inf")


class State(IntEnum):
    """What an annotator says of a class from when to when."""

    ABSENT = 0
    PRESENT = 1
    UNCERTAIN = 2


class Unit(IntEnum):
    """What times are counted in, and from when."""

    SECONDS = 0  # from the recording's start
    SAMPLES = 1  # of the file, from its first
    CLOCK = 2  # seconds since 1970, UTC


class Event(NamedTuple):
    """One line of a label file: what is heard, from when to when.

    `recording` is as the file names it, or empty where it names none. An event that ends where it
    begins is a point. Frequencies are in Hz; channels are counted from 0. `sequence` is where the
    recording begins among those that were open together, in seconds: an event that is longer than
    its recording goes on in the one that begins where this ends.
    """

    recording: str
    start: float
    end: float
    label: str
    line: int
    low: float = UNKNOWN
    high: float = UNKNOWN
    channel: int = ANY_CHANNEL
    confidence: float = UNKNOWN
    state: State = State.PRESENT
    unit: Unit = Unit.SECONDS
    sequence: float = UNKNOWN


@dataclass(frozen=True, eq=False)
class Rows:
    """Many events at once: a value for each in columns, or one value for all of them."""

    recording: Sequence[str] | str
    start: Array
    end: Array
    label: Sequence[str] | str
    line: Sequence[int]
    low: Array | float = UNKNOWN
    high: Array | float = UNKNOWN
    channel: Array | int = ANY_CHANNEL
    confidence: Array | float = UNKNOWN
    state: Array | State = State.PRESENT
    unit: Unit = Unit.SECONDS
    sequence: Array | float = UNKNOWN


class Span(NamedTuple):
    """A part of a recording that somebody annotated, for one class or, where it is None, for all.

    What is `explicit` says it all of its recording; without any such, an event says that somebody
    looked at the whole recording, and so does a span.
    """

    recording: str
    start: float = 0.0
    end: float = TO_THE_END
    label: str | None = None
    explicit: bool = False


@dataclass(frozen=True, eq=False)
class Spans:
    """Many spans at once: a value for each in columns, or one value for all of them."""

    recording: Sequence[str] | str
    start: Array
    end: Array
    label: Sequence[str] | str | None = None
    explicit: bool = False


Found = Event | Rows | Span | Spans


class _Names(dict[str, int]):
    """Numbers of names, in the order in which they are first met."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number


@dataclass(frozen=True, eq=False)
class Events:
    """Events and spans in columns, as there may be millions.

    `recording` and `label` are indices into `recordings` and `labels`, `file` into `files`, which
    are those that were read.
    """

    recordings: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    columns: dict[str, Array]
    spans: dict[str, Array]

    def __len__(self) -> int:
        return len(self.columns["start"])

    def fail(self, event: int, what: str) -> NoReturn:
        """Raise a ValueError that says where an event stands."""
        file, line = (int(self.columns[name][event]) for name in ("file", "line"))
        place = f", line {line}" if line else ""  # a file may have no lines
        raise ValueError(f"{self.files[file]}{place}: {what}")


COLUMNS = {
    **dict.fromkeys(("recording", "label", "file", "line"), "i"),
    **dict.fromkeys(("start", "end", "sequence"), "d"),
    **dict.fromkeys(("low", "high", "confidence"), "f"),
    "channel": "h",
    **dict.fromkeys(("state", "unit"), "b"),
}
SPANS = {
    **dict.fromkeys(("recording", "label", "file"), "i"),
    **dict.fromkeys(("start", "end"), "d"),
    "explicit": "b",
}


class Collection:
    """Events as they are read, file by file."""

    def __init__(self) -> None:
        self._recordings, self._labels = _Names(), _Names()
        self._files: list[str] = []
        self._columns = {name: array(kind) for name, kind in COLUMNS.items()}
        self._spans = {name: array(kind) for name, kind in SPANS.items()}

    def add(self, file: str, found: Iterable[Found]) -> None:
        """Take in what a label file says."""
        self._files.append(file)
        for item in found:
            if isinstance(item, Rows):
                self._extend(self._columns, item, len(item.line))
            elif isinstance(item, Spans):
                self._extend(self._spans, item, len(item.start))
            elif isinstance(item, Span):
                self._append(self._spans, item)
            else:
                self._append(self._columns, item)

    def _append(self, columns: dict[str, array[Any]], item: Event | Span) -> None:
        columns["recording"].append(self._recordings[item.recording])
        label = EVERY_CLASS if item.label is None else self._labels[item.label]
        columns["label"].append(label)
        columns["file"].append(len(self._files) - 1)
        for name, column in columns.items():
            if name not in ("recording", "label", "file"):
                column.append(getattr(item, name))

    def _extend(self, columns: dict[str, array[Any]], items: Rows | Spans, n: int) -> None:
        for name, column in columns.items():
            values: Any = len(self._files) - 1 if name == "file" else getattr(items, name)
            if name in ("recording", "label"):
                values = self._numbers(name, values, n)
            if isinstance(values, int | float):
                column.frombytes(array(column.typecode, [values]).tobytes() * n)
            else:
                column.frombytes(np.asarray(values, column.typecode).tobytes())

    def _numbers(self, name: str, words: Sequence[str] | str | None, n: int) -> Array | int:
        numbers = self._recordings if name == "recording" else self._labels
        if words is None:
            return EVERY_CLASS
        if isinstance(words, str):
            return numbers[words] if n else 0
        return np.fromiter(map(numbers.__getitem__, words), np.int32, n)

    def events(self) -> Events:
        """All of them."""
        return Events(
            tuple(self._recordings),
            tuple(self._labels),
            tuple(self._files),
            {
                name: np.frombuffer(column, column.typecode)
                for name, column in self._columns.items()
            },
            {name: np.frombuffer(column, column.typecode) for name, column in self._spans.items()},
        )
