"""Subtitles as label tracks, as Audacity exports them: SubRip (.srt) and WebVTT (.vtt).

A cue is a number or name, which WebVTT may leave out, a line ``start --> end``, and lines of text
up to an empty one, which are joined by blanks. SubRip has a comma before milliseconds, WebVTT a
point; WebVTT may leave out the hours, and has settings behind the end. Blocks of WebVTT that are
NOTE, STYLE or REGION are no cues. Text may be empty, and marks of fonts are part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from pipeline.labels.events import Found, Rows, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.text import Text

Block = list[tuple[int, str]]
ARROW = "-->"
TIME = re.compile(r"(?:([0-9]{1,9}):)?([0-5]?[0-9]):([0-5]?[0-9])[.,]([0-9]{1,9})")
OTHER_BLOCKS = ("NOTE", "STYLE", "REGION")
LINE_END = re.compile(r"\r\n|\r|\n")


def is_webvtt(text: Text) -> bool:
    """Whether the first line says so."""
    return bool(text.head) and re.match(r"WEBVTT(\s|$)", text.head[0]) is not None


def is_srt(text: Text) -> bool:
    """Whether a number and times come first."""
    first = text.head[:2]
    return len(first) == 2 and first[0].strip().isdecimal() and _is_times(first[1])


def _is_times(line: str) -> bool:
    start, arrow, end = line.partition(ARROW)
    return bool(arrow and TIME.fullmatch(start.strip()) and TIME.match(end.strip()))


def _blocks(text: Text) -> Iterator[Block]:
    """Lines that stand together, with their numbers."""
    block: Block = []
    for number, line in enumerate(LINE_END.split(text.content), 1):
        # A line of blanks may be the text of a cue; of one without text, it is the end.
        if line:
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def read_webvtt(text: Text, choices: Choices) -> Iterator[Found]:
    """The cues; the whole recording was annotated."""
    blocks = _blocks(text)
    next(blocks, None)  # the header, with what may stand below it
    kept = (block for block in blocks if block[0][1].split(" ")[0].strip() not in OTHER_BLOCKS)
    return _read(text, kept)


def read_srt(text: Text, choices: Choices) -> Iterator[Found]:
    """The cues; the whole recording was annotated."""
    return _read(text, _blocks(text))


def _read(text: Text, blocks: Iterator[Block]) -> Iterator[Found]:
    yield Span("")
    cues = [_cue(text, block) for block in blocks if any(line.strip() for _, line in block)]
    if cues:
        lines, starts, ends, labels = zip(*cues, strict=True)
        yield Rows("", np.array(starts), np.array(ends), labels, lines)


def _cue(text: Text, block: Block) -> tuple[int, float, float, str]:
    place = 0 if ARROW in block[0][1] else 1
    if len(block) <= place or ARROW not in block[place][1]:
        text.fail(block[0][0], f"a cue must have its times, start {ARROW} end, in its second line")
    number, line = block[place]
    first, _, second = line.partition(ARROW)
    start = _seconds(text, number, "start", first.strip())
    end = _seconds(text, number, "end", (second.split() or [""])[0])
    if end < start:
        text.fail(number, "the cue ends before it begins; correct it")
    return number, start, end, " ".join(line.strip() for _, line in block[place + 1 :]).strip()


def _seconds(text: Text, line: int, what: str, cell: str) -> float:
    found = TIME.fullmatch(cell)
    if found is None:
        text.fail(
            line, f"the {what} is {cell[:80]!r}; it must be hours:minutes:seconds.milliseconds"
        )
    hours, minutes, seconds, part = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(f"{seconds}.{part}")


SRT = Format("srt", is_srt, read_srt)
WEBVTT = Format("webvtt", is_webvtt, read_webvtt)
