"""Damage to label files, and what must be so whatever is in them."""

from __future__ import annotations

import csv
import io
import random
import warnings
from collections.abc import Callable
from typing import NamedTuple

from pipeline.labels.events import Collection, Events
from pipeline.labels.formats.format import Choices
from pipeline.labels.formats.registry import recognise
from pipeline.labels.text import Text

NAME = "damaged.txt"
KEY = ("selection", "begin time (s)", "end time (s)")  # of the rows of a selection
# Where the labels of real tables are that do not say so themselves.
LABELS_IN = {"annotations.csv": "label:species", "digits_long.csv": "digit"}
# Each row is an event, or names a recording in which there is none.
ROW_BY_ROW = {
    **{"birdnet": "", "kaleidoscope": "", "crowsetta-generic": "", "crowsetta-simple": ""},
    **{"songexplorer": "", "audioset": "", "aplose": "file", "dcase-strong": "file"},
    **{"dcase-weak": "file", "csv": "file", "csv-samples": "file", "raven": "view"},
}


def _separator(line: bytes) -> bytes:
    return max((b"\t", b",", b";"), key=line.count)


def flip(data: bytes, random: random.Random) -> bytes:
    """Other bytes in some places."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 10)) if data else 0):
        changed[random.randrange(len(data))] = random.randrange(256)
    return bytes(changed)


def replace_text(data: bytes, random: random.Random) -> bytes:
    """A number, or something like it, in the place of a cell."""
    words = (
        b"",
        b"nan",
        b"-1",
        b"1e400",
        b"1_0",
        b'"',
        b"0,5",
        b"99:99:99",
        b"\xd9\xa3",
        b"999999",
    )
    lines = data.split(b"\n")
    i = random.randrange(len(lines))
    separator = _separator(lines[i])
    cells = lines[i].split(separator)
    cells[random.randrange(len(cells))] = random.choice(words)
    lines[i] = separator.join(cells)
    return b"\n".join(lines)


def cut_line(data: bytes, random: random.Random) -> bytes:
    """A line is lost, or empty."""
    lines = data.split(b"\n")
    i = random.randrange(len(lines))
    lines[i : i + 1] = random.choice(([], [b""], [b"  "]))
    return b"\n".join(lines)


def cut_row(data: bytes, random: random.Random) -> bytes:
    """A row is cut short."""
    lines = data.split(b"\n")
    i = random.randrange(len(lines))
    lines[i] = lines[i][: random.randrange(len(lines[i]) + 1)]
    return b"\n".join(lines)


def swap_columns(data: bytes, random: random.Random) -> bytes:
    """Two columns change their places, in all rows or in all but the first."""
    lines = data.split(b"\n")
    separator = _separator(lines[0])
    n = lines[0].count(separator) + 1
    a, b, first = random.randrange(n), random.randrange(n), random.randrange(2)
    for i, line in enumerate(lines[first:], first):
        cells = line.split(separator)
        if max(a, b) < len(cells):
            cells[a], cells[b] = cells[b], cells[a]
            lines[i] = separator.join(cells)
    return b"\n".join(lines)


def swap_lines(data: bytes, random: random.Random) -> bytes:
    """The lines in another order."""
    lines = data.split(b"\n")
    random.shuffle(lines)
    return b"\n".join(lines)


def encode(data: bytes, random: random.Random) -> bytes:
    """Another encoding, with a mark or without."""
    text = data.decode("utf-8", "replace").replace("a", random.choice(("a", "é")))
    names = ("utf-16", "utf-16-le", "utf-8-sig", "latin-1", "utf-32", "utf-7")
    return text.encode(random.choice(names), "replace")


def end_lines(data: bytes, random: random.Random) -> bytes:
    """Other ends of lines."""
    return data.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n", b"\n\r", b"\x0b", b"\x0c")))


def truncate(data: bytes, random: random.Random) -> bytes:
    """The beginning only, or the end."""
    at = random.randrange(len(data) + 1)
    return random.choice((data[:at], data[at:]))


def double(data: bytes, random: random.Random) -> bytes:
    """All of it twice, or a part again."""
    a, b = sorted(random.randrange(len(data) + 1) for _ in range(2))
    return random.choice((data + data, data + data[a:b], data[:b] + data[a:]))


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip, replace_text, cut_line, cut_row, swap_columns, swap_lines, encode, end_lines),
    *(truncate, double),
)


class Outcome(NamedTuple):
    """What became of a damaged file."""

    damage: str
    outcome: str
    error: str


def mutated(data: bytes, number: int, seed: int) -> tuple[str, bytes]:
    """A file damaged in one to three ways, which the number and the seed fix, and what was done."""
    chance = random.Random(f"{seed} {number}")
    done = chance.choices(MUTATIONS, k=chance.choice((1, 1, 2, 3)))
    for mutate in done:
        data = mutate(data, chance)
    return ", ".join(mutate.__name__ for mutate in done), data


def check(data: bytes, column: str | None = None) -> tuple[str, str]:
    """What reading makes of a file: read, refused or not recognised; else what is wrong."""
    text = Text(NAME, data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            format = recognise(text)
            if format is None:
                return "not recognised", ""
            collection = Collection()
            collection.add(NAME, format.read(text, Choices(column)))
            events = collection.events()
        except ValueError as error:
            said = str(error)
            if said.startswith(NAME) and "\n" not in said and len(said) < 1000:
                return "refused", said
            return "error without its place", said
        except Exception as error:  # whatever it is, it is wrong
            return "another error", f"{type(error).__name__}: {error}"
    return ("row lost", lost) if (lost := _lost(text, format.name, events)) else ("read", "")


def _lost(text: Text, format: str, events: Events) -> str:
    """A row of which nothing was read, if there is any."""
    if format not in ROW_BY_ROW:
        return ""
    separator = max("\t,;", key=text.head[0].count)
    reader = csv.reader(io.StringIO(text.content, newline=""), delimiter=separator)
    rows = {}
    for row in filter(any, reader):
        rows[reader.line_num] = [cell.strip() for cell in row]
    header = []
    if format != "songexplorer" and not (format == "dcase-strong" and min(rows) in _lines(events)):
        header = [name.lower() for name in rows.pop(min(rows))]
    key = [header.index(name) for name in KEY if name in header]
    rows = {line: row + [""] * (len(header) - len(row)) for line, row in rows.items()}
    read = _lines(events)
    if read - {*rows}:
        return f"line {min(read - {*rows})} has no row, but an event"
    empty = {events.recordings[i] for i in events.spans["recording"]}
    for line, row in rows.items():
        if line in read:
            continue
        named = ROW_BY_ROW[format] == "file" and empty & {*row}
        in_another_view = ROW_BY_ROW[format] == "view" and any(
            all(row[i] == rows[other][i] for i in key) for other in read
        )
        if not named and not in_another_view:
            return f"line {line}: {row}"
    return ""


def _lines(events: Events) -> set[int]:
    return {*events.columns["line"].tolist()}
