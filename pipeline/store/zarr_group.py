"""The store as a Zarr v3 group, wherever it is: metadata by zarr, features by shards."""

from __future__ import annotations

import json
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any, Generic

import numpy as np
import numpy.typing as npt
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec

from pipeline.layout import Layout
from pipeline.paths import AnyPath, PathT, StoredFile, stored_file
from pipeline.record import SameJob
from pipeline.store.schema import COORDINATE_CHUNK, NAMES, Variable
from pipeline.store.shards import CHECKED, Piece, Shards, compressors, own_checksum

Array = npt.NDArray[Any]

METADATA = "zarr.json"
KEYS: Any = {
    "name": "default",
    "separator": ".",
}  # so that a shard is one file, in no folder of its own


class ZarrGroup(ABC, Generic[PathT]):
    """What all Zarr stores have in common; see `pipeline.store.store.Store`.

    Parameters
    ----------
    path : path
        Of the group.
    """

    packed = False
    written_last = "valid/"

    def __init__(
        self, path: PathT, job: SameJob | None = None, shards: Shards | None = None
    ) -> None:
        self.path: PathT = path
        self.record_folder: PathT = path / ".record"
        self.job: SameJob | None = job
        if shards is not None:
            self.shards = shards

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
        return bool(others) and first in self.names()

    def names(self) -> tuple[str, ...]:
        """Names of the arrays that there may be; without axes where the metadata are damaged."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            metadata = json.loads(self.locate(f"features/{METADATA}").read_bytes())
            _, *axes = metadata["dimension_names"]
            return (*NAMES, *(name for name in axes if re.fullmatch(r"\w+", name)))
        return NAMES

    @abstractmethod
    def sizes(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
        """Names and sizes of the files of the store that are wanted."""

    def in_place(
        self, layout: Layout, regions: npt.NDArray[np.bool_]
    ) -> Callable[[tuple[StoredFile, ...]], bool]:
        """Tells whether files are there, and as long as they were; one listing answers for all.

        Of a region no more is kept than how many files it has, and their bytes.
        """
        count, size = (np.zeros(layout.n_regions, np.int64) for _ in range(2))
        small: dict[str, int] = {}

        def region_of(name: str) -> int | None:
            windows = self.windows_of(name, layout)
            return None if windows is None else windows[0] // layout.region

        def wanted(name: str) -> bool:
            region = region_of(name)
            return region is None or bool(regions[region])

        for name, length in self.sizes(wanted):
            region = region_of(name)
            if region is None:
                small[name] = length
            else:
                count[region] += 1
                size[region] += length

        def holds(files: tuple[StoredFile, ...]) -> bool:
            region = region_of(files[0].name) if files else None
            if region is None:
                return all(small.get(file.name) == file.size for file in files)
            length = sum(file.size for file in files)
            return bool(count[region] == len(files) and size[region] == length)

        return holds

    def tells_damage(self, name: str) -> bool:
        """Whether a file has checksums of its own, which are compared as it is read."""
        return not name.endswith(METADATA)

    def windows_of(self, name: str, layout: Layout) -> tuple[int, int] | None:
        """First window whose features a file holds, and the one after the last; None if none."""
        shard = _shard_of(name, layout)
        if shard is None:
            return None
        return shard * layout.shard, min((shard + 1) * layout.shard, layout.n_windows)

    def stored_file(self, name: str, layout: Layout) -> StoredFile:
        """A file as it now is."""
        path, shard = self.locate(name), _shard_of(name, layout)
        if shard is None and not self.tells_damage(name):
            return stored_file(path, name)
        if shard is None:
            data = path.read_bytes()
            return StoredFile(name, len(data), own_checksum(data))
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

    def axes(self) -> dict[str, str]:
        """Names of the axes of the features of a window, in order, and their units."""
        with self.translated():
            group = self._group()
            features: Any = group["features"]
            _, *names = features.metadata.dimension_names
            return {name: str(group[name].attrs["units"]) for name in names}

    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""
        with self.translated(), _all_chunks():
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
            try:
                return np.asarray(array[start:stop])
            except (ValueError, RuntimeError) as error:  # of its codecs
                raise OSError(
                    f"{self.locate(name)} is damaged: {error}; verify --repair and extract again "
                    f"make it anew"
                ) from error

    def is_renamed(self) -> bool:
        """Never: nothing in it knows its name."""
        return False

    def check(self) -> None:
        """Refuse features that are not stored as this project does.

        A file that is missing is seen when it is read. How they are stored is known from
        here on: zarr must not be asked while a process is forked that has several threads.
        """
        _ = self.shards

    def read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array] = np.empty) -> Array:
        """Features of windows, in the order asked for, in an array that `empty` makes."""
        result = self.shards.read(windows, empty)
        if self.job is not None:
            self.job.check()
        return result

    @property
    def shard(self) -> int:
        """How many windows are stored side by side, and fastest read together."""
        return self.shards.length

    @cached_property
    def shards(self) -> Shards:
        """The array of features."""
        with self.translated():
            array = self._group()["features"]
            assert isinstance(array, zarr.Array)
            return shards_of(self.path / "features", array)

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
        shards: Shards | None = self.__dict__.get("shards")
        return {"path": self.path, "job": self.job, "shards": shards and replace(shards)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


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
    found = re.fullmatch(r"features/c\.(0|[1-9]\d{0,15})" + r"\.0" * len(layout.shape), name)
    return int(found[1]) if found and int(found[1]) < layout.n_shards else None


def shards_of(folder: AnyPath, array: zarr.Array[Any]) -> Shards:
    """How an array of features is stored, by what its metadata mean.

    Raises
    ------
    ValueError
        If it is not stored as this project does.
    """
    metadata: Any = array.metadata
    try:
        (sharding,) = metadata.codecs
        first, *between, last = sharding.codecs
        chunk = sharding.chunk_shape[0]
        length, *shape = metadata.chunk_grid.chunk_shape
        ours = (
            isinstance(sharding, ShardingCodec)
            and sharding.chunk_shape[1:] == tuple(shape) == array.shape[1:]
            and _are_checked([first, last])
            and _are_checked(sharding.index_codecs)
            and _word(sharding.index_location) == "end"
            and metadata.chunk_key_encoding.encode_chunk_key((1, 0)) == "c.1.0"
            and np.isnan(array.fill_value)
            and all(isinstance(codec, BloscCodec) for codec in between[:1])
            and not between[1:]
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise ValueError(f"{folder} is not stored as extract does; extract it again")
    compression = _word(between[0].cname) if between else "none"
    numbers = array.shape[0], tuple(shape), array.dtype.name
    return Shards(folder, *numbers, chunk, length, compression)


def _are_checked(codecs: Sequence[Any]) -> bool:
    """Whether numbers are stored as their bytes, and these with their checksum."""
    first, last = codecs
    little = isinstance(first, BytesCodec) and _word(first.endian) == "little"
    return little and isinstance(last, Crc32cCodec)


def _word(value: Any) -> str:
    """What zarr has as text, or as a member of an enumeration."""
    return str(getattr(value, "value", value))


def _all_chunks() -> Any:
    """Write chunks that are all fill value, too, so that they can be told from missing ones."""
    return zarr.config.set({"array.write_empty_chunks": True})


def create_group(
    store: Any, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
) -> None:
    """Make a group where there is none, and fill what is known of its arrays."""
    group = zarr.create_group(store, zarr_format=3, attributes=dict(attrs))
    with _all_chunks():
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
        options = {"chunks": (length, *variable.shape[1:]), "compressors": CHECKED}
    array = group.create_array(
        name,
        shape=variable.shape,
        dtype=str if variable.dtype == object else variable.dtype,
        chunk_key_encoding=KEYS,
        dimension_names=list(variable.dims),
        attributes=dict(variable.attrs),
        **options,
    )
    if variable.values is not None:
        array[...] = variable.values
