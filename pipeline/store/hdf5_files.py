"""The files of an HDF5 store: their datasets, and how they are written without a crash."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, SEEK_SET, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.layout import Layout
from pipeline.store.encoding import Array, Encoding
from pipeline.store.schema import Contents, Variable

if TYPE_CHECKING:
    import h5py

UNITS = ("region", "shard", "chunk")  # attributes of the features
# How netCDF marks a dimension that has no coordinate.
BARE = "This is a netCDF dimension but not a netCDF variable."
# What HDF5 keeps of dimension scales, as attributes.
HIDDEN = ("DIMENSION_LIST", "DIMENSION_LABELS", "REFERENCE_LIST", "CLASS", "NAME")
OWN = (*HIDDEN, *UNITS)  # which no other store has


@dataclass(frozen=True)
class Stored:
    """How features are stored, as their master says."""

    fingerprint: str
    shape: tuple[int, ...]
    encoding: Encoding
    region: int
    shard: int
    chunk: int
    packed: bool

    @classmethod
    def read(cls, file: h5py.File) -> Stored:
        """From an open master, or packed copy."""
        features = file["features"]
        return cls(
            str(file.attrs["fingerprint"]),
            features.shape,
            Encoding.read(features.dtype.name, features.attrs),
            packed=not features.is_virtual,
            **{name: int(features.attrs[name]) for name in UNITS},
        )


def fill_master(file: h5py.File, contents: Contents, parts: Sequence[str]) -> None:
    """Write all but the features, which the parts are to hold, one a region."""
    file.attrs.update(contents.attrs)
    small = dict(contents.variables)
    features = small.pop("features")
    _create_virtual(file, features, contents.layout, parts)
    add_variables(file, small, {"features": features.dims})


def add_variables(
    file: h5py.File, variables: Mapping[str, Variable], dims: Mapping[str, tuple[str, ...]] = {}
) -> None:
    """Add small variables to a master, and scales to them and to what else has dimensions."""
    for name, variable in variables.items():
        _create_dataset(file, name, variable)
    _attach_scales(file, {**dims, **{name: item.dims for name, item in variables.items()}})


def remove_variables(file: h5py.File, names: Collection[str]) -> None:
    """Remove variables from a master, and the dimensions of their names; none need be there."""
    there = [name for name in names if name in file]
    for name in there:
        for dim in file[name].dims:
            for scale in list(dim.values()):
                dim.detach_scale(scale)
    for name in there:
        del file[name]


def _create_virtual(
    file: h5py.File, variable: Variable, layout: Layout, parts: Sequence[str]
) -> None:
    import h5py

    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_obj_track_times(False)  # made again, it must be the same to the last bit
    encoding = Encoding.read(variable.dtype.name, variable.attrs)
    options.set_fill_value(np.array(encoding.fill_value, variable.dtype))
    for region, part in enumerate(parts):
        start, stop = layout.bounds(region)
        shape = (stop - start, *layout.shape)
        here = h5py.h5s.create_simple(variable.shape)
        here.select_hyperslab((start, *[0] * len(layout.shape)), shape)
        there = h5py.h5s.create_simple(shape)
        options.set_virtual(here, part.encode(), b"features", there)
    kind, space = h5py.h5t.py_create(variable.dtype), h5py.h5s.create_simple(variable.shape)
    features = h5py.Dataset(h5py.h5d.create(file.id, b"features", kind, space, options))
    features.attrs.update(variable.attrs)
    if encoding.missing is not None:  # which netCDF wants to be of the variable's own dtype
        features.attrs["_FillValue"] = np.array(encoding.missing, variable.dtype)
        for name in ("scale_factor", "add_offset"):  # of which it makes float32, too
            features.attrs[name] = np.float32(variable.attrs[name])
    for name in UNITS:
        features.attrs[name] = getattr(layout, name)


def _create_dataset(file: h5py.File, name: str, variable: Variable) -> None:
    import h5py

    text = variable.dtype == object
    chunks = None  # a single value has none
    if variable.shape:
        chunks = (variable.rows_of_chunk, *variable.shape[1:])
    dataset = file.create_dataset(
        name,
        variable.shape,
        h5py.string_dtype() if text else variable.dtype,
        chunks=chunks,
        fletcher32=bool(chunks) and not text,
    )
    for key, value in variable.attrs.items():  # lists are of the variable's own dtype, as CF has it
        dataset.attrs[key] = np.array(value, variable.dtype) if isinstance(value, list) else value
    if variable.values is not None:
        dataset[...] = variable.values
    for start, part in variable.parts() if variable.parts else ():
        dataset[start : start + len(part)] = part


def create_features(
    file: h5py.File, stored: Stored, length: int, fill_value: float | None = None
) -> h5py.Dataset:
    """A dataset for the features of so many windows."""
    return file.create_dataset(
        "features",
        (length, *stored.shape[1:]),
        stored.encoding.dtype,
        chunks=(min(stored.chunk, length), *stored.shape[1:]),
        fletcher32=True,
        fillvalue=fill_value,
    )


def replace_virtual(file: h5py.File, stored: Stored) -> h5py.Dataset:
    """A dataset for all features in place of the virtual one, with its attributes and scales."""
    attrs = {key: value for key, value in file["features"].attrs.items() if key not in HIDDEN}
    dims = tuple(dim.label for dim in file["features"].dims)
    for dim in file["features"].dims:
        for scale in list(dim.values()):
            dim.detach_scale(scale)
    del file["features"]
    features = create_features(file, stored, stored.shape[0])
    features.attrs.update(attrs)
    features.attrs["region"] = stored.shape[0]
    _attach(file, "features", dims)
    return features


def variables_of(file: h5py.File) -> dict[str, Variable]:
    """The variables of a master, without their values and what HDF5 keeps as attributes."""
    return {
        name: Variable(
            tuple(dim.label for dim in dataset.dims),
            dataset.shape,
            dataset.dtype,
            {key: _plain(value) for key, value in dataset.attrs.items() if key not in OWN},
        )
        for name, dataset in file.items()
        if not _is_bare(dataset)
    }


def _plain(value: Any) -> Any:
    """A value of an attribute as Zarr has it."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def values_of(file: h5py.File, name: str, start: int, stop: int | None) -> Array | None:
    """Values of a variable; None if there is none of that name."""
    if name not in file or _is_bare(file[name]):
        return None
    dataset = file[name]
    text = dataset.dtype == object
    values = dataset.asstr() if text else dataset
    return np.asarray(values[start:stop] if dataset.shape else values[()])


def _attach_scales(file: h5py.File, dims: Mapping[str, tuple[str, ...]]) -> None:
    """Name the dimensions of datasets, and attach the coordinates that belong to them.

    netCDF looks for a dimension under its name: one that has no coordinate there gets a
    dataset without values. Dimension `recording` cannot have that, for a variable has its
    name; `source`, which goes along it, stands for it.
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
        scale = "source" if dim == "recording" else dim
        if name != scale:
            file[name].dims[axis].attach_scale(file[scale])


def _is_bare(dataset: h5py.Dataset) -> bool:
    """Whether it is the name of a dimension, and no variable."""
    return bytes(dataset.attrs.get("NAME", b"")).startswith(BARE.encode())


class _DeferringFile(FileIO):
    """A file that takes all that is written, and tells afterwards what the system refused.

    If the system refuses what HDF5 writes as it closes a file, as on a disk that is full or
    gone, HDF5 crashes the process, at the latest when that ends.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, "w+" if mode == "w" else mode)
        self._error: OSError | None = None
        self._lost: list[tuple[int, bytes]] = []  # where it belongs, and what

    def check(self) -> None:
        """Raise what the system has refused, if anything."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence == SEEK_END:
            ends = (start + len(data) for start, data in self._lost)
            offset += max(super().seek(0, SEEK_END), *ends, 0)
        return super().seek(offset)

    def readinto(self, buffer: Any) -> int:
        at, view, found = self.tell(), memoryview(buffer).cast("B"), 0
        while some := super().readinto(view[found:]):
            found += some
        view[found:] = bytes(len(view) - found)
        for start, data in self._lost:
            first, last = max(start, at), min(start + len(data), at + len(view))
            if first < last:
                view[first - at : last - at] = data[first - start : last - start]
        return len(view)

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = self._error or error
            self._lost.append((self.tell(), bytes(rest)))
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0


@contextmanager
def written(
    path: Path, mode: str, **options: Any
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open an HDF5 file to write to, with a function that raises what was refused so far."""
    import h5py

    with _DeferringFile(path, mode) as deferring:
        with h5py.File(deferring, mode, **options) as file:
            yield file, deferring.check
        deferring.check()
