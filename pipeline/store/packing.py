"""Packing: a finished HDF5 store and its parts as one plain file."""

import os
import shutil
from pathlib import Path

import numpy as np

from pipeline.paths import put_in_place
from pipeline.steps import Step, unseen
from pipeline.store.hdf5_files import replace_virtual, written
from pipeline.store.hdf5_store import Hdf5Store
from pipeline.store.opening import new_store, open_finished


def pack(
    path: str | os.PathLike[str], file: str | os.PathLike[str], progress: Step = unseen
) -> None:
    """Copy a finished HDF5 store and its parts into one plain file.

    Parameters
    ----------
    path : path
        Of the store.
    file : path
        Of the copy, ending in .h5 or .hdf5; it must not exist.
    progress : callable
        Called with how many bytes of features were copied, and how many there are.

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
        raise ValueError(f"{file} exists; pass another path to pack into")
    try:
        _copy(store, copy.path, progress)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"{path} cannot be packed into {file}: {why}") from error


def _copy(store: Hdf5Store, path: Path, progress: Step) -> None:
    """Copy all, a shard at a time, into a file that appears whole at the end."""
    with put_in_place(path) as aside:
        shutil.copyfile(store.path, aside)
        with written(aside, "r+", libver="latest") as (file, check):
            features = replace_virtual(file, store.stored)
            for a in range(0, len(features), store.shard):
                b = min(a + store.shard, len(features))
                try:
                    features[a:b] = store.read(np.arange(a, b))
                except OSError as error:
                    raise OSError(
                        f"windows {a} to {b - 1}, in {store.locate(store.file_of(a))}, are "
                        f"damaged: {error}; verify --repair and extract again compute them anew"
                    ) from error
                check()
                progress(features.nbytes * b // len(features), features.nbytes)
