"""What label files that are no tables say, in tuples that tests can compare."""

from __future__ import annotations

from typing import Any

from pipeline.labels.events import Collection, Events, State
from pipeline.labels.formats.format import Choices
from pipeline.labels.formats.registry import recognise
from pipeline.labels.text import Text


def events_of(data: bytes, column: str | None = None, name: str = "x.txt") -> Events:
    """What a file says that is recognised by itself."""
    text = Text(name, data)
    format = recognise(text)
    assert format is not None
    collection = Collection()
    collection.add(name, format.read(text, Choices(column)))
    return collection.events()


def rows_of(data: bytes, column: str | None = None, *more: str) -> list[tuple[Any, ...]]:
    """Label, start and end of each event, and what else is asked for; None where it is unknown."""
    events = events_of(data, column)
    labels = [events.labels[label] for label in events.columns["label"]]
    columns = [events.columns[name].tolist() for name in ("start", "end", *more)]
    values = [[None if v != v else round(v, 6) for v in values] for values in columns]
    return [*zip(labels, *values, strict=True)]


def spans_of(data: bytes, column: str | None = None) -> list[tuple[str, float, float, int]]:
    """Recording, start and end of each span, and whether it says it all."""
    events = events_of(data, column)
    names = [events.recordings[recording] for recording in events.spans["recording"]]
    values = [events.spans[name].tolist() for name in ("start", "end", "explicit")]
    return [*zip(names, *values, strict=True)]


def refused(data: bytes, column: str | None = None) -> str:
    """Why a file is refused."""
    try:
        events_of(data, column)
    except ValueError as error:
        return str(error)
    raise AssertionError("it was read")


PRESENT, UNCERTAIN = int(State.PRESENT), int(State.UNCERTAIN)
