"""The store as a Zarr v3 group, wherever it is: small arrays by zarr, features by `Shards`."""

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.paths import PathT, StoredFile, flush, stored_file
from pipeline.record import SameJob
from pipeline.store.checksums import Piece, checksum_of, own_checksum
from pipeline.store.encoding import Array, Encoding
from pipeline.store.schema import NAMES, Attachment, Contents, Variable
from pipeline.store.shards import Shards
from pipeline.store.store import Holds, Region, Store

METADATA = "zarr.json"
MOMENT = 0.05  # seconds


class ZarrGroup(Store, Generic[PathT]):
    """What all Zarr stores have in common; zarr is loaded where its own arrays are used."""

    path: PathT
    record_folder: PathT
    written_last = "valid/"
    root = METADATA

    def __init__(
        self, path: PathT, job: SameJob | None = None, shards: Shards | None = None
    ) -> None:
        self.path, self.record_folder, self.job = path, path / ".record", job
        if shards is not None:
            self.shards = shards

    @abstractmethod
    def zarr_store(self) -> Any:
        """The group, as zarr knows it."""

    @abstractmethod
    def names_below(self, name: str) -> Iterator[str]:
        """Names, within a folder of the store, of all files below it."""

    @abstractmethod
    def sizes(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
        """Names and sizes of the files of the store that are wanted."""

    @abstractmethod
    def put(self, name: str, pieces: list[Piece]) -> None:
        """Put a file in place, whole."""

    def translated(self) -> AbstractContextManager[None]:
        """Make errors of the libraries those of the system."""
        return nullcontext()

    def create_group(self, contents: Contents) -> None:
        """Make the group, where there is none, and fill what is known of its arrays."""
        from pipeline.store.zarr_arrays import files_of

        for name, data in files_of(contents.variables, contents.attrs, contents.layout).items():
            path = self.locate(name)
            if isinstance(path, Path):
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def locate(self, name: str) -> PathT:
        return self.path / name

    def owns(self, name: str) -> bool:
        first, *others = name.split("/")
        return bool(others) and first in self.names()

    def names(self) -> tuple[str, ...]:
        """Names of the arrays that there may be; without axes where the metadata are damaged."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            metadata = json.loads(self.locate(f"features/{METADATA}").read_bytes())
            _, *axes = metadata["dimension_names"]
            return (*NAMES, *(name for name in axes if re.fullmatch(r"\w+", name)))
        return NAMES

    def files(self) -> Iterator[str]:
        return (name for name in self.names_below("") if not name.startswith(".record/"))

    def small_files(self) -> Iterator[str]:
        yield METADATA
        for array in self.names():
            names = [METADATA] if array == "features" else self.names_below(array)
            yield from (f"{array}/{name}" for name in names)

    def in_place(self, layout: Layout, regions: npt.NDArray[np.bool_]) -> Holds:
        # One listing answers for all. Of a region no more is kept than how many files it
        # has, and their bytes.
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
        return not name.endswith(METADATA)

    def windows_of(self, name: str, layout: Layout) -> tuple[int, int] | None:
        shard = _shard_of(name, layout)
        if shard is None:
            return None
        return shard * layout.shard, min((shard + 1) * layout.shard, layout.n_windows)

    def stored_file(self, name: str, layout: Layout) -> StoredFile:
        path, shard = self.locate(name), _shard_of(name, layout)
        if shard is None and not self.tells_damage(name):
            return stored_file(path, name)
        if shard is None:
            return self._file_of(name, path.read_bytes())
        # Not as the metadata of the array say, which may be damaged.
        sizes = layout.n_windows, layout.shape, Encoding(layout.dtype), layout.chunk, layout.shard
        checksum = Shards(self.path / "features", *sizes, layout.compression).checksum(shard)
        return StoredFile(name, path.stat().st_size, checksum)

    def _file_of(self, name: str, data: bytes) -> StoredFile:
        """A file of no features, of which all is known."""
        checksum = own_checksum(data) if self.tells_damage(name) else checksum_of(data)
        return StoredFile(name, len(data), checksum)

    def file_of(self, window: int) -> str:
        return f"features/{self.shards.name_of(window // self.shard)}"

    def attrs(self) -> dict[str, Any]:
        with self.translated():
            return dict(self._group().attrs)

    def variables(self) -> dict[str, Variable]:
        from pipeline.store.zarr_arrays import variables_of

        with self.translated():
            return variables_of(self.zarr_store())

    def axes(self) -> dict[str, str]:
        with self.translated():
            group = self._group()
            _, *names = group["features"].metadata.dimension_names
            return {name: str(group[name].attrs["units"]) for name in names}

    def units(self) -> str:
        with self.translated():
            return str(self._group()["features"].attrs["units"])

    def fill(self, name: str, start: int, values: Array) -> None:
        from pipeline.store.zarr_arrays import all_chunks

        with self.translated(), all_chunks():
            self._group()[name][start : start + len(values)] = values

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        from pipeline.store.zarr_arrays import open_array

        with self.translated():
            try:
                # What is being attached may be there in part: the root says what counts.
                if name not in _members(self._root()):
                    return None
                array = open_array(self.zarr_store(), name)
                return np.asarray(array[start:stop] if array.ndim else array[...])
            except (ValueError, LookupError, RuntimeError) as error:  # of its codecs, too
                raise OSError(
                    f"{self.locate(name)} is damaged: {error}; verify --repair and extract again "
                    f"make it anew"
                ) from error

    def check(self) -> None:
        # A file that is missing is seen when it is read. How they are stored is known from
        # here on: zarr must not be asked while a process is forked that has several threads.
        _ = self.shards

    def _read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array]) -> Array:
        return self.shards.read(windows, empty)

    @property
    def shard(self) -> int:
        return self.shards.length

    @property
    def encoding(self) -> Encoding:
        return self.shards.encoding

    @cached_property
    def shards(self) -> Shards:
        """The array of features."""
        from pipeline.store.zarr_arrays import shards_of

        with self.translated():
            return shards_of(self.path / "features", self._group()["features"])

    @contextmanager
    def attaching(self, attachment: Attachment) -> Iterator[list[StoredFile]]:
        from pipeline.store.zarr_arrays import files_of, other_keys

        root, variables = self._root(), attachment.variables
        members = _members(root)
        # The chunks of what is replaced stay, under other names, for who has it open.
        keys = {name: other_keys(members[name]) for name in variables if name in members}
        made = files_of(variables, keys=keys)
        for name in attachment.dropped:
            members.pop(name, None)
        members.update(_members(json.loads(made.pop(METADATA))))
        root["attributes"].update(attachment.attrs)
        if attachment.coordinates is not None:
            members["features"]["attributes"]["coordinates"] = attachment.coordinates
            made[f"features/{METADATA}"] = json.dumps(members["features"], indent=2).encode()
        # Chunks first, so that each array is whole when its metadata come.
        files = dict(sorted(made.items(), key=lambda file: file[0].endswith(METADATA)))
        files[METADATA] = json.dumps(root, indent=2).encode()
        yield [self._file_of(name, data) for name, data in files.items()]
        for name, data in files.items():
            if name == METADATA:
                flush(self.locate(other) for other in files if other != METADATA)
            self.put(name, [data])

    def _root(self) -> dict[str, Any]:
        with self.translated():
            found: dict[str, Any] = json.loads(self.locate(METADATA).read_bytes())
            return found

    def finishing(self) -> AbstractContextManager[Store]:
        return nullcontext(self)  # nobody reads `valid` before the job is finished

    @contextmanager
    def region(self, start: int, stop: int) -> Iterator[Region]:
        # A block is put in place while the next one is computed; but not if that takes a moment,
        # after which the next is computed in the same memory, most of it in the cache.
        files: list[StoredFile] = []
        sending: list[Future[list[StoredFile]]] = []

        def finish() -> None:
            while sending:
                files.extend(sending.pop().result())

        with ThreadPoolExecutor(1) as sender:

            def write(first: int, block: Array) -> None:
                last = first + len(block)
                if first % self.shard or (last % self.shard and last != self.shards.n_windows):
                    raise ValueError(
                        f"windows {first} to {last} were to be written; a block must be whole "
                        f"shards of {self.shard} windows"
                    )
                finish()
                sending.append(sender.submit(self._put_shards, first, block))
                wait(sending, MOMENT)

            yield Region(write, files)
            finish()

    def _put_shards(self, start: int, block: Array) -> list[StoredFile]:
        """Put the files of a block in place; known to the last byte, they are not read back."""
        files = []
        for low in range(0, len(block), self.shard):
            pieces, checksum = self.shards.encode(block[low : low + self.shard])
            name = self.file_of(start + low)
            self.put(name, pieces)
            files.append(StoredFile(name, sum(map(len, pieces)), checksum))
        return files

    def _group(self) -> Any:
        from pipeline.store.zarr_arrays import open_group

        return open_group(self.zarr_store())

    def __getstate__(self) -> dict[str, Any]:
        shards: Shards | None = self.__dict__.get("shards")
        return {"path": self.path, "job": self.job, "shards": shards and replace(shards)}


def _shard_of(name: str, layout: Layout) -> int | None:
    """Which shard a file is, if it is one."""
    found = re.fullmatch(r"features/c\.(0|[1-9]\d{0,15})" + r"\.0" * len(layout.shape), name)
    return int(found[1]) if found and int(found[1]) < layout.n_shards else None


def _members(root: dict[str, Any]) -> dict[str, Any]:
    """Metadata of the arrays of a group, by name, as its own metadata repeat them."""
    found: dict[str, Any] = root["consolidated_metadata"]["metadata"]
    return found
