"""Events: what is to be heard in recordings, from when to when, in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

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


class Event(NamedTuple):
    """One line of a label file: what is heard, in seconds from the recording's start.

    `recording` is as the file names it, or empty where it names none. An event that ends where it
    begins is a point. Frequencies are in Hz; channels are counted from 0.
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


class Span(NamedTuple):
    """A part of a recording that somebody annotated, for one class or, where it is None, for all."""

    recording: str
    start: float = 0.0
    end: float = TO_THE_END
    label: str | None = None


class _Names:
    """Names by number, each held once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def all(self) -> tuple[str, ...]:
        return tuple(self._numbers)


@dataclass(frozen=True, eq=False)
class Events:
    """Events in columns, one row for each; 50 bytes, as there may be millions.

    `recording`, `label` and `file` are indices into `recordings`, `labels` and `files`.
    """

    recordings: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    columns: dict[str, Array]
    spans: dict[str, Array]

    def __len__(self) -> int:
        return len(self.columns["start"])

    def __getattr__(self, name: str) -> Array:
        try:
            return self.__dict__["columns"][name]
        except KeyError:
            raise AttributeError(name) from None


COLUMNS = {
    **dict.fromkeys(("start", "end"), "d"),
    **dict.fromkeys(("low", "high", "confidence"), "f"),
    **dict.fromkeys(("recording", "label", "file", "line"), "i"),
    "channel": "h",
    "state": "b",
}
SPANS = {"recording": "i", "start": "d", "end": "d", "label": "i"}


@dataclass
class Collection:
    """Events as they are read, file by file."""

    _recordings: _Names = field(default_factory=_Names)
    _labels: _Names = field(default_factory=_Names)
    _files: list[str] = field(default_factory=list)
    _columns: dict[str, array[Any]] = field(
        default_factory=lambda: {name: array(kind) for name, kind in COLUMNS.items()}
    )
    _spans: dict[str, array[Any]] = field(
        default_factory=lambda: {name: array(kind) for name, kind in SPANS.items()}
    )

    def add(self, file: str, found: Iterable[Event | Span]) -> None:
        """Take in what a label file says."""
        number = len(self._files)
        self._files.append(file)
        columns, spans = self._columns, self._spans
        recording, label = self._recordings.number, self._labels.number
        for item in found:
            if isinstance(item, Span):
                spans["recording"].append(recording(item.recording))
                spans["start"].append(item.start)
                spans["end"].append(item.end)
                spans["label"].append(EVERY_CLASS if item.label is None else label(item.label))
                continue
            columns["recording"].append(recording(item.recording))
            columns["start"].append(item.start)
            columns["end"].append(item.end)
            columns["label"].append(label(item.label))
            columns["file"].append(number)
            columns["line"].append(item.line)
            columns["low"].append(item.low)
            columns["high"].append(item.high)
            columns["channel"].append(item.channel)
            columns["confidence"].append(item.confidence)
            columns["state"].append(item.state)

    def events(self) -> Events:
        """All of them."""
        return Events(
            self._recordings.all(),
            self._labels.all(),
            tuple(self._files),
            {name: np.frombuffer(column, column.typecode) for name, column in self._columns.items()},
            {name: np.frombuffer(column, column.typecode) for name, column in self._spans.items()},
        )
