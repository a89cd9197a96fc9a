"""The manifest: a CSV file that names recordings in a column ``path``."""

import csv
from collections.abc import Iterator

from pipeline.paths import AnyPath, locate, read_rows, separated_by


def read_manifest(path: AnyPath) -> Iterator[str]:
    """The paths that a manifest names, relative to where it is.

    If it has a column ``label``, too, it may name a recording in the row of each window.
    """
    try:
        rows = (row for row in read_rows(path) if any(row))
        header = next(rows, [])
        column, labelled = _path_column(path, header)
        seen: set[str] = set()
        number = 0
        for number, row in enumerate(rows, 1):
            if column >= len(row) or not row[column]:
                raise ValueError(f"{path} names no path in row {number}; name one in each row")
            if not labelled:
                yield locate(path, row[column])
            elif row[column] not in seen:
                seen.add(row[column])
                yield locate(path, row[column])
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a CSV file ({error}); give one with a column path"
        ) from error
    if not number:
        raise ValueError(f"{path} names no path at all; name one in each row")


def _path_column(path: AnyPath, header: list[str]) -> tuple[int, bool]:
    """Which column has the paths, and whether another has labels."""
    columns = [name.lower() for name in header]
    if "path" in columns:
        return columns.index("path"), "label" in columns
    if separator := separated_by(header, "path"):
        raise ValueError(
            f"{path} is no manifest: its columns are separated by {separator}; save it with commas"
        )
    given = ", ".join(header) or "nothing"
    raise ValueError(f"{path} is no manifest: it has {given}, but no column 'path'; add one")
