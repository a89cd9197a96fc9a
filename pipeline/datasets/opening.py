"""Opening a dataset: of a store, or of recordings whose features are computed when asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pipeline.datasets.variables import ComputedVariables, StoredVariables, Variables
from pipeline.features import Feature, Spectrogram
from pipeline.inputs import Inputs
from pipeline.labels import LabelsLike
from pipeline.paths import is_remote
from pipeline.recordings import PathLike
from pipeline.settings import Settings
from pipeline.store import open_store
from pipeline.training import complain

if TYPE_CHECKING:
    import xarray


def open_dataset(
    path: PathLike | Iterable[PathLike],
    features: Feature | None = None,
    labels: LabelsLike = None,
    **settings: Any,
) -> xarray.Dataset:
    """A store, or the features of recordings before they are computed, as an xarray Dataset.

    Parameters
    ----------
    path : path or iterable of paths
        A store that `extract` has finished, or sources as for `extract`: files,
        folders, globs or manifests.
    features : Feature, optional
        What is computed of each window of sources; `Spectrogram` if not given.
    labels : path or array_like, optional
        As for `extract`.
    **settings
        Of sources, as for `extract`.

    Returns
    -------
    xarray.Dataset
        The variables and attributes of the store. ``features`` is a dask array
        with a block for each shard, of which nothing is read before it is
        computed, and of one window no more than that. Variables along the
        windows are read when they are asked for, the others at once.

    Raises
    ------
    ValueError, OSError
        If the store is not finished or damaged, or the sources or settings will
        not do. When it is computed: OSError where the store is damaged, or audio
        cannot be read and ``on_error="stop"``; otherwise a RuntimeWarning, and
        the feature's floor.
    ImportError
        If xarray is not installed: ``pip install 'dask-audio-pipeline[xarray]'``.

    Notes
    -----
    ``features`` are values, whatever their dtype: those of whole numbers are
    decoded to float32, and float16 stays as it is. (`xarray.open_zarr` decodes whole
    numbers to float64; zarr-python, zarrs, tensorstore and h5py show the codes.)
    ``datetime`` is datetime64[ns], NaT where it is unknown. The dimension of ``source`` and
    ``utc_offset`` is `source`, not `recording` as it is stored: xarray would take
    the variable ``recording``, which goes along the windows, for its index.

    Of sources the values are, to the last bit, those of the store that `extract`
    makes of the same. ``valid`` is left out, for it is not known before all is
    read, and so is the attribute ``created``.
    """
    from pipeline.datasets.arrays import dataset_of

    variables: Variables
    if isinstance(path, str | os.PathLike) and _is_store(path):
        given = [*settings, *(["features"] * (features is not None))]
        given += ["labels"] * (labels is not None)
        if given:
            raise ValueError(
                f"{os.fspath(path)} is a store, but {', '.join(given)} are given, which are of "
                f"recordings; leave them out, or pass recordings"
            )
        variables = StoredVariables(path)
    else:
        checked = Settings.from_mapping(settings)
        inputs = Inputs.find(path, features or Spectrogram(), labels, checked)
        for name, reason in inputs.recordings.unreadable:
            complain(f"{name}: {reason}", checked, stacklevel=3)
        variables = ComputedVariables(inputs, checked)
    return dataset_of(variables)


def _is_store(path: PathLike) -> bool:
    """Whether a path is that of a store; an HDF5 file may also be a recording."""
    if PurePath(path).suffix == ".zarr":
        return True
    if PurePath(path).suffix not in (".h5", ".hdf5") or is_remote(path) or not os.path.exists(path):
        return False
    try:
        open_store(path)
    except ValueError:
        return False
    return True
