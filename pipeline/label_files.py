"""Labels as files: NumPy arrays, HDF5 and CSV."""

from __future__ import annotations

import csv
from io import TextIOWrapper
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.arrays import HDF5_SUFFIXES
from pipeline.readers import as_os_error
from pipeline.remote import AnyPath, RemotePath
from pipeline.remote_file import open_binary

__all__ = ["load_labels", "read_label"]

Array = npt.NDArray[Any]


def read_label(path: AnyPath) -> Array | None:
    """The labels stored with a recording: HDF5 ``label``, or ``NAME-lbl.npy``.

    Returns
    -------
    numpy.ndarray of shape (window,) or (window, class), or None
        None if there are none.

    Raises
    ------
    OSError
        If they cannot be read.
    """
    with as_os_error(path):
        if path.suffix.lower() in HDF5_SUFFIXES:
            with _open_hdf5(path) as file:
                return _hdf5_labels(file) if "label" in file else None
        beside = path.with_name(f"{path.stem}-lbl.npy")
        if path.suffix.lower() == ".npy" and beside.exists():
            return _load_npy(beside)
        return None


def load_labels(path: AnyPath) -> Array | list[str]:
    """Read a file of labels, one for each window.

    Parameters
    ----------
    path : path
        ``.npy``; HDF5 with a dataset ``label``; or text with one label a row:
        a single column, or a CSV file with a column ``label``.

    Returns
    -------
    numpy.ndarray of shape (window,) or (window, class), or list of str

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If there are no labels in it.
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
            with open_binary(path) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
                rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OSError(
            f"{path} cannot be read as labels ({error}); give .npy, HDF5 with 'label', or CSV"
        ) from None
    while rows and not any(rows[-1]):
        rows.pop()
    header = [name.strip().lower() for name in rows[0]] if rows else []
    column = header.index("label") if "label" in header else 0
    if "label" not in header and any(len(row) > 1 for row in rows):
        raise ValueError(
            f"{path} has several columns, but none is named 'label'; name one of them so"
        )
    labels = [row[column].strip() if column < len(row) else "" for row in rows["label" in header :]]
    if not labels or "" in labels:
        where = f"in row {labels.index('') + 1}" if labels else "at all"
        raise ValueError(f"{path} has no label {where}; give one for each window")
    return labels


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
