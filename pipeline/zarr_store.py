"""The store as a Zarr v3 group: metadata by zarr, features through tensorstore."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, Crc32cCodec

from pipeline.layout import COORDINATE_CHUNK, Layout, Variable
from pipeline.record import StoredFile, put_in_place, stored_file

__all__ = ["ZarrStore"]

Array = npt.NDArray[Any]


_process = {"used": False, "forked": False}
os.register_at_fork(after_in_child=lambda: _process.update(forked=_process["used"]))


class ZarrStore:
    """Reads and writes a Zarr store at `path`; see `pipeline.store.Store`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record_folder = path / ".record"
        self._features: tensorstore.TensorStore | None = None

    @contextmanager
    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[ZarrStore]:
        """Make the store aside; it appears at `path`, whole, when the block ends."""
        with put_in_place(self.path) as aside:
            group = zarr.open_group(aside, mode="w", zarr_format=3, attributes=dict(attrs))
            for name, variable in variables.items():
                _create_array(group, name, variable, layout)
            with warnings.catch_warnings():
                # xarray, zarr-python and tensorstore all read it; zarr warns that
                # other programs may not, and those then read the arrays' own.
                warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
                zarr.consolidate_metadata(aside)
            yield ZarrStore(aside)

    def remove(self) -> None:
        """Remove the store."""
        shutil.rmtree(self.path)

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

    def finish(self, valid: Array) -> None:
        """Store which windows could be read."""
        self.fill("valid", 0, valid)

    def read(self, windows: npt.NDArray[np.int64]) -> Array:
        """Features of windows, in the order asked for, as a new array."""
        result: Array = self.features[windows].read().result()
        return result

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
        self._writing: tuple[tensorstore.WriteFutures, range] | None = None

    def write(self, start: int, block: Array) -> None:
        """Store the features of consecutive windows, from `start` on."""
        array = self._store.features
        shard = int(array.chunk_layout.write_chunk.shape[0])  # type: ignore[index,arg-type]
        stop = start + len(block)
        if start % shard or (stop % shard and stop != array.shape[0]):
            raise ValueError(
                f"windows {start} to {stop} were to be written; a block must be whole "
                f"shards of {shard} windows"
            )
        self.finish()
        shards = range(start // shard, -(-stop // shard))
        for number in shards:
            # What is left of a torn shard would be read before it is written.
            (self._store.path / self._name(number)).unlink(missing_ok=True)
        writing = array[start:stop].write(block, can_reference_source_data_indefinitely=True)
        self._writing = writing, shards

    def finish(self) -> None:
        """Wait until all is written, and take down what it is."""
        if self._writing is None:
            return
        (writing, shards), self._writing = self._writing, None
        writing.result()
        for number in shards:
            self.files.append(stored_file(self._store.path, self._name(number)))

    def _name(self, shard: int) -> str:
        return f"features/c/{shard}" + "/0" * (self._store.features.ndim - 1)


def _create_array(group: zarr.Group, name: str, variable: Variable, layout: Layout) -> None:
    options: dict[str, Any]
    if name == "features":
        itemsize = variable.dtype.itemsize
        options = {
            "chunks": (layout.chunk, *layout.shape),
            "shards": (layout.shard, *layout.shape),
            "compressors": [
                BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle", typesize=itemsize),
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
