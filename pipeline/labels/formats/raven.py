"""Selection tables of Raven, and those that BirdNET writes for it: with tabs, and a header.

A selection stands in the table once for each view; one row of each (Selection, Channel) is taken,
that of a spectrogram if there is one. `Begin Time (s)` counts from the start of all the files
that were open together: where `File Offset (s)` is given, it alone says where in its file a
selection is. `Begin Path` is often of another machine. A table without rows says that somebody
looked and found nothing. Rows may be ragged, and the last cell have a tab behind it.
"""

from collections.abc import Iterator

from pipeline.labels.events import ANY_CHANNEL, UNKNOWN, Event, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import Text, cell_of, columns_of

COLUMNS = {
    "selection": ("selection",),
    "view": ("view",),
    "channel": ("channel",),
    "begin": ("begin time (s)",),
    "end": ("end time (s)",),
    "low": ("low freq (hz)",),
    "high": ("high freq (hz)",),
    "path": ("begin path",),
    "file": ("begin file",),
    "offset": ("file offset (s)",),
    "confidence": ("confidence", "score"),
}
# What has labels, in the order that people use; `Common Name` is BirdNET's.
LABELS = ("annotation", "species", "common name", "tags", "label", "class")


def recognised(text: Text) -> bool:
    """Whether the header is one of a selection table."""
    names = [name.strip().lower() for name in text.head[0].split("\t")] if text.head else []
    return {"selection", "begin time (s)", "end time (s)"} <= {*names}


def read(text: Text, choices: Choices) -> Iterator[Event | Span]:
    """The selections of a table; the recordings that it names were annotated, from end to end."""
    rows = text.rows("\t")
    line, header = next(rows)
    places = columns_of(header, COLUMNS)
    label = _label_column(text, line, header, choices)
    chosen: dict[tuple[str, str], tuple[int, list[str]]] = {}
    for line, row in rows:
        key = cell_of(row, places["selection"]), cell_of(row, places.get("channel"))
        seen = chosen.get(key)
        if seen is None or "spectrogram" in cell_of(row, places.get("view")).lower():
            chosen[key] = line, row
    names = set()
    for line, row in chosen.values():
        event = _event(text, line, row, places, label)
        if event.recording not in names:
            names.add(event.recording)
            yield Span(event.recording)
        yield event
    if not chosen:
        yield Span("")


def _label_column(text: Text, line: int, header: list[str], choices: Choices) -> int:
    names = [name.lower() for name in header]
    if choices.column is not None:
        if choices.column.lower() not in names:
            text.fail(line, f"it has no column {choices.column!r}; pass one of {', '.join(header)}")
        return names.index(choices.column.lower())
    found = [name for name in LABELS if name in names]
    if len(found) == 1:
        return names.index(found[0])
    known = {name for group in COLUMNS.values() for name in group}
    others = [name for name in header if name and name.lower() not in known]
    if len(others) == 1:
        return header.index(others[0])
    text.fail(
        line,
        f"no column is known to have the labels; pass label_column, one of "
        f"{', '.join(others) or 'those that there are'}",
    )


def _event(text: Text, line: int, row: list[str], places: dict[str, int], label: int) -> Event:
    def number(what: str) -> float:
        cell = cell_of(row, places.get(what))
        return text.seconds(line, header_of(what), cell) if cell else UNKNOWN

    begin, end = number("begin"), number("end")
    if begin != begin or end != end:
        text.fail(line, "a selection lacks its begin or its end; mend it")
    if end < begin:
        text.fail(line, f"the selection ends at {end:g} s, before it begins; mend it")
    offset, channel = number("offset"), number("channel")
    start = begin if offset != offset else offset
    return Event(
        cell_of(row, places.get("path")) or cell_of(row, places.get("file")),
        start,
        start + (end - begin),
        cell_of(row, label),
        line,
        number("low"),
        number("high"),
        ANY_CHANNEL if channel != channel else int(channel) - 1,
        number("confidence"),
    )


def header_of(what: str) -> str:
    """What a column is called."""
    return COLUMNS[what][0].capitalize()


RAVEN = Format("raven", recognised, read)
