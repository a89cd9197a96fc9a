"""The store as a Zarr v3 group: metadata by zarr, features through tensorstore."""

from __future__ import annotations

import errno
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, Crc32cCodec

from pipeline.files import StoredFile, aside_of, put_in_place, remove, stored_file, sweep, walk
from pipeline.layout import COORDINATE_CHUNK, NAMES, Layout, Variable
from pipeline.shards import Shards

__all__ = ["ZarrStore"]

Array = npt.NDArray[Any]


_process = {"used": False, "forked": False}
os.register_at_fork(after_in_child=lambda: _process.update(forked=_process["used"]))


class ZarrStore:
    """Reads and writes a Zarr store at `path`; see `pipeline.store.Store`."""

    packed = False
    written_last = "valid/"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record_folder = path / ".record"
        self._features: tensorstore.TensorStore | None = None

    def exists(self) -> bool:
        """Whether anything of it is there."""
        return self.path.exists()

    @contextmanager
    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[ZarrStore]:
        """Make the store aside; it appears at `path`, whole, when the block ends."""
        with put_in_place(self.path) as aside, _quiet_failure():
            _create_group(aside, layout, variables, attrs)
            yield ZarrStore(aside)

    @contextmanager
    def remaking(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[ZarrStore]:
        """Make all but the regions and the record again; it takes its place when the block ends."""
        aside = aside_of(self.path)
        try:
            _create_group(aside, layout, variables, attrs)
            made = ZarrStore(aside)
            yield made
            for name in made.files():
                self.locate(name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(made.locate(name), self.locate(name))
        finally:
            remove(aside)

    def remove(self) -> None:
        """Remove the store."""
        aside = aside_of(self.path)
        os.replace(self.path, aside)  # killed in the middle, it is gone all the same
        remove(aside)

    def sweep(self) -> None:
        """Remove what killed writers have left beside the store."""
        sweep(self.path.parent, self.path.name)

    def files(self) -> Iterator[str]:
        """Names of all files of the store, but for those of the record."""
        return walk(self.path, {self.record_folder})

    def small_files(self) -> Iterator[str]:
        """Names of the files that hold no features."""
        yield "zarr.json"
        for name in NAMES:
            for file in walk(self.path / name, {self.path / "features" / "c"}):
                yield f"{name}/{file}"

    def locate(self, name: str) -> Path:
        """Where a file of the store is."""
        return self.path / name

    def owns(self, path: Path) -> bool:
        """Whether only this store puts files there: below one of its arrays."""
        inside = path.relative_to(self.path).parts
        return len(inside) > 1 and inside[0] in NAMES

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
        return dict(self._group().attrs)

    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""
        array = self._group()[name]
        assert isinstance(array, zarr.Array)
        array[start : start + len(values)] = values

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        """Values of a small variable; None if the store has no such variable."""
        group = self._group()
        if name not in group:
            return None
        array = group[name]
        assert isinstance(array, zarr.Array)
        return np.asarray(array[start:stop])

    @contextmanager
    def region(self, start: int, stop: int) -> Iterator[ZarrRegion]:
        """Write the shards of windows start to stop - 1."""
        region = ZarrRegion(self)
        yield region
        region.finish()

    @contextmanager
    def finishing(self) -> Iterator[ZarrStore]:
        """Fill `valid`, which is not read before the job is finished."""
        for left in (self.path / "valid").rglob("*.partial"):
            left.unlink()
        yield self

    def check(self) -> None:
        """Nothing to be checked: a file that is missing is seen when it is read."""

    def read(self, windows: npt.NDArray[np.int64]) -> Array:
        """Features of windows, in the order asked for, as a new array."""
        if self._shards is not None:
            return self._shards.read(windows)
        result: Array = self.features[windows].read().result()
        return result

    @cached_property
    def _shards(self) -> Shards | None:
        return Shards.of(self.path / "features")

    @property
    def shard(self) -> int:
        """How many windows are stored side by side, and fastest read together."""
        return int(self.features.chunk_layout.write_chunk.shape[0])  # type: ignore[index,arg-type]

    @property
    def features(self) -> tensorstore.TensorStore:
        """The array of features."""
        if _process["forked"]:
            raise RuntimeError(
                "a store was read or written before this process was forked, which tensorstore "
                "does not survive; start processes by 'spawn' (torch: multiprocessing_context)"
            )
        if self._features is None:
            _process["used"] = True
            cores = len(os.sched_getaffinity(0))
            spec = {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": os.fspath(self.path / "features")},
                # What a killed process wrote is safe without a sync, which would
                # make the job wait for the disk; the record knows what was written.
                "context": {
                    "data_copy_concurrency": {"limit": cores},
                    "file_io_sync": False,
                },
            }
            self._features = tensorstore.open(spec, open=True).result()
        return self._features

    def _group(self) -> zarr.Group:
        return zarr.open_group(self.path, mode="r+", use_consolidated=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "record_folder": self.record_folder, "_features": None}


class ZarrRegion:
    """Writes one region of a Zarr store, block by block, each whole shards.

    A block is encoded and written while the next one is computed.
    """

    def __init__(self, store: ZarrStore) -> None:
        self.files: list[StoredFile] = []
        self._store = store
        self._writing: tuple[tensorstore.WriteFutures, int, Array] | None = None

    def write(self, start: int, block: Array) -> None:
        """Store the features of consecutive windows, from `start` on."""
        shape, shard = self._store.features.shape, self._store.shard
        stop = start + len(block)
        if start % shard or (stop % shard and stop != shape[0]):
            raise ValueError(
                f"windows {start} to {stop} were to be written; a block must be whole "
                f"shards of {shard} windows"
            )
        self.finish()
        self._writing = self._write(start, block), start, block

    def _write(self, start: int, block: Array) -> tensorstore.WriteFutures:
        target = self._store.features[start : start + len(block)]
        return target.write(block, can_reference_source_data_indefinitely=True)

    def finish(self) -> None:
        """Wait until all is written, and take down what it is."""
        if self._writing is None:
            return
        (writing, start, block), self._writing = self._writing, None
        windows = range(start, start + len(block), self._store.shard)
        names = [self._store.file_of(window) for window in windows]
        try:
            try:
                writing.result()
            except ValueError as error:
                if "DATA_LOSS" not in str(error):
                    raise
                # The last shard is not full, so it was read first, and what is there is torn.
                # A whole one is never removed: another share may have recorded it.
                self._store.locate(names[-1]).unlink(missing_ok=True)
                self._write(start, block).result()
        except ValueError as error:
            raise _os_error(error) from None
        try:
            self.files += [stored_file(self._store.locate(name), name) for name in names]
        except FileNotFoundError:  # an attempt that nobody waits for any more is at it, too
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None


def _os_error(error: ValueError) -> OSError:
    """What the operating system said, which tensorstore wraps up in text."""
    found = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number) if found else str(error))


@contextmanager
def _quiet_failure() -> Iterator[None]:
    """Let one error speak for all: zarr writes several files at a time.

    What else was under way fails when what was made aside is removed, and
    asyncio would report that whenever the garbage collector finds it.
    """
    try:
        yield
    except OSError:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise


def _create_group(
    path: Path, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes=dict(attrs))
    for name, variable in variables.items():
        _create_array(group, name, variable, layout)
    with warnings.catch_warnings():
        # xarray, zarr-python and tensorstore all read it; zarr warns that
        # other programs may not, and those then read the arrays' own.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)


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
