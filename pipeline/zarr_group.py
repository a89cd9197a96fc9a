"""The store as a Zarr v3 group, wherever it is: metadata by zarr, features through tensorstore."""

from __future__ import annotations

import os
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic

import numpy as np
import numpy.typing as npt
import tensorstore
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, Crc32cCodec

from pipeline.forks import NoFork
from pipeline.layout import COORDINATE_CHUNK, NAMES, Layout, Variable
from pipeline.remote import PathT

__all__ = ["ZarrGroup", "check_block", "create_group"]

Array = npt.NDArray[Any]

_survival = NoFork("a store")


class ZarrGroup(ABC, Generic[PathT]):
    """What all Zarr stores have in common; see `pipeline.store.Store`.

    Parameters
    ----------
    path : path
        Of the group.
    """

    packed = False
    written_last = "valid/"

    def __init__(self, path: PathT) -> None:
        self.path: PathT = path
        self.record_folder: PathT = path / ".record"
        self._features: tensorstore.TensorStore | None = None

    @abstractmethod
    def zarr_store(self) -> Any:
        """The group, as zarr knows it."""

    @abstractmethod
    def kvstore(self) -> dict[str, Any]:
        """The features, as tensorstore knows them."""

    def translated(self) -> AbstractContextManager[None]:
        """Make errors of the libraries those of the system."""
        return nullcontext()

    def locate(self, name: str) -> PathT:
        """Where a file of the store is."""
        return self.path / name

    def owns(self, name: str) -> bool:
        """Whether only this store puts files there: below one of its arrays."""
        first, *others = name.split("/")
        return bool(others) and first in NAMES

    def windows_of(self, name: str, layout: Layout) -> tuple[int, int] | None:
        """First window whose features a file holds, and the one after the last; None if none."""
        found = re.fullmatch(r"features/c/(0|[1-9]\d{0,15})" + "/0" * len(layout.shape), name)
        shard = int(found[1]) if found else layout.n_shards
        if shard >= layout.n_shards:
            return None
        return shard * layout.shard, min((shard + 1) * layout.shard, layout.n_windows)

    def file_of(self, window: int) -> str:
        """Name of the file that holds the features of a window."""
        return f"features/c/{window // self.shard}" + "/0" * (self.features.ndim - 1)

    def attrs(self) -> dict[str, Any]:
        """The attributes of the store."""
        with self.translated():
            return dict(self._group().attrs)

    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""
        with self.translated():
            array = self._group()[name]
            assert isinstance(array, zarr.Array)
            array[start : start + len(values)] = values

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        """Values of a small variable; None if the store has no such variable."""
        with self.translated():
            group = self._group()
            if name not in group:
                return None
            array = group[name]
            assert isinstance(array, zarr.Array)
            return np.asarray(array[start:stop])

    def check(self) -> None:
        """Nothing to be checked: a file that is missing is seen when it is read."""

    def read(self, windows: npt.NDArray[np.int64]) -> Array:
        """Features of windows, in the order asked for, as a new array."""
        result: Array = self.features[windows].read().result()
        return result

    @property
    def shard(self) -> int:
        """How many windows are stored side by side, and fastest read together."""
        return int(self.features.chunk_layout.write_chunk.shape[0])  # type: ignore[index,arg-type]

    @property
    def features(self) -> tensorstore.TensorStore:
        """The array of features."""
        _survival.check()
        if self._features is None:
            spec = {
                "driver": "zarr3",
                "kvstore": self.kvstore(),
                # What a killed process wrote is safe without a sync, which would
                # make the job wait for the disk; the record knows what was written.
                "context": {
                    "data_copy_concurrency": {"limit": len(os.sched_getaffinity(0))},
                    "file_io_sync": False,
                },
            }
            self._features = tensorstore.open(spec, open=True).result()
        return self._features

    def _group(self) -> zarr.Group:
        return zarr.open_group(self.zarr_store(), mode="r+", use_consolidated=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]


def check_block(array: tensorstore.TensorStore, shard: int, start: int, block: Array) -> None:
    """Refuse a block that is not whole shards.

    Raises
    ------
    ValueError
        If it is not.
    """
    stop = start + len(block)
    if start % shard or (stop % shard and stop != array.shape[0]):
        raise ValueError(
            f"windows {start} to {stop} were to be written; a block must be whole "
            f"shards of {shard} windows"
        )


def create_group(
    store: Any, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
) -> None:
    """Make a group where there is none, and fill what is known of its arrays."""
    group = zarr.create_group(store, zarr_format=3, attributes=dict(attrs))
    for name, variable in variables.items():
        _create_array(group, name, variable, layout)
    with warnings.catch_warnings():
        # xarray, zarr-python and tensorstore all read it; zarr warns that
        # other programs may not, and those then read the arrays' own.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(store)


def _create_array(group: zarr.Group, name: str, variable: Variable, layout: Layout) -> None:
    options: dict[str, Any]
    if name == "features":
        itemsize = variable.dtype.itemsize
        options = {
            "chunks": (layout.chunk, *layout.shape),
            "shards": (layout.shard, *layout.shape),
            "compressors": [
                BloscCodec(cname="lz4", clevel=1, shuffle="shuffle", typesize=itemsize),
                Crc32cCodec(),
            ],
            "fill_value": np.nan,  # what was never written must not look like audio
        }
    else:
        length = max(1, min(COORDINATE_CHUNK, variable.shape[0]))
        options = {"chunks": (length, *variable.shape[1:])}
    array = group.create_array(
        name,
        shape=variable.shape,
        dtype=str if variable.dtype == object else variable.dtype,
        dimension_names=list(variable.dims),
        attributes=dict(variable.attrs),
        **options,
    )
    if variable.values is not None:
        array[...] = variable.values
