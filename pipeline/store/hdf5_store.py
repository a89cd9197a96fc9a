"""The store as HDF5: one part file a region, shown as one by a small master file.

HDF5 cannot be written by several processes, and a file that a killed process
was writing to may read wrong. So each region is a file of its own, written
aside and renamed, and the master holds a virtual dataset over all of them.
The name of a part begins with the fingerprint of its job: a master that was
renamed cannot show those of another.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.paths import (
    StoredFile,
    aside_of,
    in_place,
    put_in_place,
    remove,
    stored_file,
    sweep,
    walk,
)
from pipeline.record import SameJob
from pipeline.store.hdf5_file import written
from pipeline.store.schema import COORDINATE_CHUNK, Variable

Array = npt.NDArray[Any]

MASTER = "master"
OPEN_PARTS = 64
UNITS = ("region", "shard", "chunk")
PREFIX = 8  # digits of the fingerprint
PART = re.compile(r"[0-9a-f]{8}-(\d{8,15})\.h5")
# How netCDF marks a dimension that has no coordinate.
BARE = "This is a netCDF dimension but not a netCDF variable."


@dataclass(frozen=True)
class _Shapes:
    prefix: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    region: int
    shard: int
    chunk: int
    packed: bool


class Hdf5Store:
    """Reads and writes an HDF5 store at `path`; see `pipeline.store.store.Store`."""

    written_last = MASTER

    def __init__(self, path: Path, parts: Path | None = None, job: SameJob | None = None) -> None:
        self.path, self.job = path, job
        self.parts = parts or path.with_name(path.name + ".parts")
        self.record_folder = self.parts / ".record"
        self._known: _Shapes | None = None
        self._open: OrderedDict[int, h5py.File] = OrderedDict()
        self._reading: dict[int, Lock] = {}  # of a process: one that is forked has its own

    def exists(self) -> bool:
        """Whether anything of it is there."""
        return self.path.exists() or next(self.parts.glob("*.h5"), None) is not None

    @contextmanager
    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[Hdf5Store]:
        """Make the master aside; it appears at `path`, whole, when the block ends."""
        if next(walk(self.parts, {self.record_folder}), None) is not None:
            raise ValueError(
                f"{self.parts} exists, but not the store that it belongs to; remove it, or give "
                f"another path"
            )
        remove(self.record_folder)  # of a job that was killed in here
        self.parts.mkdir(exist_ok=True)
        try:
            with self.remaking(layout, variables, attrs) as made:
                yield made
        except BaseException:
            remove(self.parts)
            raise

    @contextmanager
    def remaking(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[Hdf5Store]:
        """Make all but the regions and the record again; it takes its place when the block ends."""
        with put_in_place(self.path) as aside:
            with written(aside, "w") as (file, _):
                file.attrs.update(attrs)
                prefix = str(attrs["fingerprint"])[:PREFIX]
                for name, variable in variables.items():
                    if name == "features":
                        self._create_virtual(file, variable, layout, prefix)
                    else:
                        _create_dataset(file, name, variable)
                _attach_scales(file, {name: item.dims for name, item in variables.items()})
            yield Hdf5Store(aside, self.parts)
        self._known = None

    def _create_virtual(
        self, file: h5py.File, variable: Variable, layout: Layout, prefix: str
    ) -> None:
        options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        options.set_obj_track_times(False)  # made again, it must be the same to the last bit
        options.set_fill_value(np.array(np.nan, variable.dtype))
        for region in range(layout.n_regions):
            start, stop = layout.bounds(region)
            part = f"{self.parts.name}/{_part_name(prefix, region)}"
            shape = (stop - start, *layout.shape)
            here = h5py.h5s.create_simple(variable.shape)
            here.select_hyperslab((start, *[0] * len(layout.shape)), shape)
            there = h5py.h5s.create_simple(shape)
            options.set_virtual(here, part.encode(), b"features", there)
        kind, space = h5py.h5t.py_create(variable.dtype), h5py.h5s.create_simple(variable.shape)
        features = h5py.Dataset(h5py.h5d.create(file.id, b"features", kind, space, options))
        features.attrs.update(variable.attrs)
        for name in UNITS:
            features.attrs[name] = getattr(layout, name)

    def remove(self) -> None:
        """Remove the store."""
        aside = aside_of(self.path)
        if self.parts.exists():
            os.replace(self.parts, aside)  # killed in the middle, it is gone all the same
        remove(self.path)
        remove(aside)

    def sweep(self) -> None:
        """Remove what killed writers have left beside the store and in it."""
        sweep(self.path.parent, self.path.name)
        sweep(self.parts)

    def attrs(self) -> dict[str, Any]:
        """The attributes of the store."""
        with h5py.File(self.path, "r") as file:
            # Numbers come as those of NumPy, which JSON does not know.
            return {
                key: value.item() if isinstance(value, np.generic) else value
                for key, value in file.attrs.items()
            }

    def axes(self) -> dict[str, str]:
        """Names of the axes of the features of a window, in order, and their units."""
        with h5py.File(self.path, "r") as file:
            _, *names = (dim.label for dim in file["features"].dims)
            return {name: str(file[name].attrs["units"]) for name in names}

    def files(self) -> Iterator[str]:
        """Names of all files of the store, but for those of the record."""
        if self.path.exists():
            yield MASTER
        yield from walk(self.parts, {self.record_folder})

    def small_files(self) -> Iterator[str]:
        """Names of the files that hold no features."""
        yield MASTER

    def locate(self, name: str) -> Path:
        """Where a file of the store is."""
        return self.path if name == MASTER else self.parts / name

    def owns(self, name: str) -> bool:
        """Whether only this store puts files of such a name there."""
        return name != MASTER

    def in_place(
        self, layout: Layout, regions: npt.NDArray[np.bool_]
    ) -> Callable[[tuple[StoredFile, ...]], bool]:
        """Tells whether files are where, and as long as, they were when they were recorded."""
        return partial(in_place, self.locate)

    def tells_damage(self, name: str) -> bool:
        """Whether a file has checksums of its own; the metadata of HDF5 have none."""
        return False

    def windows_of(self, name: str, layout: Layout) -> tuple[int, int] | None:
        """First window whose features a file holds, and the one after the last; None if none."""
        found = PART.fullmatch(name)
        region = int(found[1]) if found else layout.n_regions
        return layout.bounds(region) if region < layout.n_regions else None

    def stored_file(self, name: str, layout: Layout) -> StoredFile:
        """A file as it now is."""
        return stored_file(self.locate(name), name)

    def file_of(self, window: int) -> str:
        """Name of the file that holds the features of a window."""
        shapes = self._shapes
        return MASTER if self.packed else _part_name(shapes.prefix, window // shapes.region)

    def fill(self, name: str, start: int, values: Array) -> None:
        """Write values of a small variable, from `start` on."""
        with written(self.path, "r+") as (file, _):
            file[name][start : start + len(values)] = values

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        """Values of a small variable; None if the store has no such variable."""
        with h5py.File(self.path, "r") as file:
            if name not in file or _is_bare(file[name]):
                return None
            dataset = file[name]
            if h5py.check_string_dtype(dataset.dtype):
                dataset = dataset.asstr()
            return np.asarray(dataset[start:stop])

    @contextmanager
    def region(self, start: int, stop: int) -> Iterator[Hdf5Region]:
        """Write windows start to stop - 1 aside; the part appears when the block ends."""
        shapes = self._shapes
        part = self.parts / _part_name(shapes.prefix, start // shapes.region)
        with (
            put_in_place(part) as aside,
            written(aside, "w", libver="latest") as (file, check),
        ):
            features = file.create_dataset(
                "features",
                (stop - start, *shapes.shape[1:]),
                shapes.dtype,
                chunks=(min(shapes.chunk, stop - start), *shapes.shape[1:]),
                fletcher32=True,
                fillvalue=np.nan,
            )
            region = Hdf5Region(features, start, check)
            yield region
        region.files.append(stored_file(part, part.name))

    @contextmanager
    def finishing(self) -> Iterator[Hdf5Store]:
        """Fill `valid` in a copy of the master, which takes its place when the block ends."""
        with put_in_place(self.path) as aside:
            shutil.copyfile(self.path, aside)
            yield Hdf5Store(aside, self.parts)

    def is_renamed(self) -> bool:
        """Whether the master, for other programs, shows parts in another folder than its own."""
        if self._shapes.packed:
            return False
        with h5py.File(self.path, "r") as file:
            named = {Path(part.file_name).parent for part in file["features"].virtual_sources()}
        return named != {Path(self.parts.name)}

    def check(self) -> None:
        """Refuse a master that shows parts that are missing: HDF5 would read fill value."""
        shapes = self._shapes
        if self.is_renamed():
            raise FileNotFoundError(
                f"{self.path} was renamed, and other programs do not find its parts; verify "
                f"--repair and extract again name them anew, or give it back its name"
            )
        for start in range(0, 0 if shapes.packed else shapes.shape[0], shapes.region):
            part = self.locate(self.file_of(start))
            if not part.exists():
                raise FileNotFoundError(
                    f"{self.path} shows windows {start} to "
                    f"{min(start + shapes.region, shapes.shape[0]) - 1} out of {part}, which is "
                    f"missing; move the two together, or run extract again"
                )

    def read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array] = np.empty) -> Array:
        """Features of windows, in the order asked for, in an array that `empty` makes."""
        shapes, length = self._shapes, self._shapes.region
        result = empty((len(windows), *shapes.shape[1:]), shapes.dtype)
        # Windows that follow each other in one part are read at once.
        breaks = np.flatnonzero((np.diff(windows) != 1) | (np.diff(windows // length) != 0)) + 1
        runs = [run for run in np.split(np.arange(len(windows)), breaks) if len(run)]
        reading = self._reading.setdefault(os.getpid(), Lock())
        with reading:  # h5py lets one thread read at a time, and parts are closed
            for run in sorted(runs, key=lambda run: int(windows[run[0]])):
                part, row = divmod(int(windows[run[0]]), length)
                places = np.s_[int(run[0]) : int(run[-1]) + 1]
                try:
                    self._part(part).read_direct(result, np.s_[row : row + len(run)], places)
                except (KeyError, RuntimeError, TypeError) as error:  # h5py, of what is damaged
                    raise OSError(str(error)) from error
        if self.job is not None:
            self.job.check()
        return result

    def pack(self, path: Path) -> None:
        """Copy all into one plain file, which appears at `path`, whole, at the end."""
        shapes = self._shapes
        with put_in_place(path) as aside:
            shutil.copyfile(self.path, aside)
            with written(aside, "r+", libver="latest") as (file, check):
                attrs = dict(file["features"].attrs)
                dims = tuple(dim.label for dim in file["features"].dims)
                _detach_scales(file["features"])
                del file["features"]
                features = file.create_dataset(
                    "features",
                    shapes.shape,
                    shapes.dtype,
                    chunks=(min(shapes.chunk, shapes.shape[0]), *shapes.shape[1:]),
                    fletcher32=True,
                )
                for key, value in attrs.items():
                    if key not in HIDDEN:
                        features.attrs[key] = value
                features.attrs["region"] = shapes.shape[0]
                _attach(file, "features", dims)
                for a in range(0, shapes.shape[0], shapes.shard):
                    b = min(a + shapes.shard, shapes.shape[0])
                    try:
                        features[a:b] = self.read(np.arange(a, b))
                    except OSError as error:
                        raise OSError(
                            f"windows {a} to {b - 1}, in {self.locate(self.file_of(a))}, are "
                            f"damaged: {error}; verify --repair and extract again compute them anew"
                        ) from error
                    check()

    @property
    def shard(self) -> int:
        """How many windows are stored side by side, and fastest read together."""
        return self._shapes.shard

    @property
    def packed(self) -> bool:
        """Whether all is in one plain file; that of a job never is, be its master damaged."""
        return not self.record_folder.exists() and self._shapes.packed

    def _part(self, number: int) -> h5py.Dataset:
        if number not in self._open:
            path = self.path
            if not self.packed:
                path = self.parts / _part_name(self._shapes.prefix, number)
            while number not in self._open:
                try:
                    self._open[number] = h5py.File(path, "r")
                except OSError as error:
                    if error.errno != errno.EMFILE or not self._open:
                        raise
                    self._open.popitem(last=False)[1].close()
            if len(self._open) > OPEN_PARTS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(number)
        return self._open[number]["features"]

    @property
    def _shapes(self) -> _Shapes:
        if self._known is None:
            with h5py.File(self.path, "r") as file:
                features = file["features"]
                prefix = str(file.attrs["fingerprint"])[:PREFIX]
                region, shard, chunk = (int(features.attrs[name]) for name in UNITS)
                shape, packed = features.shape, not features.is_virtual
                self._known = _Shapes(prefix, shape, features.dtype, region, shard, chunk, packed)
        return self._known

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "parts": self.parts, "job": self.job}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class Hdf5Region:
    """Writes one region of an HDF5 store, block by block."""

    def __init__(self, features: h5py.Dataset, start: int, check: Callable[[], None]) -> None:
        self.start = start
        self.files: list[StoredFile] = []
        self._features, self._check = features, check

    def write(self, start: int, block: Array) -> None:
        """Store the features of consecutive windows, from `start` on."""
        row = start - self.start
        self._features[row : row + len(block)] = block
        self._check()


def _part_name(prefix: str, region: int) -> str:
    return f"{prefix}-{region:08d}.h5"


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


# What HDF5 keeps of dimension scales, as attributes.
HIDDEN = ("DIMENSION_LIST", "DIMENSION_LABELS", "REFERENCE_LIST", "CLASS", "NAME")


def _attach_scales(file: h5py.File, dims: Mapping[str, tuple[str, ...]]) -> None:
    """Name the dimensions of datasets, and attach the coordinates that belong to them.

    netCDF looks for a dimension under its name: one that has no coordinate there gets a
    dataset without values. Dimension `recording` cannot have that, for a variable has its
    name; `source`, which alone goes along it, stands for it.
    """
    for name, own in dims.items():
        if own == (name,) or name == "source":
            file[name].make_scale(name)
    for name, own in dims.items():
        for axis, dim in enumerate(own):
            if dim not in file:
                length = file[name].shape[axis]
                file.create_dataset(dim, (length,), ">f4").make_scale(f"{BARE}{length:10d}")
        _attach(file, name, own)


def _attach(file: h5py.File, name: str, dims: tuple[str, ...]) -> None:
    for axis, dim in enumerate(dims):
        file[name].dims[axis].label = dim
        if name not in (dim, "source"):
            file[name].dims[axis].attach_scale(file[dim])


def _is_bare(dataset: h5py.Dataset) -> bool:
    """Whether it is the name of a dimension, and no variable."""
    return bytes(dataset.attrs.get("NAME", b"")).startswith(BARE.encode())


def _detach_scales(dataset: h5py.Dataset) -> None:
    for dim in dataset.dims:
        for scale in list(dim.values()):
            dim.detach_scale(scale)
