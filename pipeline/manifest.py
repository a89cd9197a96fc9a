"""The manifest: a CSV file that names recordings in a column ``path``."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any

from pipeline.remote import AnyPath, is_remote
from pipeline.remote_file import open_binary

__all__ = ["read_manifest"]


def read_manifest(path: AnyPath) -> Iterator[str]:
    """The paths that a manifest names.

    Parameters
    ----------
    path : path
        Of the manifest; what it names is relative to where it is.

    Yields
    ------
    str

    Raises
    ------
    ValueError
        If it is no manifest, or a row names no path.
    """
    try:
        with open_binary(path) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
            rows = ([cell.strip() for cell in row] for row in csv.reader(file) if row)
            header: Any = next(rows, [])
            column = _path_column(path, header)
            number = 0
            for number, row in enumerate(rows, 1):
                if column >= len(row) or not row[column]:
                    raise ValueError(f"{path} names no path in row {number}; name one in each row")
                yield _locate(path, row[column])
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a CSV file ({error}); give one with a column path"
        ) from None
    if not number:
        raise ValueError(f"{path} names no path at all; name one in each row")


def _locate(manifest: AnyPath, path: str) -> str:
    return path if is_remote(path) else os.path.join(manifest.parent, path)


def _path_column(path: AnyPath, header: list[str]) -> int:
    columns = [name.lower() for name in header]
    if "path" not in columns:
        given = ", ".join(header) or "nothing"
        raise ValueError(f"{path} is no manifest: it has {given}, but no column 'path'; add one")
    return columns.index("path")
