"""Text of label files: its encoding, its lines and rows, and what is wrong in which line."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO, TextIOWrapper
from itertools import accumulate, compress, islice
from typing import NoReturn

# Numbers as programs write them. Python reads more as one: 1_000, nan, infinity.
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
CLOCK = re.compile(r"([0-9]{1,9}):([0-5]?[0-9]):([0-5]?[0-9](?:[.,][0-9]*)?)")
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
LARGEST = 1e15  # of any number; what is larger is none of a label file
LINE_END = re.compile(r"\r\n|\r|\n")
ROWS = 4_000  # of a table, that are held at a time
HEAD = 20  # lines that a format is recognised by
HEAD_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class Text:
    """A label file: its name, for people, and its bytes, in UTF-8 or, if they say so, UTF-16."""

    name: str
    data: bytes

    @property
    def encoding(self) -> str:
        """What the bytes are in; UTF-16 without a mark shows in its zeros."""
        for mark, encoding in MARKS.items():
            if self.data.startswith(mark):
                return encoding
        even, odd = self.data[0:16:2], self.data[1:16:2]
        for these, those, encoding in ((even, odd, "utf-16-le"), (odd, even, "utf-16-be")):
            if len(odd) > 1 and all(these) and not any(those):
                return encoding
        return "utf-8"

    @cached_property
    def content(self) -> str:
        """All of it; a ValueError that names the line where it is no text."""
        self.check()
        return self.data.decode(self.encoding)

    def check(self) -> None:
        """Refuse what is no text."""
        try:
            # In parts, as a file may be large; a NUL is text, but of no label file.
            with self._open() as lines:
                for part in iter(lambda: lines.read(1 << 20), ""):
                    if "\0" in part:
                        line = self.data.decode(self.encoding).partition("\0")[0].count("\n") + 1
                        self.fail(line, "there is a NUL character; save the file as text, in UTF-8")
        except UnicodeDecodeError:
            try:
                self.data.decode(self.encoding)
            except UnicodeDecodeError as error:
                line = self.data[: error.start].count(b"\n") + 1
                name = self.encoding.removesuffix("-sig").upper()
                message = f"{self.name}, line {line}: it is not in {name}; save the file in UTF-8"
                raise ValueError(message) from error

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(BytesIO(self.data), self.encoding, newline="")

    @cached_property
    def head(self) -> list[str]:
        """The first lines that are not empty, without their ends."""
        start = self.data[:HEAD_BYTES].decode(self.encoding, "replace")
        lines = [line for line in re.split(r"\r\n|\r|\n", start, maxsplit=5 * HEAD) if line.strip()]
        return lines[:HEAD]

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbers of lines, from 1, and those that are not empty, without their ends."""
        self.check()
        with TextIOWrapper(BytesIO(self.data), self.encoding) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line.rstrip("\n")

    def blocks(
        self, separator: str, n_cells: int | None = None
    ) -> Iterator[tuple[list[int], list[list[str]]]]:
        """The rows of a table, many at a time: the line that each ends in, and its cells.

        Rows that are empty are left out. If only the first `n_cells` are of use, the others need
        not be apart.
        """
        self.check()
        # Without quotes, the cells are what is between separators, which costs less.
        quoted = b'"' in self.data
        read = self._quoted(separator) if quoted else self._unquoted(separator, n_cells)
        for numbers, rows in read:
            filled = [*map(any, rows)]
            if not all(filled):
                numbers, rows = [*compress(numbers, filled)], [*compress(rows, filled)]
            if rows:
                yield numbers, rows

    def _unquoted(
        self, separator: str, n_cells: int | None
    ) -> Iterator[tuple[list[int], list[list[str]]]]:
        line, most = 0, -1 if n_cells is None else n_cells
        with TextIOWrapper(BytesIO(self.data), self.encoding) as lines:
            while rows := [row.rstrip("\n").split(separator, most) for row in islice(lines, ROWS)]:
                yield [*range(line + 1, line + 1 + len(rows))], rows
                line += len(rows)

    def _quoted(self, separator: str) -> Iterator[tuple[list[int], list[list[str]]]]:
        with self._open() as lines:
            reader, line = csv.reader(lines, delimiter=separator, strict=True), 0
            try:
                while rows := [*islice(reader, ROWS)]:
                    numbers = [*range(line + 1, line + 1 + len(rows))]
                    if reader.line_num != numbers[-1]:  # some cells have several lines
                        numbers = [*accumulate(map(_n_lines, rows), initial=line)][1:]
                    yield numbers, rows
                    line = reader.line_num
            except csv.Error as error:
                self.fail(reader.line_num, f"it is no line of a table ({error}); correct it")

    def fail(self, line: int, what: str) -> NoReturn:
        """Raise a ValueError that names the file and the line."""
        raise ValueError(f"{self.name}, line {line}: {what}")

    def number(self, line: int, what: str, cell: str, *, comma: bool = False) -> float:
        """A number, in seconds or Hz or whatever it is; with `comma`, a decimal comma will do."""
        cell = cell.strip()
        plain = cell.replace(",", ".") if comma else cell
        if NUMBER.fullmatch(plain) and abs(value := float(plain)) < LARGEST:
            return value
        self.fail(line, f"{what} is {cell[:80]!r}; it must be a number")

    def seconds(self, line: int, what: str, cell: str) -> float:
        """A time in seconds, or as hours:minutes:seconds."""
        found = CLOCK.fullmatch(cell.strip())
        if found is None:
            return self.number(line, what, cell)
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds.replace(",", "."))


def _n_lines(row: list[str]) -> int:
    return 1 + sum(len(LINE_END.findall(cell)) for cell in row)
