"""Tables with a header, as most tools write them: which columns there are, many rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels.cells import Cells, cells_of, columns_of, open_table
from pipeline.labels.events import Found, Rows, Span, Spans, State, Unit
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import Text

Array = npt.NDArray[Any]
MOST_LISTED = 20
STATES = {
    **{"PRESENT": State.PRESENT, "NOT_PRESENT": State.ABSENT, "ABSENT": State.ABSENT},
    "UNCERTAIN": State.UNCERTAIN,
}


@dataclass(frozen=True)
class Table:
    """What the columns of a format are called, and which of them its header must have.

    Of the columns, ``file``, ``start``, ``end``, ``duration``, ``label``, ``label_else`` (which
    holds where the label is empty), ``low``, ``high``, ``channel``, ``confidence`` and ``state``
    are known; of the names of each, the first that is found holds. Names are in lower case.
    """

    columns: Mapping[str, Sequence[str]]
    needs: tuple[str, ...]
    any_of: tuple[str, ...] = ()  # of which the header must have one, too
    separators: tuple[str, ...] = (",", "\t", ";")
    first_channel: int = 0
    unit: Unit = Unit.SECONDS
    ends: Mapping[str, str] = field(default_factory=dict)  # an end that is only one of a start
    of_one: bool = False  # a table may be of one recording; it is empty if nothing was found
    points: bool = False  # an event without an end is one
    of_nothing: bool = False  # a row that names only a recording says that nothing is in it

    def separator_of(self, text: Text) -> str | None:
        """What separates the columns, if the header is one of this format."""
        for separator in self.separators if text.head else ():
            if self.fits([cell.strip(' "') for cell in text.head[0].split(separator)]):
                return separator
        return None

    def fits(self, header: Sequence[str]) -> bool:
        """Whether these are columns of this format."""
        found = {*self._places(header)}
        return {*self.needs} <= found and (not self.any_of or bool({*self.any_of} & found))

    def recognised(self, text: Text) -> bool:
        """Whether the header is one of this format."""
        return self.separator_of(text) is not None

    def read(self, text: Text, choices: Choices) -> Iterator[Found]:
        """The events of a table; and the recordings that are named were annotated."""
        yield from self.read_columns(text, choices, self.separator_of(text) or self.separators[0])

    def read_columns(
        self, text: Text, choices: Choices, separator: str, header: Sequence[str] = ()
    ) -> Iterator[Found]:
        """The events; `header` names the columns of a table whose first row does not."""
        if header:
            line, blocks = 1, text.blocks(separator)
        else:
            line, header, blocks = open_table(text, separator)
        if not self.fits(header):
            what = ", ".join([*self.needs, " or ".join(self.any_of)]).strip(", ")
            text.fail(line, f"the table lacks one of the columns {what}; name them")
        places = self._places(header)
        places["label"] = label_place(text, line, header, choices, places.get("label"))
        if choices.column is not None:
            places.pop("label_else", None)
        some = False
        for cells in cells_of(text, blocks, places, len(header)):
            some = True
            yield from self.found(cells)
        if not some and (self.of_one or "file" not in places):
            yield Span("")

    def _places(self, header: Sequence[str]) -> dict[str, int]:
        places = columns_of(header, self.columns)
        names = [name.strip().lower() for name in header]
        for end, start in self.ends.items():
            if start in names and end in names and "end" not in places:
                places["end"] = names.index(end)
        return places

    def found(self, cells: Cells) -> Iterator[Found]:
        """What some rows say."""
        recordings = self.recordings(cells)
        columns = [cells.texts(what) for what in ("start", "end", "duration")]
        columns.append(self.labels(cells))
        if self.of_nothing and recordings and all("" in column for column in columns):
            empty = np.array([not any(row) for row in zip(*columns, strict=True)])
            names = (name for name, none in zip(recordings, empty, strict=True) if none)
            yield from map(Span, dict.fromkeys(names))
            cells = cells.of(~empty)
        if len(cells):
            rows = self.rows(cells)
            yield rows
            if "state" in cells.columns:
                # Where a table says what is absent, nobody looked at what it does not name.
                yield Spans(rows.recording, rows.start, rows.end, rows.label, explicit=True)

    def recordings(self, cells: Cells) -> Sequence[str] | str:
        """The recordings that some rows name; empty, if there is no column for it."""
        if "file" not in cells.columns:
            return ""
        names = cells.texts("file")
        if "" in names:
            cells.fail_where(
                np.array([not name for name in names]), "no file is named; name one in each row"
            )
        return names

    def labels(self, cells: Cells) -> list[str]:
        """The labels of some rows."""
        labels = cells.texts("label")
        if "label_else" not in cells.columns or "" not in labels:
            return labels
        return [one or other for one, other in zip(labels, cells.texts("label_else"), strict=True)]

    def rows(self, cells: Cells) -> Rows:
        """The events of some rows."""
        start, end = self.times(cells)
        return Rows(
            self.recordings(cells),
            start,
            end,
            self.labels(cells),
            cells.lines,
            cells.numbers("low", "the low frequency"),
            cells.numbers("high", "the high frequency"),
            cells.channels(self.first_channel),
            self.confidences(cells),
            states(cells),
            self.unit,
        )

    def times(self, cells: Cells) -> tuple[Array, Array]:
        """Starts, and ends or those of durations."""
        start, end = cells.numbers("start"), cells.numbers("end")
        cells.fail_where(np.isnan(start), "no start is given; give one in each row with a label")
        end = np.where(np.isnan(end), start + cells.numbers("duration"), end)
        if self.points:
            end = np.where(np.isnan(end), start, end)
        cells.fail_where(np.isnan(end), "no end is given; give one in each row with a start")
        cells.fail_where(end < start, "the event ends before it begins; correct it")
        return start, end

    def confidences(self, cells: Cells) -> Array:
        """How sure somebody was."""
        return cells.numbers("confidence")


def states(cells: Cells) -> Array | State:
    """Whether the class is to be heard: it is, where no column says otherwise."""
    if "state" not in cells.columns:
        return State.PRESENT
    words = [word.upper() for word in cells.texts("state")]
    wrong = np.array([word not in STATES for word in words])
    cells.fail_where(wrong, f"its state is none of {', '.join(STATES)}; correct it")
    return np.array([STATES[word] for word in words], np.int8)


def label_place(
    text: Text, line: int, header: Sequence[str], choices: Choices, known: int | None
) -> int:
    """Which column has the labels: that which is chosen, or else the one that is known to."""
    names = [name.strip().lower() for name in header]
    if choices.column is not None and choices.column.strip().lower() in names:
        return names.index(choices.column.strip().lower())
    if choices.column is None and known is not None:
        return known
    what = (
        "no column is known to have the labels"
        if choices.column is None
        else f"there is no column {choices.column!r}"
    )
    text.fail(line, f"{what}; pass label_column (--label-column), one of {listed(header)}")


def listed(header: Sequence[str]) -> str:
    """Names of columns, for people."""
    names = [" ".join(name.split())[:40] for name in header if name.strip()]
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more


def table_format(name: str, table: Table) -> Format:
    """The format that a table describes."""
    return Format(name, table.recognised, table.read)
