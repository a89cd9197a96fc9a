"""The manifest: a CSV file that names recordings in a column ``path``, and may date them."""

import csv
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.paths import AnyPath, locate, read_rows, separated_by
from pipeline.recordings.times import Stamp, parse_iso


class Found(NamedTuple):
    """A path that a source names, and what a manifest with such a column says of its start."""

    path: str
    stamp: Stamp | None = None
    dated: bool = False


def read_manifest(path: AnyPath) -> Iterator[Found]:
    """The paths that a manifest names, relative to where it is, and when they begin.

    If it has a column ``label``, too, it may name a recording in the row of each window. Its
    column ``datetime`` may have empty cells.
    """
    try:
        rows = (row for row in read_rows(path) if any(row))
        header = next(rows, [])
        column, labelled = _path_column(path, header)
        names = [name.lower() for name in header]
        dated = names.index("datetime") if "datetime" in names else None
        seen: dict[str, str] = {}
        number = 0
        for number, row in enumerate(rows, 1):
            if column >= len(row) or not row[column]:
                raise ValueError(f"{path} names no path in row {number}; name one in each row")
            name, time = row[column], "" if dated is None else "".join(row[dated : dated + 1])
            if labelled and name in seen:
                if time not in ("", seen[name]):
                    raise ValueError(
                        f"{path} has the datetime {time!r} for {name} in row {number}, and "
                        f"{seen[name]!r} before; give each recording one, that of its start"
                    )
                continue
            if labelled:
                seen[name] = time
            yield Found(locate(path, name), _stamp(path, number, time), dated is not None)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a CSV file ({error}); give one with a column path"
        ) from error
    if not number:
        raise ValueError(f"{path} names no path at all; name one in each row")


def _stamp(path: AnyPath, number: int, time: str) -> Stamp | None:
    stamp = parse_iso(time)
    if time and stamp is None:
        raise ValueError(
            f"{path} has the datetime {time!r} in row {number}; write it as 2025-05-03T03:14:00, "
            f"with an offset such as Z or +10:00 if it is known"
        )
    return stamp


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
