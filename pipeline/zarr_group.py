"""The store as a Zarr v3 group, wherever it is: metadata by zarr, features by shards."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any, Generic

import numpy as np
import numpy.typing as npt
import zarr
import zarr.errors

from pipeline.files import StoredFile, stored_file
from pipeline.layout import COORDINATE_CHUNK, NAMES, Layout, Variable
from pipeline.remote import PathT
from pipeline.shards import Piece, Shards, compressors

__all__ = ["ZarrGroup", "ZarrRegion", "create_group"]

Array = npt.NDArray[Any]


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

    @abstractmethod
    def zarr_store(self) -> Any:
        """The group, as zarr knows it."""

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
        shard = _shard_of(name, layout)
        if shard is None:
            return None
        return shard * layout.shard, min((shard + 1) * layout.shard, layout.n_windows)

    def stored_file(self, name: str, layout: Layout) -> StoredFile:
        """A file as it now is."""
        path, shard = self.locate(name), _shard_of(name, layout)
        if shard is None:
            return stored_file(path, name)
        # Not as the metadata of the array say, which may be damaged.
        sizes = layout.n_windows, layout.shape, layout.dtype, layout.chunk, layout.shard
        array = Shards(self.path / "features", *sizes, layout.compression)
        checksum = array.checksum(shard)
        return StoredFile(name, path.stat().st_size, checksum)

    def file_of(self, window: int) -> str:
        """Name of the file that holds the features of a window."""
        return f"features/{self.shards.name_of(window // self.shard)}"

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

    def read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array] = np.empty) -> Array:
        """Features of windows, in the order asked for, in an array that `empty` makes."""
        return self.shards.read(windows, empty)

    @property
    def shard(self) -> int:
        """How many windows are stored side by side, and fastest read together."""
        return self.shards.length

    @cached_property
    def shards(self) -> Shards:
        """The array of features."""
        return Shards.of(self.path / "features")

    @contextmanager
    def region(self, start: int, stop: int) -> Iterator[ZarrRegion]:
        """Write the shards of windows start to stop - 1."""
        with ThreadPoolExecutor(1) as sender:
            region = ZarrRegion(self, sender)
            yield region
            region.finish()

    @abstractmethod
    def put(self, name: str, pieces: list[Piece]) -> None:
        """Put a file in place, whole."""

    def _group(self) -> zarr.Group:
        return zarr.open_group(self.zarr_store(), mode="r+", use_consolidated=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]


class ZarrRegion:
    """Writes one region of a store, block by block, each whole shards.

    A block is encoded and put in place while the next one is computed. What is put is
    known to the last byte, and need not be read back for its checksum.
    """

    def __init__(self, store: ZarrGroup[Any], sender: ThreadPoolExecutor) -> None:
        self.files: list[StoredFile] = []
        self._store, self._sender = store, sender
        self._sending: Future[list[StoredFile]] | None = None

    def write(self, start: int, block: Array) -> None:
        """Store the features of consecutive windows, from `start` on."""
        shard, stop = self._store.shard, start + len(block)
        if start % shard or (stop % shard and stop != self._store.shards.n_windows):
            raise ValueError(
                f"windows {start} to {stop} were to be written; a block must be whole "
                f"shards of {shard} windows"
            )
        self.finish()
        self._sending = self._sender.submit(self._send, start, block)

    def _send(self, start: int, block: Array) -> list[StoredFile]:
        files = []
        for low in range(0, len(block), self._store.shard):
            pieces, checksum = self._store.shards.encode(block[low : low + self._store.shard])
            name = self._store.file_of(start + low)
            self._store.put(name, pieces)
            files.append(StoredFile(name, sum(map(len, pieces)), checksum))
        return files

    def finish(self) -> None:
        """Wait until all is written, and take down what it is."""
        if self._sending is not None:
            sending, self._sending = self._sending, None
            self.files += sending.result()


def _shard_of(name: str, layout: Layout) -> int | None:
    """Which shard a file is, if it is one."""
    found = re.fullmatch(r"features/c/(0|[1-9]\d{0,15})" + "/0" * len(layout.shape), name)
    return int(found[1]) if found and int(found[1]) < layout.n_shards else None


def create_group(
    store: Any, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
) -> None:
    """Make a group where there is none, and fill what is known of its arrays."""
    group = zarr.create_group(store, zarr_format=3, attributes=dict(attrs))
    for name, variable in variables.items():
        _create_array(group, name, variable, layout)
    with warnings.catch_warnings():
        # xarray, zarr-python, zarrs and tensorstore all read it; zarr warns that
        # other programs may not, and those then read the arrays' own.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(store)


def _create_array(group: zarr.Group, name: str, variable: Variable, layout: Layout) -> None:
    options: dict[str, Any]
    if name == "features":
        options = {
            "chunks": (layout.chunk, *layout.shape),
            "shards": (layout.shard, *layout.shape),
            "compressors": compressors(layout.compression, variable.dtype.itemsize),
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
