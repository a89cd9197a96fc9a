"""Labels as files: NumPy arrays, HDF5 and CSV."""

import csv
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.audio import HDF5_SUFFIXES, as_os_error
from pipeline.labels.values import LabelsByPath
from pipeline.paths import AnyPath, RemotePath, locate, open_binary, read_rows, separated_by

Array = npt.NDArray[Any]


def read_label(path: AnyPath) -> Array | None:
    """The labels stored with a recording, if any: HDF5 ``label``, or ``NAME-lbl.npy``.

    OSError says why they cannot be read.
    """
    with as_os_error(path):
        if path.suffix.lower() in HDF5_SUFFIXES:
            with _open_hdf5(path) as file:
                return _hdf5_labels(file) if "label" in file else None
        beside = path.with_name(f"{path.stem}-lbl.npy")
        if path.suffix.lower() == ".npy" and beside.exists():
            return _load_npy(beside)
        return None


def load_labels(path: AnyPath, column: str | None = None) -> Array | list[str] | LabelsByPath:
    """Read a file of labels, one for each window.

    It is ``.npy``; HDF5 with a dataset ``label``; or text with one label a row: a single
    column, or CSV with a column ``label``, or another that is named. If that has a column
    ``path``, too, this says which recording a label is of.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a file of labels")
    try:
        with as_os_error(path):
            if path.suffix.lower() == ".npy":
                return _load_npy(path)
            if path.suffix.lower() in HDF5_SUFFIXES:
                with _open_hdf5(path) as file:
                    return _hdf5_labels(file)
            rows = list(read_rows(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OSError(
            f"{path} cannot be read as labels ({error}); give .npy, HDF5 with 'label', or CSV"
        ) from error
    return _text_labels(path, rows, (column or "label").lower())


def _text_labels(path: AnyPath, rows: list[list[str]], column: str) -> list[str] | LabelsByPath:
    """The labels of the rows; empty ones may end them, or stand between recordings."""
    while rows and not any(rows[-1]):
        rows.pop()
    header = [name.lower() for name in rows[0]] if rows else []
    if separator := separated_by(header, column):
        raise ValueError(f"{path} has its columns separated by {separator}; save it with commas")
    if column not in header and any(len(row) > 1 for row in rows):
        raise ValueError(
            f"{path} is in no format of events that is known, and has several columns, but none is "
            f"named {column!r}; name one of them so, or pass label_column (--label-column)"
        )
    by_path = {column, "path"} <= {*header}
    rows = [row for row in rows if any(row)] if by_path else rows
    rows = rows[column in header :]
    labels = _cells(rows, header.index(column) if column in header else 0)
    if not labels or "" in labels:
        where = f"in row {labels.index('') + 1}" if labels else "at all"
        raise ValueError(f"{path} has no label {where}; give one for each window")
    return _by_path(path, _cells(rows, header.index("path")), labels) if by_path else labels


def _by_path(path: AnyPath, names: list[str], labels: list[str]) -> LabelsByPath:
    found: dict[str, list[str]] = {}
    for number, (name, label) in enumerate(zip(names, labels, strict=True), 1):
        if not name:
            raise ValueError(f"{path} names no path in row {number}; name one in each row")
        found.setdefault(locate(path, name), []).append(label)
    return LabelsByPath(str(path), found)


def _cells(rows: list[list[str]], column: int) -> list[str]:
    return [row[column] if column < len(row) else "" for row in rows]


def _open_hdf5(path: AnyPath) -> h5py.File:
    return h5py.File(open_binary(path) if isinstance(path, RemotePath) else path, "r")


def _load_npy(path: AnyPath) -> Array:
    with open_binary(path) as file:
        return np.asarray(np.load(file))


def _hdf5_labels(file: h5py.File) -> Array:
    label = file["label"]
    if not isinstance(label, h5py.Dataset):
        raise ValueError("its 'label' is no dataset")
    return np.asarray(label.asstr()[...] if h5py.check_string_dtype(label.dtype) else label)
