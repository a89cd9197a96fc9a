"""The formats of NIST: RTTM (who speaks when), UEM (what was annotated) and CTM (which words).

Their lines have fields with blanks between them, and ``;;`` begins a comment. A recording is named
by its file without the ending. RTTM and CTM have durations, not ends.
"""

from collections.abc import Iterator

from pipeline.labels.events import ANY_CHANNEL, UNKNOWN, Event, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import NUMBER, Text

NONE = "<na>"
# What other types of line there are in RTTM; they say nothing of who speaks.
TYPES = {
    *("speaker", "lexeme", "non-lex", "non-speech", "filler", "noscore", "no_rt_metadata"),
    *("spkr-info", "segment", "su", "ip", "cb", "a/p", "edit", "no_ref"),
}


def _fields(text: Text) -> Iterator[tuple[int, list[str]]]:
    return (
        (number, line.split())
        for number, line in text.filled()
        if not line.lstrip().startswith(";;")
    )


def _first(text: Text) -> list[list[str]]:
    return [line.split() for line in text.head if not line.lstrip().startswith(";;")]


def _are_numbers(cells: list[str]) -> bool:
    return all(map(NUMBER.fullmatch, cells))


def is_rttm(text: Text) -> bool:
    """Whether each line begins with a type of RTTM and has its fields."""
    rows = _first(text)
    return bool(rows) and all(len(row) in (9, 10) and row[0].lower() in TYPES for row in rows)


def read_rttm(text: Text, choices: Choices) -> Iterator[Event | Span]:
    """The turns of speakers."""
    for number, row in _fields(text):
        if len(row) not in (9, 10) or row[0].lower() not in TYPES:
            text.fail(number, "it is no line of RTTM, which has a type and nine fields; mend it")
        if row[0].lower() != "speaker":
            continue
        start, end = _times(text, number, row[3], row[4])
        confidence = UNKNOWN if row[8].lower() == NONE else text.seconds(number, "it", row[8])
        yield Event(
            row[1], start, end, row[7], number, channel=_channel(row[2]), confidence=confidence
        )


def is_uem(text: Text) -> bool:
    """Whether each line has a file, a channel, a start and an end."""
    rows = _first(text)
    return bool(rows) and all(
        len(row) == 4 and _are_numbers(row[2:]) and (row[1].upper() == "NA" or row[1].isdecimal())
        for row in rows
    )


def read_uem(text: Text, choices: Choices) -> Iterator[Event | Span]:
    """The parts that were annotated."""
    for number, row in _fields(text):
        if len(row) != 4:
            text.fail(number, "it is no line of UEM: file, channel, start, end; mend it")
        start, end = (text.seconds(number, "a time", cell) for cell in row[2:])
        if end < start:
            text.fail(number, f"the part ends at {end:g} s, before it begins; mend it")
        yield Span(row[0], start, end)


def is_ctm(text: Text) -> bool:
    """Whether each line has a file, a channel, a start, a duration and a word."""
    rows = _first(text)
    return bool(rows) and all(len(row) in (5, 6) and _are_numbers(row[2:4]) for row in rows)


def read_ctm(text: Text, choices: Choices) -> Iterator[Event | Span]:
    """The words."""
    for number, row in _fields(text):
        if len(row) not in (5, 6):
            text.fail(number, "it is no line of CTM: file, channel, start, duration, word; mend it")
        start, end = _times(text, number, row[2], row[3])
        confidence = text.seconds(number, "the confidence", row[5]) if row[5:] else UNKNOWN
        yield Event(
            row[0], start, end, row[4], number, channel=_channel(row[1]), confidence=confidence
        )


def _channel(cell: str) -> int:
    """From 0; they are counted from 1, or from A as the sides of a telephone line."""
    if cell.isdecimal():
        return max(0, int(cell) - 1)
    return "AB".index(cell) if cell in ("A", "B") else ANY_CHANNEL


def _times(text: Text, number: int, start: str, duration: str) -> tuple[float, float]:
    begin = text.seconds(number, "the start", start)
    length = text.seconds(number, "the duration", duration)
    if length < 0:
        text.fail(number, f"the duration is {length:g} s, less than nothing; mend it")
    return begin, begin + length


RTTM = Format("rttm", is_rttm, read_rttm)
UEM = Format("uem", is_uem, read_uem)
CTM = Format("ctm", is_ctm, read_ctm)
