"""Cells of a table, column by column: millions of rows cost little that way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels.text import Text

Array = npt.NDArray[Any]
ROWS = 20_000  # that are held at a time


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
        together = "".join(cells)
        if together.isascii() and "_" not in together:  # which Python takes for digits, too
            try:
                values = np.fromiter(map(float, cells), np.float64, len(cells))
            except ValueError:
                pass
            else:
                if np.isfinite(values).all():
                    return values
        name = name or f"the {what}"
        return np.array(
            [
                self.text.seconds(line, name, cell) if cell else np.nan
                for line, cell in zip(self.lines, cells, strict=True)
            ]
        )

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


def cells_of(
    text: Text, rows: Iterator[tuple[int, list[str]]], places: Mapping[str, int]
) -> Iterator[Cells]:
    """The rows of a table, many at a time; a row that is too short has empty cells."""
    width = max(places.values(), default=-1) + 1
    while some := [*islice(rows, ROWS)]:
        lines, found = [line for line, _ in some], [row for _, row in some]
        if min(map(len, found)) < width:
            found = [row + [""] * (width - len(row)) for row in found]
        columns = {what: [row[at].strip() for row in found] for what, at in places.items()}
        yield Cells(text, lines, columns)
