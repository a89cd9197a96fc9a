"""Tables: the rows of CSV files, and the recordings that they name."""

import csv
import os
from collections.abc import Iterator, Sequence
from io import TextIOWrapper

from pipeline.paths.ranges import open_binary
from pipeline.paths.remote import AnyPath, RemotePath, is_remote

SEPARATORS = {";": "semicolons", "\t": "tabs"}


def read_rows(path: AnyPath) -> Iterator[list[str]]:
    """Rows of a CSV file, without blanks around their cells; csv.Error or UnicodeDecodeError."""
    with open_binary(path) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if any("\0" in cell for cell in row):  # no name can hold one; UTF-16 does
                raise csv.Error(f"it has a NUL character in line {number}")
            yield [cell.strip() for cell in row]


def separated_by(header: Sequence[str], column: str) -> str | None:
    """What separates the columns in place of commas, if one of them is the one asked for."""
    if len(header) == 1:
        for mark, name in SEPARATORS.items():
            names = [cell.strip(' "').lower() for cell in header[0].split(mark)]
            if names[1:] and column in names:
                return name
    return None


def locate(table: AnyPath, path: str) -> str:
    """Where a path is that a table names: relative to the table, absolute, or a URL.

    A table on a server may name no file of this machine.
    """
    if is_remote(path):
        return path
    if not isinstance(table, RemotePath):
        return os.path.join(table.parent, path)
    if os.path.isabs(path):
        raise ValueError(
            f"{table} names {path}, which would be a file of this machine; what is on a server "
            f"may name URLs, and paths relative to where it is"
        )
    folder = table.parent.url.removeprefix(table.root)
    return table.root + os.path.normpath(os.path.join("/", folder, path))
