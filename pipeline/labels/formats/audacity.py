"""Label tracks of Audacity: start TAB end TAB text.

As its own importer reads them (LabelTrack.cpp, LabelStruct::Import): a line may have no end, and
is a point then; its text is in the second column if that is no number. A line that begins with a
backslash gives the lowest and highest frequency of the line before it, -1 where there is none;
further ones say nothing more. Decimals have a point or a comma. Text may be empty. Several tracks
stand one behind the other, so that starts may step back. BirdNET adds a column: confidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels.cells import Cells
from pipeline.labels.events import UNKNOWN, Found, Rows, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import NUMBER, Text

Array = npt.NDArray[Any]
Bands = dict[int, tuple[int, list[str]]]
CONTINUED = "\\"


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell.strip().replace(",", ".")) is not None


def recognised(text: Text) -> bool:
    """Whether the first lines all are labels or frequencies."""
    return bool(text.head) and all(
        "\t" in line and (line.startswith(CONTINUED) or _is_number(line.split("\t", 1)[0]))
        for line in text.head
    )


def read(text: Text, choices: Choices) -> Iterator[Found]:
    """The labels of a track; the whole recording was annotated."""
    yield Span("")
    lines = list[int]()
    rows = list[list[str]]()
    bands: Bands = {}  # of some rows: the line and cells of their frequencies
    for number, line in text.lines():
        row = line.split("\t")
        if line[0] != CONTINUED:
            lines.append(number)
            rows.append(row)
        elif rows:
            bands.setdefault(len(rows) - 1, (number, row))
        else:
            text.fail(number, "frequencies stand before any label; put the label before them")
    if rows:
        yield _rows(text, lines, rows, bands)


def _rows(text: Text, lines: list[int], rows: list[list[str]], bands: Bands) -> Rows:
    if {*map(len, rows)} != {3} or not all(map(NUMBER.fullmatch, map(itemgetter(1), rows))):
        rows = [_whole(row) for row in rows]
    names = ("start", "end", "label", "confidence")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=False))
    labels = [label.strip() for label in columns.pop("label")]
    cells = Cells(text, lines, {what: _with_points(cells) for what, cells in columns.items()})
    start, end = cells.numbers("start"), cells.numbers("end")
    cells.fail_where(np.isnan(start), "the label has no start; give it one")
    cells.fail_where(end < start, "the label ends before it begins; correct it")
    low, high = _frequencies(text, len(rows), bands) if bands else (UNKNOWN, UNKNOWN)
    confidence = cells.numbers("confidence") if "confidence" in columns else UNKNOWN
    return Rows("", start, end, labels, lines, low, high, confidence=confidence)


def _whole(row: list[str]) -> list[str]:
    """The start, end, text and confidence of a label; confidence may be empty."""
    start, *rest = row
    end = start
    if rest and _is_number(rest[0]):
        end, *rest = rest
    elif rest and not rest[0]:  # Audacity takes several tabs for one
        rest = rest[1:]
    sure = rest[1] if len(rest) > 1 and _is_number(rest[1]) else ""
    return [start, end, rest[0] if rest else "", sure]


def _with_points(cells: list[str]) -> list[str]:
    """Numbers with decimal points."""
    if "," not in "".join(cells):
        return cells
    return [cell.replace(",", ".") for cell in cells]


def _frequencies(
    text: Text, n_rows: int, bands: Mapping[int, tuple[int, list[str]]]
) -> tuple[Array, Array]:
    low, high = np.full((2, n_rows), UNKNOWN)
    for row, (line, cells) in bands.items():
        if len(cells) < 3:
            text.fail(line, "it must be a backslash, and two frequencies, with tabs between them")
        for column, what, cell in ((low, "lowest", cells[1]), (high, "highest", cells[2])):
            frequency = text.number(line, f"the {what} frequency", cell, comma=True)
            column[row] = frequency if frequency >= 0 else UNKNOWN
    return low, high


AUDACITY = Format("audacity", recognised, read)
