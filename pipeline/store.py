"""The store: one protocol, and the choice of Zarr or HDF5 by the ending of its path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.hdf5_store import Hdf5Store
from pipeline.layout import Layout, Variable
from pipeline.record import Record, StoredFile
from pipeline.zarr_store import ZarrStore

__all__ = ["Region", "Store", "new_store", "open_finished", "open_store"]

Array = npt.NDArray[Any]

ENDINGS = (".zarr", ".h5", ".hdf5")


class Region(Protocol):
    """Writes the features of one region, and knows what it stored."""

    files: list[StoredFile]

    def write(self, start: int, block: Array) -> None:
        r"""Store the features of consecutive windows, from `start` on.

        Parameters
        ----------
        start : int
            First window of the block, at the start of a shard.
        block : numpy.ndarray, shape (window, \*shape)
            Whole shards, or all up to the last window of the store.
        """


class Store(Protocol):
    """What every store can do. Safe to pickle; each process opens its own files.

    Attributes
    ----------
    path : pathlib.Path
        Where the store is.
    record_folder : pathlib.Path
        Where the job's record is.
    """

    path: Path
    record_folder: Path

    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> AbstractContextManager[Store]:
        """Make the store aside; it appears at `path`, whole, when the block ends."""

    def remove(self) -> None:
        """Remove the store."""

    def attrs(self) -> dict[str, Any]:
        """The attributes of the store."""

    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        """Values of a small variable; None if the store has no such variable."""

    def region(self, start: int, stop: int) -> AbstractContextManager[Region]:
        """Write windows start to stop - 1; they are in place when the block ends."""

    def finish(self, valid: Array) -> None:
        """Store which windows could be read."""

    def read(self, windows: npt.NDArray[np.int64]) -> Array:
        """Features of windows, in the order asked for, as a new array."""


def new_store(path: str | os.PathLike[str]) -> Store:
    """The store that is, or will be, at a path.

    Parameters
    ----------
    path : path
        Ending in .zarr, .h5 or .hdf5.

    Raises
    ------
    ValueError
        If it has another ending.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path.absolute()
    if path.suffix == ".zarr":
        return ZarrStore(path)
    if path.suffix in (".h5", ".hdf5"):
        return Hdf5Store(path)
    raise ValueError(f"{path} has the ending {path.suffix!r}; a store ends in {', '.join(ENDINGS)}")


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store that `extract` made.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If what is there was not made by `extract`.
    """
    store = new_store(path)
    if not store.path.exists():
        raise FileNotFoundError(f"{path} does not exist; extract makes it")
    try:
        Record(store.record_folder).job()
    except (OSError, ValueError):
        raise ValueError(
            f"{path} exists, but is not a store that extract made; give another path"
        ) from None
    return store


def open_finished(path: str | os.PathLike[str]) -> Store:
    """Open a store of which everything is computed.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If what is there was not made by `extract`, or is not finished.
    """
    store = open_store(path)
    record = Record(store.record_folder)
    done, regions = len(record.done()), record.job()["regions"]
    if done < regions or not record.finished():
        raise ValueError(
            f"{path} is not finished: {done} of {regions} regions are done; run extract again"
        )
    return store
