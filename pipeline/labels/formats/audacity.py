"""Label tracks of Audacity: start TAB end TAB text.

As its own importer reads them (LabelTrack.cpp, LabelStruct::Import): a line may have no end, and
is a point then; its text is in the second column if that is no number. A line that begins with a
backslash gives the lowest and highest frequency of the line before it; a second one says nothing
more. Decimals have a point or a comma. Text may be empty. BirdNET adds a column: confidence.
"""

from collections.abc import Iterator

from pipeline.labels.events import UNKNOWN, Event, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import NUMBER, Text

CONTINUED = "\\"


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell.strip().replace(",", ".")) is not None


def recognised(text: Text) -> bool:
    """Whether the first lines all are labels or frequencies."""
    return bool(text.head) and all(
        "\t" in line and (line.startswith(CONTINUED) or _is_number(line.split("\t")[0]))
        for line in text.head
    )


def read(text: Text, choices: Choices) -> Iterator[Event | Span]:
    """The labels of a track; the whole recording was annotated."""
    yield Span("")
    event: Event | None = None
    for number, line in text.filled():
        cells = line.split("\t")
        if line.startswith(CONTINUED):
            if event is None:
                text.fail(number, "frequencies stand before any label; put the label before them")
            if event.low != event.low and len(cells) > 2:
                low, high = (text.seconds(number, "a frequency", c, True) for c in cells[1:3])
                event = event._replace(low=_known(low), high=_known(high))
            continue
        if event is not None:
            yield event
        event = _label(text, number, cells)
    if event is not None:
        yield event


def _label(text: Text, number: int, cells: list[str]) -> Event:
    start = text.seconds(number, "the start", cells[0], comma=True)
    end, more = start, cells[1:]
    if more and _is_number(more[0]):
        end, more = text.seconds(number, "the end", more[0], comma=True), more[1:]
    if end < start:
        text.fail(number, f"the label ends at {end:g} s, before it begins; mend it")
    confidence = UNKNOWN
    if len(more) > 1 and _is_number(more[1]):
        confidence = text.seconds(number, "the confidence", more[1], comma=True)
    return Event("", start, end, more[0].strip() if more else "", number, confidence=confidence)


def _known(frequency: float) -> float:
    return frequency if frequency >= 0 else UNKNOWN  # Audacity writes -1 where there is none


AUDACITY = Format("audacity", recognised, read)
