"""Opening a store: Zarr or HDF5, by the ending of its path, and what is refused as it opens."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.layout import Layout
from pipeline.paths import RemotePath, StoredFile, is_remote, stored_file
from pipeline.record import Finished, Record, SameJob
from pipeline.store.attaching import common_files
from pipeline.store.hdf5_store import Hdf5Store
from pipeline.store.remote_store import RemoteStore
from pipeline.store.schema import FORMAT
from pipeline.store.store import Store
from pipeline.store.zarr_store import ZarrStore

ENDINGS = (".zarr", ".h5", ".hdf5")
THREADS = 8  # that read small files, which may be far


def new_store(path: str | os.PathLike[str]) -> Store:
    """The store that is, or will be, at a path that ends in .zarr, .h5 or .hdf5."""
    if is_remote(path):
        return _remote_store(RemotePath(os.fspath(path)))
    path = Path(path)
    path = path.resolve() if path.is_symlink() or ".." in path.parts else path.absolute()
    if path.suffix == ".zarr":
        return ZarrStore(path)
    if path.suffix in (".h5", ".hdf5"):
        return Hdf5Store(path)
    raise ValueError(f"{path} has the ending {path.suffix!r}; a store ends in {', '.join(ENDINGS)}")


def _remote_store(path: RemotePath) -> Store:
    if path.is_web or not path.key:
        raise ValueError(
            f"{path} cannot be written to; pass a path, or s3://BUCKET/NAME.zarr, or gs://"
        )
    if path.suffix != ".zarr":
        raise ValueError(
            f"{path} has the ending {path.suffix!r}; in a bucket a store is Zarr, and ends in .zarr"
        )
    return RemoteStore(path)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store that `extract` made, finished or not."""
    store = new_store(path)
    if not store.exists():
        raise FileNotFoundError(f"{path} does not exist; extract makes it")
    if Record(store.record_folder).begun():
        return store
    with suppress(OSError, KeyError):  # of a file that is another's, or no HDF5 at all
        if store.packed:
            return store
    parts = store.record_folder.parent
    if parts != store.path and not parts.exists() and _has_fingerprint(store):
        raise FileNotFoundError(
            f"{path} is there, but not {parts}, which holds its features and its record; put that "
            f"back beside it, or remove {path}"
        )
    raise ValueError(f"{path} exists, but is not a store that extract made; pass another path")


def _has_fingerprint(store: Store) -> bool:
    try:
        return "fingerprint" in store.attrs()
    except OSError:
        return False


def open_finished(path: str | os.PathLike[str]) -> Store:
    """Open a store of which everything is computed, and nothing small is damaged."""
    store = open_store(path)
    if store.packed:
        return store
    record = Record(store.record_folder)
    job = record.job()
    check_format(store, job)
    finished = record.read_finished()
    if finished is None:
        regions = job["regions"]
        done = int(record.state(regions).done.sum())
        raise ValueError(
            f"{path} is not finished: {done} of {regions} regions are done; run extract again"
        )
    check_common_files(store, finished)
    store.check()
    store.job = SameJob(record, finished.fingerprint)
    store.job.check()
    return store


def check_common_files(store: Store, finished: Finished) -> None:
    """Refuse a finished store whose common files are not as they were recorded."""
    files = common_files(store, finished)
    try:
        check_small_files(store, files)
    except OSError:
        now = Record(store.record_folder).read_finished()
        if now is None or common_files(store, now) == files:
            raise
        check_common_files(store, now)  # variables have been attached since


def check_small_files(store: Store, files: Sequence[StoredFile]) -> None:
    """Refuse a store whose small files are not as they were recorded, before any is opened."""

    def fits(file: StoredFile) -> bool:
        path = store.locate(file.name)
        try:
            if store.tells_damage(file.name):
                return path.stat().st_size == file.size
            return stored_file(path, file.name) == file
        except FileNotFoundError:
            return False

    with ThreadPoolExecutor(THREADS) as pool:
        for file, whole in zip(files, pool.map(fits, files), strict=True):
            if not whole:
                raise OSError(
                    f"{store.locate(file.name)} is damaged or missing; verify --repair and "
                    f"extract again make it anew"
                )


def is_whole(store: Store, file: StoredFile, layout: Layout) -> bool:
    """Whether a file is, to the last byte, what was recorded; an OSError if it is not there."""
    try:
        return store.stored_file(file.name, layout) == file
    except ValueError:
        return False


def check_format(store: Store, job: Mapping[str, Any]) -> None:
    """Refuse a store that another version of this package stored otherwise."""
    if job["identity"]["format"] != FORMAT:
        raise ValueError(
            f"{store.path} was made by another version of this package, which stores otherwise; "
            f"use that version, or extract it again with --overwrite"
        )
