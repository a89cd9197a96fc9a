"""Annotations of ELAN (.eaf), in XML: tiers of annotations whose times are slots in milliseconds.

A slot may have no time: those between two that have are spread evenly, along the annotations of
their tier that meet in them. An annotation that refers to another has that one's times. A tier is
a set of labels of its own. The recording is named in the header, often by a URL of another
machine, with %20 for blanks; where there are several media, the annotations are of each that is
audio. TIME_ORIGIN is how much of a medium comes before the time 0 of annotations, in milliseconds.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn
from urllib.parse import unquote
from xml.parsers import expat

import numpy as np

from pipeline.labels.events import Found, Rows, Span
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.formats.tiers import chosen_set
from pipeline.labels.text import Text

ROOT = "ANNOTATION_DOCUMENT"
ALIGNED, REFERRING = "ALIGNABLE_ANNOTATION", "REF_ANNOTATION"
MILLISECONDS = re.compile(r"-?[0-9]{1,15}")
UNITS = "milliseconds"
ENCODINGS = ("utf-8", "utf-16", "ascii", "iso8859-1", "cp1252")


def recognised(text: Text) -> bool:
    """Whether the first lines begin the document of ELAN."""
    return any(f"<{ROOT}" in line for line in text.head)


class _Medium(NamedTuple):
    recording: str
    is_audio: bool
    origin: float  # seconds


@dataclass
class _Annotation:
    line: int
    name: str
    begin: str  # a slot; empty where it has a parent
    end: str
    parent: str
    label: str = ""


class _Document:
    """What a file says, as it is parsed."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.media = list[_Medium]()
        self.slots = dict[str, float | None]()  # seconds
        self.tiers = dict[str, list[_Annotation]]()
        self._tier: list[_Annotation] | None = None
        self._annotation: _Annotation | None = None
        self._value: list[str] | None = None
        self._depth = 0
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.XmlDeclHandler = self._opened
        parser.CharacterDataHandler = self._characters
        # What is declared in the document can make it as large as one likes; ELAN declares nothing.
        parser.EntityDeclHandler = parser.AttlistDeclHandler = self._declared
        try:
            parser.Parse(text.data, True)
        except expat.ExpatError as error:
            what = expat.errors.messages[error.code]
            text.fail(error.lineno, f"it is no XML ({what}); save it anew in ELAN")

    def fail(self, what: str) -> NoReturn:
        """Refuse what is being parsed."""
        self.text.fail(self._parser.CurrentLineNumber, what)

    def _opened(self, version: str, encoding: str | None, standalone: int) -> None:
        try:
            known = encoding is None or codecs.lookup(encoding).name in ENCODINGS
        except LookupError:
            known = False
        if not known:
            self.fail(f"its encoding is {encoding!r}; save it in UTF-8")

    def _declared(self, *_: object) -> None:
        self.fail("it declares entities or attributes of its own; remove its DOCTYPE")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._depth == 0 and tag != ROOT:
            self.fail(f"it begins with {tag[:80]!r}; it must be {ROOT}, as ELAN writes it")
        self._depth += 1
        if tag == "HEADER" and (units := attributes.get("TIME_UNITS", UNITS)) != UNITS:
            self.fail(f"its times are in {units[:80]!r}; they must be in {UNITS}")
        elif tag == "MEDIA_DESCRIPTOR":
            url = attributes.get("RELATIVE_MEDIA_URL") or attributes.get("MEDIA_URL", "")
            origin = self._seconds("TIME_ORIGIN", attributes.get("TIME_ORIGIN") or "0")
            is_audio = attributes.get("MIME_TYPE", "").startswith("audio")
            self.media.append(_Medium(path_of(url), is_audio, origin))
        elif tag == "TIME_SLOT":
            value = attributes.get("TIME_VALUE")
            time = None if value is None else self._seconds("TIME_VALUE", value)
            self.slots[self._of(attributes, "TIME_SLOT_ID")] = time
        elif tag == "TIER":
            self._tier = self.tiers.setdefault(self._of(attributes, "TIER_ID"), [])
        elif tag in (ALIGNED, REFERRING):
            self._add_annotation(tag, attributes)
        elif tag == "ANNOTATION_VALUE":
            self._value = []

    def _of(self, attributes: dict[str, str], name: str) -> str:
        if name not in attributes:
            self.fail(f"{name} is missing; save it anew in ELAN")
        return attributes[name]

    def _add_annotation(self, tag: str, attributes: dict[str, str]) -> None:
        if self._tier is None:
            self.fail("an annotation stands in no tier; save it anew in ELAN")
        line, name = self._parser.CurrentLineNumber, self._of(attributes, "ANNOTATION_ID")
        begin = end = parent = ""
        if tag == ALIGNED:
            begin = self._of(attributes, "TIME_SLOT_REF1")
            end = self._of(attributes, "TIME_SLOT_REF2")
        else:
            parent = self._of(attributes, "ANNOTATION_REF")
        self._annotation = _Annotation(line, name, begin, end, parent)
        self._tier.append(self._annotation)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag == "ANNOTATION_VALUE" and self._annotation and self._value is not None:
            self._annotation.label = "".join(self._value).strip()
            self._value = None
        elif tag == "TIER":
            self._tier = None

    def _characters(self, data: str) -> None:
        if self._value is not None:
            self._value.append(data)

    def _seconds(self, what: str, cell: str) -> float:
        if MILLISECONDS.fullmatch(cell) is None:
            self.fail(f"{what} is {cell[:80]!r}; it must be whole milliseconds")
        return int(cell) / 1000


def path_of(url: str) -> str:
    """The path of a recording that a URL, or a path, names."""
    path = unquote(re.sub(r"file:/*(?=/|[A-Za-z]:|\.)", "", url)).replace("\\", "/")
    return re.sub(r"^(\.{1,2}/)+", "", path)


def _times(document: _Document) -> dict[str, float]:
    """When each slot is, as far as that can be said."""
    times = {slot: time for slot, time in document.slots.items() if time is not None}
    for tier in document.tiers.values():
        follows = {item.begin: item.end for item in tier if item.begin}
        for item in tier:
            if item.begin in times and item.end not in times:
                chain = {item.begin: None}
                slot: str | None = item.end
                while slot is not None and slot not in times and slot not in chain:
                    chain[slot] = None
                    slot = follows.get(slot)
                if slot in times:
                    spread = np.linspace(times[item.begin], times[slot], len(chain) + 1)
                    times.update(zip(chain, spread.tolist(), strict=False))
    return times


def read(text: Text, choices: Choices) -> Iterator[Found]:
    """The annotations of one tier; the whole of the recordings was annotated."""
    document = _Document(text)
    used = [name for name, tier in document.tiers.items() if tier]
    chosen = chosen_set(text, "tier", document.tiers, used, choices)
    tier = [] if chosen is None else document.tiers[chosen]
    start, end = np.array(_placed(document, tier)).reshape(-1, 2).T
    labels, lines = [item.label for item in tier], [item.line for item in tier]
    media = [medium for medium in document.media if medium.is_audio] or document.media
    for medium in dict.fromkeys(media) or [_Medium("", True, 0.0)]:
        yield Span(medium.recording)
        if tier:
            yield Rows(medium.recording, start + medium.origin, end + medium.origin, labels, lines)


def _placed(document: _Document, tier: list[_Annotation]) -> list[tuple[float, float]]:
    """The times of annotations."""
    times = _times(document)
    by_name = {item.name: item for items in document.tiers.values() for item in items}
    found = []
    for annotation in tier:
        item, seen = annotation, {annotation.name}
        while item.parent:
            if item.parent not in by_name or item.parent in seen:
                document.text.fail(
                    item.line, f"{item.name!r} refers to no annotation; save it anew in ELAN"
                )
            item = by_name[item.parent]
            seen.add(item.name)
        if item.begin not in times or item.end not in times:
            document.text.fail(
                item.line,
                f"{item.name!r} has no time, nor have its neighbours in its tier; align it in ELAN",
            )
        start, end = times[item.begin], times[item.end]
        if end < start:
            document.text.fail(item.line, f"{item.name!r} ends before it begins; correct it")
        found.append((start, end))
    return found


ELAN = Format("elan", recognised, read)
