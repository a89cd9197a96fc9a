"""Cells of a table, column by column: millions of rows cost little that way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels.events import ANY_CHANNEL
from pipeline.labels.text import CLOCK, LARGEST, Text

Array = npt.NDArray[Any]
Block = tuple[list[int], list[list[str]]]  # lines and rows
Blocks = Iterator[Block]
MOST_CHANNELS = 1 << 15


@dataclass(frozen=True, eq=False)
class Cells:
    """Some rows of a table: where each stands, and its columns that are known, by what they are."""

    text: Text
    lines: list[int]
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, what: str) -> list[str]:
        """The cells of a column, without blanks around them; empty ones if there is no such."""
        return self.columns.get(what) or [""] * len(self)

    def numbers(self, what: str, name: str = "") -> Array:
        """The numbers, or times in seconds, of a column; NaN where it is empty, or not there.

        An error calls the column by `name`.
        """
        if what not in self.columns:
            return np.full(len(self), np.nan)
        cells = self.columns[what]
        if cells and cells.count(cells[0]) == len(cells):
            return np.full(len(cells), self._number(self.lines[0], what, name, cells[0]))
        for read in (_plain_numbers, _clocks):
            if (values := read(cells)) is not None:
                return values
        rows = zip(self.lines, cells, strict=True)
        return np.array([self._number(line, what, name, cell) for line, cell in rows])

    def _number(self, line: int, what: str, name: str, cell: str) -> float:
        return self.text.seconds(line, name or f"the {what}", cell) if cell else np.nan

    def channels(self, first: int) -> Array:
        """The channels from 0, where `first` is the first; any, where none is given."""
        channel = self.numbers("channel")
        given = ~np.isnan(channel)
        wrong = (channel % 1 != 0) | (channel < first) | (channel >= MOST_CHANNELS)
        self.fail_where(given & wrong, f"its channel is no whole number from {first}; correct it")
        return np.where(given, channel - first, ANY_CHANNEL)

    def fail_where(self, wrong: npt.NDArray[np.bool_], what: str) -> None:
        """Raise a ValueError that names the first line of those that are wrong, if any is."""
        if wrong.any():
            self.text.fail(self.lines[int(np.flatnonzero(wrong)[0])], what)

    def of(self, mask: npt.NDArray[np.bool_]) -> Cells:
        """Some of the rows."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask).tolist()
        columns = {what: [cells[i] for i in rows] for what, cells in self.columns.items()}
        return Cells(self.text, [self.lines[i] for i in rows], columns)


def columns_of(header: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Where the columns are that are known by some names, of which the first found holds."""
    places = {name.strip().lower(): place for place, name in reversed([*enumerate(header)])}
    found = {}
    for what, names in known.items():
        for name in names:
            if name in places:
                found[what] = places[name]
                break
    return found


def open_table(
    text: Text, separator: str, n_cells: int | None = None
) -> tuple[int, list[str], Blocks]:
    """The line of the first row of a table, its cells, and what follows."""
    blocks = text.blocks(separator, n_cells)
    first = next(blocks, None)
    if first is None:
        text.fail(1, "the table has no row; name its columns in the first")
    lines, rows = first
    return lines[0], rows[0], chain([(lines[1:], rows[1:])], blocks)


def cells_of(text: Text, blocks: Blocks, places: Mapping[str, int], width: int) -> Iterator[Cells]:
    """The columns at some places of a table that has `width`.

    A row that is too short has empty cells; one that is too long is refused.
    """
    for lines, rows in blocks:
        if not lines:
            continue
        lengths = [*map(len, rows)]
        if max(lengths) > width:
            too_long = np.array([any(map(str.strip, row[width:])) for row in rows])
            Cells(text, lines, {}).fail_where(
                too_long,
                f"it has more cells than the {width} that there are columns; put text that has "
                f"the separator in it into quotes",
            )
        if min(lengths) < width:
            rows = [row + [""] * (width - len(row)) for row in rows]
        columns = {
            what: [*map(str.strip, map(itemgetter(at), rows))] for what, at in places.items()
        }
        yield Cells(text, lines, columns)


def _plain_numbers(cells: Sequence[str]) -> Array | None:
    """The numbers of a column, with NaN where it is empty; None if there is anything else."""
    together = "".join(cells)
    # What Python reads as a number, too: 1_000, nan, inf.
    if not together.isascii() or any(mark in together for mark in "_nN"):
        return None
    filled = [cell or "nan" for cell in cells] if "" in cells else cells
    try:
        values = np.fromiter(map(float, filled), np.float64, len(cells))
    except ValueError:
        return None
    return None if (np.abs(values) >= LARGEST).any() else values


def _clocks(cells: Sequence[str]) -> Array | None:
    """Times as hours:minutes:seconds, in seconds, if all have the same digits and marks."""
    first = cells[0]
    if not CLOCK.fullmatch(first) or {*map(len, cells)} != {len(first)}:
        return None
    together = "".join(cells)
    if not together.isascii():
        return None
    codes = np.frombuffer(together.encode(), np.uint8).reshape(len(cells), -1)
    digits = codes.astype(np.int64) - ord("0")
    is_digit = (digits >= 0) & (digits <= 9)
    marks = ~is_digit[0]
    if (is_digit != is_digit[0]).any() or (codes[:, marks] != codes[0, marks]).any():
        return None
    ends = [*np.flatnonzero(marks), len(first)]
    starts = [0, *(end + 1 for end in ends[:-1])]
    hours, minutes, seconds, *parts = (
        digits[:, start:end] @ 10 ** np.arange(end - start)[::-1]
        for start, end in zip(starts, ends, strict=True)
    )
    if (np.maximum(minutes, seconds) >= 60).any():
        return None
    scale = 10 ** (len(first) - starts[3]) if parts else 1
    return np.asarray(3600.0 * hours + 60.0 * minutes + (seconds * scale + sum(parts)) / scale)
