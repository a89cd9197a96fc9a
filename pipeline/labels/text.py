"""Text of label files: its encoding, its lines and cells, and what is wrong in which line."""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import NoReturn

# Numbers as programs write them. Python reads more as one: 1_000, nan, infinity.
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
CLOCK = re.compile(r"([0-9]+):([0-5]?[0-9]):([0-5]?[0-9](?:[.,][0-9]*)?)")
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
HEAD = 20  # lines that a format is recognised by


@dataclass(frozen=True)
class Text:
    """A label file that has been read: its name, for people, and what it says."""

    name: str
    content: str

    @classmethod
    def decode(cls, name: str, data: bytes) -> Text:
        """Text in UTF-8, or in UTF-16 if it says so; a ValueError where it is neither."""
        encoding = next((e for mark, e in MARKS.items() if data.startswith(mark)), "utf-8")
        try:
            content = data.decode(encoding)
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ValueError(
                f"{name}, line {line}: it is not in {encoding.removesuffix('-sig').upper()}; save "
                f"the file in UTF-8"
            ) from error
        if "\0" in content:
            line = content[: content.index("\0")].count("\n") + 1
            raise ValueError(
                f"{name}, line {line}: there is a NUL character; save the file as text, in UTF-8"
            )
        return cls(name, content)

    @cached_property
    def lines(self) -> list[str]:
        """Without their ends."""
        return re.split(r"\r\n|\r|\n", self.content)

    @property
    def head(self) -> list[str]:
        """The first lines that are not empty."""
        return [line for line in self.lines[: 5 * HEAD] if line.strip()][:HEAD]

    def filled(self) -> Iterator[tuple[int, str]]:
        """Numbers of lines, from 1, and those that are not empty."""
        return ((n, line) for n, line in enumerate(self.lines, 1) if line.strip())

    def rows(self, separator: str) -> Iterator[tuple[int, list[str]]]:
        """The line that each row of a table ends in, and its cells without blanks around them."""
        reader = csv.reader(StringIO(self.content, newline=""), delimiter=separator, strict=True)
        try:
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield reader.line_num, cells
        except csv.Error as error:
            self.fail(reader.line_num, f"it is no line of a table ({error}); mend it")

    def fail(self, line: int, what: str) -> NoReturn:
        """Raise a ValueError that names the file and the line."""
        raise ValueError(f"{self.name}, line {line}: {what}")

    def seconds(self, line: int, what: str, cell: str, comma: bool = False) -> float:
        """A time, or any other number, of a cell; with `comma`, of a decimal comma, too."""
        cell = cell.strip()
        if NUMBER.fullmatch(cell.replace(",", ".") if comma else cell):
            value = float(cell.replace(",", ".") if comma else cell)
            if math.isfinite(value):
                return value
        self.fail(line, f"{what} is {cell[:80]!r}; it must be a number")

    def clock(self, line: int, what: str, cell: str) -> float:
        """A time in seconds, or as hours:minutes:seconds."""
        found = CLOCK.fullmatch(cell.strip())
        if found is None:
            return self.seconds(line, what, cell)
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds.replace(",", "."))


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


def cell_of(row: Sequence[str], place: int | None) -> str:
    """A cell, or nothing where a row is short."""
    return row[place] if place is not None and place < len(row) else ""
