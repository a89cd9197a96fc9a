"""TextGrids of Praat, in its long or short form of text.

Praat reads both alike: what counts are numbers, text in double quotes and flags like <exists> that
stand by themselves; what is around them, as `xmin =` or `intervals [1]:`, is for people, and `!`
begins a comment. A double quote in text is doubled. The encoding is UTF-8 or UTF-16, with a mark or
without. Intervals fill a tier from end to end: those without text are gaps. A tier is a set of
labels of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from pipeline.labels.events import Found, Rows, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.formats.tiers import chosen_set
from pipeline.labels.text import NUMBER, Text

TOKEN = re.compile(
    r"""
    "((?:[^"]++|"")*+)("?)  # text; its end is lacking where the file is cut
    | <[^>\r\n]*>           # a flag
    | ![^\r\n]*             # a comment
    | ([^\s"<!=]+)          # a word, or a number
    """,
    re.VERBOSE,
)
LINE_END = re.compile(r"\r\n|\r|\n")
LATEST = 1e15
INTERVALS, POINTS = "IntervalTier", "TextTier"


def recognised(text: Text) -> bool:
    """Whether the first lines say so."""
    start = " ".join(text.head[:3])
    return '"ooTextFile' in start and '"TextGrid"' in start


@dataclass
class _Tier:
    name: str
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)  # of labels, in the file


class _Tokens:
    """Numbers and texts of a file, in order."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._found = self._scan()
        self.place = 0

    def _scan(self) -> Iterator[str | float]:
        for found in TOKEN.finditer(self._text.content):
            if found[3] is not None and NUMBER.fullmatch(found[3]):
                self.place = found.start()
                yield float(found[3])
            elif found[1] is not None:
                self.place = found.start()
                if not found[2]:
                    self.fail("the double quote of a text is never closed; close it")
                yield found[1].replace('""', '"').strip()

    def line(self, place: int) -> int:
        """The number of the line that a place in the file is in."""
        return len(LINE_END.findall(self._text.content, 0, place)) + 1

    def fail(self, what: str) -> NoReturn:
        """Refuse what stands where reading is."""
        self._text.fail(self.line(self.place), what)

    def text(self, what: str) -> str:
        """The next, which must be text."""
        found = next(self._found, None)
        if not isinstance(found, str):
            self._fail_at(found, f"{what}, in double quotes")
        return found

    def number(self, what: str) -> float:
        """The next, which must be a number."""
        found = next(self._found, None)
        if not isinstance(found, float) or abs(found) >= LATEST:
            self._fail_at(found, f"{what}, a number")
        return found

    def count(self, what: str) -> int:
        """The next, which must be a whole number."""
        number = self.number(what)
        if number < 0 or number != int(number):
            self.fail(f"{what} is {number:g}; it must be a whole number")
        return int(number)

    def check_end(self) -> None:
        """Refuse what stands behind the last tier."""
        if next(self._found, None) is not None:
            self.fail("there is more behind the last tier; correct the number of tiers")

    def _fail_at(self, found: str | float | None, what: str) -> NoReturn:
        if found is None:
            self.place = len(self._text.content)
            self.fail(f"the file ends before {what}; save it anew in Praat")
        self.fail(f"{str(found)[:80]!r} stands in the place of {what}; save it anew in Praat")


def read(text: Text, choices: Choices) -> Iterator[Found]:
    """The intervals or points of one tier; the whole recording was annotated."""
    tokens = _Tokens(text)
    for what in ("the type of file", "the class of object"):
        tokens.text(what)
    for what in ("the start", "the end"):
        tokens.number(what)
    tiers = [_tier(tokens) for _ in range(tokens.count("the number of tiers"))]
    tokens.check_end()
    there = [tier.name for tier in tiers]
    chosen = chosen_set(text, "tier", there, [tier.name for tier in tiers if tier.labels], choices)
    yield Span("")
    ends = np.array([found.end() for found in LINE_END.finditer(text.content)], np.int64)
    for tier in tiers:
        if tier.name == chosen and tier.labels:
            lines = np.searchsorted(ends, tier.places, "right") + 1
            yield Rows("", np.array(tier.starts), np.array(tier.ends), tier.labels, lines.tolist())


def _tier(tokens: _Tokens) -> _Tier:
    kind = tokens.text("the class of a tier")
    if kind not in (INTERVALS, POINTS):
        tokens.fail(f"the class of a tier is {kind[:80]!r}; it must be {INTERVALS} or {POINTS}")
    tier = _Tier(tokens.text("the name of a tier"))
    for what in ("start", "end"):
        tokens.number(f"the {what} of a tier")
    for _ in range(tokens.count("the number of intervals or points")):
        start = end = tokens.number("a start")
        if kind == INTERVALS:
            end = tokens.number("an end")
            if end < start:
                tokens.fail("the interval ends before it begins; correct it")
        label = tokens.text("the text of an interval or point")
        if label or kind == POINTS:
            tier.starts.append(start)
            tier.ends.append(end)
            tier.labels.append(label)
            tier.places.append(tokens.place)
    return tier


TEXTGRID = Format("textgrid", recognised, read)
