"""The formats of NIST: RTTM (who speaks when), UEM (what was annotated) and CTM (which words).

Their lines have fields with blanks between them, and ``;;`` begins a comment. A recording is named
by its file without the ending. RTTM and CTM have durations, not ends. Of RTTM, the lines of type
SPEAKER are events; the other types say nothing of who speaks when. A UEM says it all of what was
annotated in the recordings that it names. Channels are counted from 1; 0 may be any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import compress, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels.cells import Cells
from pipeline.labels.events import ANY_CHANNEL, UNKNOWN, Found, Rows, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import NUMBER, Text

Array = npt.NDArray[Any]
Parts = Iterator[Cells]
LINES = 20_000  # that are held at a time
COMMENT = ";;"
MARK = " \0 "  # of the end of a line; no text has it
NOT_GIVEN = ("<na>", "na")
SPEAKER = "speaker"
TYPES = {
    *(SPEAKER, "lexeme", "non-lex", "non-speech", "filler", "noscore", "no_rt_metadata"),
    *("spkr-info", "segment", "su", "ip", "cb", "a/p", "edit", "no_ref"),
}
RTTM_FIELDS = {
    **{"type": 0, "file": 1, "channel": 2, "start": 3, "duration": 4},
    **{"label": 7, "confidence": 8},
}
UEM_FIELDS = {"file": 0, "start": 2, "end": 3}
CTM_FIELDS = {"file": 0, "channel": 1, "start": 2, "duration": 3, "label": 4, "confidence": 5}


def _cells(text: Text, widths: tuple[int, ...], shape: str, places: Mapping[str, int]) -> Parts:
    """The fields of lines that are no comments, many lines at a time."""
    lines = text.lines()
    while some := [*islice(lines, LINES)]:
        numbers, fields = map(list[Any], zip(*some, strict=True))
        columns = _columns(fields, max(widths))
        if not columns:
            rows = [line.split() for line in fields]
            kept = [not row[0].startswith(COMMENT) for row in rows]
            numbers, rows = [*compress(numbers, kept)], [*compress(rows, kept)]
            for number, row in zip(numbers, rows, strict=True):
                if len(row) not in widths:
                    text.fail(number, f"it is no line of {shape}; correct it")
                row += [""] * (max(widths) - len(row))
            columns = [*map(list, zip(*rows, strict=True))]
        if columns:
            yield Cells(text, numbers, {what: columns[at] for what, at in places.items()})


def _columns(lines: list[str], width: int) -> list[list[str]]:
    """The fields of lines in columns, at once; none where not all lines are fields, and as many."""
    fields = MARK.join(lines).split()
    n = width + 1
    ends = fields[width::n]
    if len(fields) != n * len(lines) - 1 or ends.count(MARK.strip()) != len(lines) - 1:
        return []
    columns = [fields[at::n] for at in range(width)]
    return [] if COMMENT in MARK.join(columns[0]) else columns


def _all(text: Text, of_format: Callable[[list[str]], bool]) -> bool:
    """Whether the first lines are of a format, and not all of them comments."""
    some = False
    for line in text.head:
        row = line.split()
        if not row[0].startswith(COMMENT):
            if not of_format(row):
                return False
            some = True
    return some


def _are_numbers(cells: list[str]) -> bool:
    return all(map(NUMBER.fullmatch, cells))


def is_rttm(text: Text) -> bool:
    """Whether each line begins with a type of RTTM and has its fields."""
    return _all(text, lambda row: len(row) in (9, 10) and row[0].lower() in TYPES)


def read_rttm(text: Text, choices: Choices) -> Iterator[Found]:
    """The turns of speakers."""
    for cells in _cells(text, (9, 10), "RTTM, which has a type and nine fields", RTTM_FIELDS):
        kinds = {kind: kind.lower() for kind in {*cells.texts("type")}}
        if {*kinds.values()} != {SPEAKER}:
            found = np.array([kinds[kind] for kind in cells.texts("type")])
            wrong = ~np.isin(found, sorted(TYPES))
            cells.fail_where(wrong, f"its type is none of {', '.join(sorted(TYPES))}; correct it")
            cells = cells.of(found == SPEAKER)
        if len(cells):
            yield _events(cells)


def is_uem(text: Text) -> bool:
    """Whether each line has a file, a channel, a start and an end."""
    return _all(
        text,
        lambda row: (
            len(row) == 4
            and (row[1].upper() == "NA" or row[1].isdecimal())
            and _are_numbers(row[2:])
        ),
    )


def read_uem(text: Text, choices: Choices) -> Iterator[Found]:
    """The parts that were annotated."""
    for cells in _cells(text, (4,), "UEM: file, channel, start, end", UEM_FIELDS):
        start, end = cells.numbers("start"), cells.numbers("end")
        cells.fail_where(end < start, "the part ends before it begins; correct it")
        for part in zip(cells.texts("file"), start.tolist(), end.tolist(), strict=True):
            yield Span(*part, explicit=True)


def is_ctm(text: Text) -> bool:
    """Whether each line has a file, a channel, a start, a duration and a word."""
    return _all(text, lambda row: len(row) in (5, 6) and _are_numbers(row[2:4]))


def read_ctm(text: Text, choices: Choices) -> Iterator[Found]:
    """The words."""
    shape = "CTM: file, channel, start, duration, word"
    return map(_events, _cells(text, (5, 6), shape, CTM_FIELDS))


def _events(cells: Cells) -> Rows:
    given = cells.columns | {"confidence": _given(cells.columns["confidence"])}
    cells = Cells(cells.text, cells.lines, given)
    start, duration = cells.numbers("start"), cells.numbers("duration")
    cells.fail_where(duration < 0, "the duration is less than nothing; correct it")
    with np.errstate(over="ignore"):
        end = start + duration
    cells.fail_where(np.isinf(end), "the event ends after all time; correct its duration")
    confidence = cells.numbers("confidence") if any(given["confidence"]) else UNKNOWN
    return Rows(
        cells.texts("file"),
        start,
        end,
        cells.texts("label"),
        cells.lines,
        channel=_channels(cells.texts("channel")),
        confidence=confidence,
    )


def _given(cells: list[str]) -> list[str]:
    known = {cell: "" if cell.lower() in NOT_GIVEN else cell for cell in {*cells}}
    return [*map(known.__getitem__, cells)]


def _channels(cells: list[str]) -> Array:
    known = {cell: _channel(cell) for cell in {*cells}}
    return np.fromiter(map(known.__getitem__, cells), np.int16, len(cells))


def _channel(cell: str) -> int:
    """From 0; they are counted from 1, or from A as the sides of a telephone line."""
    if cell.isascii() and cell.isdecimal() and len(cell) < 5:
        return int(cell) - 1 if int(cell) else ANY_CHANNEL
    return {"A": 0, "B": 1}.get(cell, ANY_CHANNEL)


RTTM = Format("rttm", is_rttm, read_rttm)
UEM = Format("uem", is_uem, read_uem)
CTM = Format("ctm", is_ctm, read_ctm)
