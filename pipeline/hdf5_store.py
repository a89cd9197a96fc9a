"""The store as HDF5: one part file a region, shown as one by a small master file.

HDF5 cannot be written by several processes, and a file that a killed process
was writing to may read wrong. So each region is a file of its own, written
aside and renamed, and the master holds a virtual dataset over all of them.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.layout import COORDINATE_CHUNK, Layout, Variable
from pipeline.record import StoredFile, put_in_place, stored_file

__all__ = ["Hdf5Store"]

Array = npt.NDArray[Any]
Shapes = tuple[int, int, tuple[int, ...], np.dtype[Any]]  # region, chunk, one window

OPEN_PARTS = 64


class Hdf5Store:
    """Reads and writes an HDF5 store at `path`; see `pipeline.store.Store`."""

    def __init__(self, path: Path, parts: Path | None = None) -> None:
        self.path = path
        self.parts = parts or path.with_name(path.name + ".parts")
        self.record_folder = self.parts / ".record"
        self._layout: Shapes | None = None
        self._open: OrderedDict[int, h5py.File] = OrderedDict()

    @contextmanager
    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[Hdf5Store]:
        """Make the master aside; it appears at `path`, whole, when the block ends."""
        begun = {".record", "job.json"}  # as a job leaves it that was killed in here
        if self.parts.exists() and {path.name for path in self.parts.rglob("*")} - begun:
            raise ValueError(
                f"{self.parts} exists, but not the store that it belongs to; remove it, or give "
                f"another path"
            )
        self.parts.mkdir(exist_ok=True)
        with put_in_place(self.path) as aside:
            with h5py.File(aside, "w") as file:
                file.attrs.update(attrs)
                for name, variable in variables.items():
                    if name == "features":
                        self._create_virtual(file, variable, layout)
                    else:
                        _create_dataset(file, name, variable)
                _attach_scales(file, variables)
            yield Hdf5Store(aside, self.parts)

    def _create_virtual(self, file: h5py.File, variable: Variable, layout: Layout) -> None:
        virtual = h5py.VirtualLayout(variable.shape, variable.dtype)
        for region in range(layout.n_regions):
            start, stop = layout.bounds(region)
            part = f"{self.parts.name}/{_part_name(region)}"
            shape = (stop - start, *layout.shape)
            virtual[start:stop] = h5py.VirtualSource(part, "features", shape, variable.dtype)
        features = file.create_virtual_dataset("features", virtual, fillvalue=np.nan)
        features.attrs.update(variable.attrs)
        features.attrs["region"], features.attrs["chunk"] = layout.region, layout.chunk

    def remove(self) -> None:
        """Remove the store."""
        self.path.unlink()
        shutil.rmtree(self.parts, ignore_errors=True)

    def attrs(self) -> dict[str, Any]:
        """The attributes of the store."""
        with h5py.File(self.path, "r") as file:
            return dict(file.attrs)

    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""
        with h5py.File(self.path, "r+") as file:
            file[name][start : start + len(values)] = values

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        """Values of a small variable; None if the store has no such variable."""
        with h5py.File(self.path, "r") as file:
            if name not in file:
                return None
            dataset = file[name]
            if h5py.check_string_dtype(dataset.dtype):
                dataset = dataset.asstr()
            return np.asarray(dataset[start:stop])

    @contextmanager
    def region(self, start: int, stop: int) -> Iterator[Hdf5Region]:
        """Write windows start to stop - 1 aside; the part appears when the block ends."""
        length, chunk, shape, dtype = self._shapes()
        part = self.parts / _part_name(start // length)
        with put_in_place(part) as aside, h5py.File(aside, "w", libver="latest") as file:
            features = file.create_dataset(
                "features",
                (stop - start, *shape),
                dtype,
                chunks=(min(chunk, stop - start), *shape),
                fletcher32=True,
                fillvalue=np.nan,
            )
            region = Hdf5Region(features, start)
            yield region
        region.files.append(stored_file(self.parts, part.name))

    def finish(self, valid: Array) -> None:
        """Store which windows could be read."""
        with put_in_place(self.path) as aside:
            shutil.copyfile(self.path, aside)
            Hdf5Store(aside).fill("valid", 0, valid)

    def read(self, windows: npt.NDArray[np.int64]) -> Array:
        """Features of windows, in the order asked for, as a new array."""
        length, _, shape, dtype = self._shapes()
        result = np.empty((len(windows), *shape), dtype)
        # Windows that follow each other in one part are read at once.
        breaks = np.flatnonzero((np.diff(windows) != 1) | (np.diff(windows // length) != 0)) + 1
        runs = [run for run in np.split(np.arange(len(windows)), breaks) if len(run)]
        for run in sorted(runs, key=lambda run: int(windows[run[0]])):
            part, row = divmod(int(windows[run[0]]), length)
            places = np.s_[int(run[0]) : int(run[-1]) + 1]
            self._part(part).read_direct(result, np.s_[row : row + len(run)], places)
        return result

    def _part(self, number: int) -> h5py.Dataset:
        if number not in self._open:
            self._open[number] = h5py.File(self.parts / _part_name(number), "r")
            if len(self._open) > OPEN_PARTS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(number)
        return self._open[number]["features"]

    def _shapes(self) -> Shapes:
        if self._layout is None:
            with h5py.File(self.path, "r") as file:
                features = file["features"]
                region, chunk = (int(features.attrs[name]) for name in ("region", "chunk"))
                self._layout = region, chunk, features.shape[1:], features.dtype
        return self._layout

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}


class Hdf5Region:
    """Writes one region of an HDF5 store, block by block."""

    def __init__(self, features: h5py.Dataset, start: int) -> None:
        self.start = start
        self.files: list[StoredFile] = []
        self._features = features

    def write(self, start: int, block: Array) -> None:
        """Store the features of consecutive windows, from `start` on."""
        row = start - self.start
        self._features[row : row + len(block)] = block


def _part_name(region: int) -> str:
    return f"{region:08d}.h5"


def _create_dataset(file: h5py.File, name: str, variable: Variable) -> None:
    text = variable.dtype == object
    length = max(1, min(COORDINATE_CHUNK, variable.shape[0]))
    dataset = file.create_dataset(
        name,
        variable.shape,
        h5py.string_dtype() if text else variable.dtype,
        chunks=(length, *variable.shape[1:]),
        fletcher32=not text,
    )
    dataset.attrs.update(variable.attrs)
    if variable.values is not None:
        dataset[...] = variable.values


def _attach_scales(file: h5py.File, variables: Mapping[str, Variable]) -> None:
    for name, variable in variables.items():
        if variable.dims == (name,) or name == "start":
            file[name].make_scale(name)
    for name, variable in variables.items():
        for axis, dim in enumerate(variable.dims):
            file[name].dims[axis].label = dim
            scale = "start" if dim == "window" else dim
            if scale != name and scale in variables and variables[scale].dims == (dim,):
                file[name].dims[axis].attach_scale(file[scale])
