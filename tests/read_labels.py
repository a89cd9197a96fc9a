"""Label files, read and put into lists that tests can compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from read_events import events_of
from table_examples import TEXTS

from pipeline.labels.events import EVERY_CLASS
from pipeline.labels.formats.registry import recognise
from pipeline.labels.text import Text


class Read:
    """What a label file says, row by row."""

    def __init__(self, name: str, data: bytes, column: str | None = None) -> None:
        format = recognise(Text(name, data))
        assert format is not None
        self.format = format.name
        self._events = events = events_of(data, column, name)
        recordings, labels = events.recordings, events.labels
        columns, spans = events.columns, events.spans
        self.events = [
            (recordings[recording], start, end, labels[label])
            for recording, start, end, label in zip(
                *(columns[name].tolist() for name in ("recording", "start", "end", "label")),
                strict=True,
            )
        ]
        self.spans = [
            (recordings[recording], start, end, None if label == EVERY_CLASS else labels[label])
            for recording, start, end, label in zip(
                *(spans[name].tolist() for name in ("recording", "start", "end", "label")),
                strict=True,
            )
        ]
        self.explicit = spans["explicit"].tolist()

    def __getattr__(self, column: str) -> list[Any]:
        """A column of the events, with None where it is not known."""
        return [
            None if value != value else round(value, 6)
            for value in self._events.columns[column].tolist()
        ]


def of(name: str, column: str | None = None) -> Read:
    """What one of the texts says."""
    return Read("x.csv", TEXTS[name], column)


def real(path: Path, column: str | None = None) -> Read:
    """What a real file says."""
    return Read(str(path), path.read_bytes(), column)
