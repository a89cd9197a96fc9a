"""Tables with a header, as most tools write them: which columns there are, read many rows at a time.

A row that names a recording, and no more, says that nothing is to be heard in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels.cells import Cells, cells_of, columns_of
from pipeline.labels.events import ANY_CHANNEL, Found, Rows, Span, State, Unit
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import Text

Array = npt.NDArray[Any]
STATES = {
    **{"PRESENT": State.PRESENT, "NOT_PRESENT": State.ABSENT, "ABSENT": State.ABSENT},
    "UNCERTAIN": State.UNCERTAIN,
}


@dataclass(frozen=True)
class Table:
    """What the columns of a format are called, and which of them its header must have.

    Of the columns, ``file``, ``start``, ``end``, ``duration``, ``label``, ``low``, ``high``,
    ``channel``, ``confidence`` and ``state`` are known; of the names of each, the first that is
    found holds. Names are in lower case.
    """

    columns: Mapping[str, Sequence[str]]
    needs: tuple[str, ...]
    separators: tuple[str, ...] = (",", "\t", ";")
    first_channel: int = 0
    unit: Unit = Unit.SECONDS
    ends: Mapping[str, str] = field(default_factory=dict)  # an end that is only one of a start

    def header_of(self, text: Text) -> tuple[str, list[str]] | None:
        """The separator and the header, if they are of this format."""
        for separator in self.separators if text.head else ():
            header = [cell.strip(' "') for cell in text.head[0].split(separator)]
            if {*self.needs} <= {*self._places(header)}:
                return separator, header
        return None

    def recognised(self, text: Text) -> bool:
        """Whether the header is one of this format."""
        return self.header_of(text) is not None

    def read(self, text: Text, choices: Choices) -> Iterator[Found]:
        """The events of a table; and the recordings that are named were annotated."""
        found = self.header_of(text)
        if found is None:
            text.fail(1, f"the table lacks one of the columns {', '.join(self.needs)}; name them")
        rows = text.rows(found[0])
        line, header = next(rows)
        places = self._places(header)
        places["label"] = label_place(text, line, header, choices, places.get("label"))
        some = False
        for cells in cells_of(text, rows, places):
            some = True
            yield from self._found(cells)
        if not some and "file" not in places:
            yield Span("")

    def _places(self, header: Sequence[str]) -> dict[str, int]:
        places = columns_of(header, self.columns)
        names = [name.strip().lower() for name in header]
        for end, start in self.ends.items():
            if start in names and end in names and "end" not in places:
                places["end"] = names.index(end)
        return places

    def _found(self, cells: Cells) -> Iterator[Found]:
        files: Sequence[str] | str = ""
        if "file" in cells.columns:
            files = cells.texts("file")
            no_name = np.array([not name for name in files])
            cells.fail_where(no_name, "no file is named; name one in each row")
        empty = np.array(
            [
                not label and not start
                for label, start in zip(cells.texts("label"), cells.texts("start"), strict=True)
            ]
        )
        if empty.any():
            names = cells.of(empty).texts("file")
            yield from (Span(name) for name in dict.fromkeys(names))
            cells = cells.of(~empty)
        if len(cells):
            yield self.rows(cells)

    def rows(self, cells: Cells) -> Rows:
        """The events of some rows."""
        start, end = times(cells)
        channel = cells.numbers("channel")
        return Rows(
            cells.texts("file") if "file" in cells.columns else "",
            start,
            end,
            cells.texts("label"),
            cells.lines,
            cells.numbers("low", "the low frequency"),
            cells.numbers("high", "the high frequency"),
            np.where(np.isnan(channel), ANY_CHANNEL, channel - self.first_channel),
            cells.numbers("confidence"),
            states(cells),
            self.unit,
        )


def times(cells: Cells) -> tuple[Array, Array]:
    """Starts and ends; an end is that of a duration, or the start of a point, if it is not given."""
    start, end = cells.numbers("start"), cells.numbers("end")
    cells.fail_where(np.isnan(start), "no start is given; give one in each row that has a label")
    duration = cells.numbers("duration")
    end = np.where(np.isnan(end), np.where(np.isnan(duration), start, start + duration), end)
    cells.fail_where(end < start, "the event ends before it begins; correct it")
    return start, end


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
    if choices.column is not None and choices.column.lower() in names:
        return names.index(choices.column.lower())
    if choices.column is None and known is not None:
        return known
    what = (
        "no column is known to have the labels"
        if choices.column is None
        else (f"there is no column {choices.column!r}")
    )
    there = ", ".join(name for name in header if name) or "none"
    text.fail(line, f"{what}; pass label_column (--label-column), one of {there}")


def table_format(name: str, table: Table) -> Format:
    """The format that a table describes."""
    return Format(name, table.recognised, table.read)
