"""The store: one protocol, and the choice of Zarr or HDF5 by the ending of its path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.paths import AnyPath, RemotePath, StoredFile, is_remote, stored_file
from pipeline.record import Record, SameJob
from pipeline.store.hdf5_store import Hdf5Store
from pipeline.store.remote_store import RemoteStore
from pipeline.store.schema import FORMAT, Variable
from pipeline.store.zarr_store import ZarrStore

Array = npt.NDArray[Any]

ENDINGS = (".zarr", ".h5", ".hdf5")
CHECKED_AT_ONCE = 8


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
    path : path
        Where the store is.
    record_folder : path
        Where the job's record is.
    packed : bool
        Whether it is a plain copy, which no job goes on with.
    job : SameJob or None
        That it must still be of when features are read.
    written_last : str
        How the names of files begin that `finishing` writes.
    """

    written_last: str
    job: SameJob | None

    @property
    def path(self) -> AnyPath: ...

    @property
    def record_folder(self) -> AnyPath: ...

    @property
    def packed(self) -> bool: ...

    def exists(self) -> bool:
        """Whether anything of it is there."""

    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> AbstractContextManager[Store]:
        """Make the store aside; it appears at `path`, whole, when the block ends."""

    def remaking(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> AbstractContextManager[Store]:
        """Make all but the regions and the record again; it takes its place when the block ends."""

    def remove(self) -> None:
        """Remove the store."""

    def sweep(self) -> None:
        """Remove what killed writers have left."""

    def attrs(self) -> dict[str, Any]:
        """The attributes of the store."""

    def axes(self) -> dict[str, str]:
        """Names of the axes of the features of a window, in order, and their units."""

    def files(self) -> Iterator[str]:
        """Names of all files of the store, but for those of the record."""

    def small_files(self) -> Iterator[str]:
        """Names of the files that hold no features."""

    def locate(self, name: str) -> AnyPath:
        """Where a file of the store is."""

    def owns(self, name: str) -> bool:
        """Whether only this store puts files of such a name there."""

    def in_place(
        self, layout: Layout, regions: npt.NDArray[np.bool_]
    ) -> Callable[[tuple[StoredFile, ...]], bool]:
        """Tells whether files are where, and as long as, they were when they were recorded.

        Only those of the regions that are marked, and of none, are asked for. A machine
        that lost its power may keep a line of the record and lose data that was written
        before it.
        """

    def tells_damage(self, name: str) -> bool:
        """Whether a file has checksums of its own, which are compared as it is read."""

    def windows_of(self, name: str, layout: Layout) -> tuple[int, int] | None:
        """First window whose features a file holds, and the one after the last; None if none."""

    def stored_file(self, name: str, layout: Layout) -> StoredFile:
        """A file as it now is.

        Raises
        ------
        OSError, ValueError
            If it cannot be read, or is damaged.
        """

    def file_of(self, window: int) -> str:
        """Name of the file that holds the features of a window."""

    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        """Values of a small variable; None if the store has no such variable."""

    def region(self, start: int, stop: int) -> AbstractContextManager[Region]:
        """Write windows start to stop - 1; they are in place when the block ends."""

    def finishing(self) -> AbstractContextManager[Store]:
        """Fill `valid` of the store that is given; it is in place when the block ends."""

    @property
    def shard(self) -> int:
        """How many windows are stored side by side, and fastest read together."""

    def is_renamed(self) -> bool:
        """Whether its files look for each other under another name."""

    def check(self) -> None:
        """Refuse a store whose files do not belong together, which would read wrong in silence."""

    def read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array] = np.empty) -> Array:
        """Features of windows, in the order asked for, in an array that `empty` makes."""


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
    if is_remote(path):
        return _remote_store(RemotePath(os.fspath(path)))
    path = Path(path)
    path = path.resolve() if path.is_symlink() or ".." in path.parts else path.absolute()
    if path.suffix == ".zarr":
        return ZarrStore(path)
    if path.suffix in (".h5", ".hdf5"):
        return Hdf5Store(path)
    raise ValueError(f"{path} has the ending {path.suffix!r}; a store ends in {', '.join(ENDINGS)}")


def _remote_store(path: RemotePath) -> RemoteStore:
    if path.is_web or not path.key:
        raise ValueError(
            f"{path} cannot be written to; give a path, or s3://BUCKET/NAME.zarr, or gs://"
        )
    if path.suffix != ".zarr":
        raise ValueError(
            f"{path} has the ending {path.suffix!r}; in a bucket a store is Zarr, and ends in .zarr"
        )
    return RemoteStore(path)


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
    if not store.exists():
        raise FileNotFoundError(f"{path} does not exist; extract makes it")
    if not Record(store.record_folder).begun() and not _is_packed(store):
        if isinstance(store, Hdf5Store) and not store.parts.exists() and _has_fingerprint(store):
            raise FileNotFoundError(
                f"{path} is there, but not {store.parts}, which holds its features and its record; "
                f"put that back beside it, or remove {path}"
            )
        raise ValueError(f"{path} exists, but is not a store that extract made; give another path")
    return store


def _is_packed(store: Store) -> bool:
    try:
        return store.packed
    except (OSError, KeyError):
        return False


def _has_fingerprint(store: Store) -> bool:
    try:
        return "fingerprint" in store.attrs()
    except OSError:
        return False


def pack(path: str | os.PathLike[str], file: str | os.PathLike[str]) -> None:
    """Copy a finished HDF5 store and its parts into one plain file.

    Parameters
    ----------
    path : path
        Of the store.
    file : path
        Of the copy, ending in .h5 or .hdf5; it must not exist.

    Raises
    ------
    FileNotFoundError, ValueError, OSError
        If the store is not there, not finished, damaged or no HDF5, or the
        file cannot be made.
    """
    store, copy = open_finished(path), new_store(file)
    if not (isinstance(store, Hdf5Store) and isinstance(copy, Hdf5Store)):
        raise ValueError(f"{path} was to be packed into {file}; both must end in .h5 or .hdf5")
    if copy.path.exists() or copy.parts.exists():
        raise ValueError(f"{file} exists; give another path to pack into")
    try:
        store.pack(copy.path)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"{path} cannot be packed into {file}: {why}") from error


def open_finished(path: str | os.PathLike[str]) -> Store:
    """Open a store of which everything is computed.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path, or parts of the store are missing.
    ValueError
        If what is there was not made by `extract`, or is not finished.
    """
    store = open_store(path)
    if store.packed:
        return store
    record = Record(store.record_folder)
    job = record.job()
    check_format(store, job)
    finished = record.read_finished()
    if finished is None:
        regions = job["regions"]
        done = int(record.standing(regions).done.sum())
        raise ValueError(
            f"{path} is not finished: {done} of {regions} regions are done; run extract again"
        )
    check_small_files(store, finished.files)
    store.check()
    store.job = SameJob(record, finished.fingerprint)
    store.job.check()
    return store


def check_small_files(store: Store, files: Sequence[StoredFile]) -> None:
    """Refuse a store whose small files are not as they were recorded, before any is opened.

    Raises
    ------
    OSError
        If one is damaged or missing.
    """

    def fits(file: StoredFile) -> bool:
        path = store.locate(file.name)
        try:
            if store.tells_damage(file.name):
                return path.stat().st_size == file.size
            return stored_file(path, file.name) == file
        except FileNotFoundError:
            return False

    with ThreadPoolExecutor(CHECKED_AT_ONCE) as pool:
        for file, whole in zip(files, pool.map(fits, files), strict=True):
            if not whole:
                raise OSError(
                    f"{store.locate(file.name)} is damaged or missing; verify --repair and "
                    f"extract again make it anew"
                )


def is_whole(store: Store, file: StoredFile, layout: Layout) -> bool:
    """Whether a file is, to the last byte, what was recorded.

    Raises
    ------
    OSError
        If it is not there, or cannot be read.
    """
    try:
        return store.stored_file(file.name, layout) == file
    except ValueError:
        return False


def check_format(store: Store, job: Mapping[str, Any]) -> None:
    """Refuse a store that another version of this package stored otherwise.

    Raises
    ------
    ValueError
        If it did.
    """
    if job["identity"]["format"] != FORMAT:
        raise ValueError(
            f"{store.path} was made by another version of this package, which stores otherwise; "
            f"use that version, or extract it again with --overwrite"
        )
