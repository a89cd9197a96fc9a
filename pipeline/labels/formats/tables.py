"""Tables with a header: CSV as people write it, and as DCASE, AudioSet, BirdNET and others do.

A column is known by its name. "offset" is an end in DCASE, but a start elsewhere: it is the end
of "onset", and nothing by itself. Times may be seconds, samples, or hours:minutes:seconds. A row
with no more than a file says that nothing is to be heard in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.labels.events import ANY_CHANNEL, UNKNOWN, Event, Span, State
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import Text, cell_of, columns_of

FILE = ("path", "file", "filename", "audio_file", "file_name", "audiofilename", "audio_path")
START = ("start", "start_time", "onset", "begin", "start_s", "onset_s", "start_seconds")
END = ("end", "end_time", "stop", "end_s", "offset_s", "end_seconds", "stop_time")
LABEL = ("label", "labels", "annotation", "species", "event_label", "class", "name")
PLAIN = {
    "file": FILE,
    "start": START,
    "end": END,
    "duration": ("duration", "length"),
    "label": LABEL,
    "low": ("low_f", "low_freq", "min_frequency", "start_frequency", "fmin"),
    "high": ("high_f", "high_freq", "max_frequency", "end_frequency", "fmax"),
    "channel": ("channel",),
    "confidence": ("confidence", "score"),
}


@dataclass(frozen=True)
class Table:
    """What the columns of a format are called, and which of them its header must have."""

    columns: Mapping[str, Sequence[str]]
    needs: tuple[str, ...]
    separators: tuple[str, ...] = (",", "\t", ";")

    def header_of(self, text: Text) -> tuple[str, list[str]] | None:
        """The separator and the header, if they are of this format."""
        for separator in self.separators if text.head else ():
            header = [cell.strip(' "') for cell in text.head[0].split(separator)]
            if {*self.needs} <= {*columns_of(header, self.columns)}:
                return separator, header
        return None

    def recognised(self, text: Text) -> bool:
        """Whether the header is one of this format."""
        return self.header_of(text) is not None

    def read(self, text: Text, choices: Choices) -> Iterator[Event | Span]:
        """The events of a table, and the files that are named without any."""
        found = self.header_of(text)
        if found is None:
            text.fail(1, f"the table lacks one of the columns {', '.join(self.needs)}; name them")
        rows = text.rows(found[0])
        line, header = next(rows)
        places = self._places(text, line, header, choices)
        for line, row in rows:
            yield from self._row(text, line, row, places)

    def _places(
        self, text: Text, line: int, header: list[str], choices: Choices
    ) -> dict[str, int]:
        columns = dict(self.columns)
        if choices.column is not None:
            columns["label"] = (choices.column.lower(),)
        places = columns_of(header, columns)
        if "onset" in (names := [name.lower() for name in header]) and "end" not in places:
            places.update({"end": names.index("offset")} if "offset" in names else {})
        if "label" not in places:
            text.fail(
                line,
                f"no column is known to have the labels; pass label_column, one of "
                f"{', '.join(header)}",
            )
        return places

    def _row(
        self, text: Text, line: int, row: list[str], places: dict[str, int]
    ) -> Iterator[Event | Span]:
        cells = {what: cell_of(row, place) for what, place in places.items()}
        name, label = cells.get("file", ""), cells["label"]
        if "file" in places and not name:
            text.fail(line, "no file is named; name one in each row")
        if not label and not cells.get("start"):
            yield Span(name)
            return

        def number(what: str) -> float:
            return text.clock(line, f"the {what}", cells[what]) if cells.get(what) else UNKNOWN

        start, end = number("start"), number("end")
        if start != start:
            text.fail(line, "no start is given; give one in each row that has a label")
        if end != end:
            end = start + number("duration") if cells.get("duration") else start
        if end < start:
            text.fail(line, f"the event ends at {end:g} s, before it begins; mend it")
        channel = number("channel")
        yield Event(
            name,
            start,
            end,
            label,
            line,
            number("low"),
            number("high"),
            ANY_CHANNEL if channel != channel else int(channel),
            number("confidence"),
            self.state_of(text, line, row, places),
        )

    def state_of(
        self, text: Text, line: int, row: list[str], places: dict[str, int]
    ) -> State:
        """Whether the class is to be heard: it is, where no column says otherwise."""
        place = places.get("present")
        if place is None:
            return State.PRESENT
        word = cell_of(row, place).upper()
        if word not in STATES:
            text.fail(line, f"present is {word[:80]!r}; it must be one of {', '.join(STATES)}")
        return STATES[word]


STATES = {"PRESENT": State.PRESENT, "NOT_PRESENT": State.ABSENT, "UNCERTAIN": State.UNCERTAIN}


def _format(name: str, table: Table) -> Format:
    return Format(name, table.recognised, table.read)


AUDIOSET = _format(
    "audioset",
    Table(
        {
            "file": ("segment_id",),
            "start": ("start_time_seconds",),
            "end": ("end_time_seconds",),
            "label": ("label",),
            "present": ("present",),
        },
        ("file", "start", "end", "label"),
    ),
)
BIRDNET = _format(
    "birdnet",
    Table(
        {
            "file": ("file", "input", "filepath"),
            "start": ("start (s)", "start_time"),
            "end": ("end (s)", "end_time"),
            "label": ("common name", "common_name", "species_name"),
            "confidence": ("confidence",),
        },
        ("start", "end", "label", "confidence"),
    ),
)
CSV = _format("csv", Table(PLAIN, ("start",)))
