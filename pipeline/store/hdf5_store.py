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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.paths import (
    StoredFile,
    aside_of,
    flush,
    in_place,
    put_in_place,
    remove,
    stored_file,
    sweep,
    walk,
)
from pipeline.record import SameJob
from pipeline.store.encoding import Array, Encoding
from pipeline.store.hdf5_files import (
    Stored,
    add_variables,
    create_features,
    fill_master,
    remove_variables,
    values_of,
    variables_of,
    written,
)
from pipeline.store.schema import Attachment, Contents, Variable
from pipeline.store.store import Holds, Region, Store

MASTER = "master"
OPEN_PARTS = 64
PART = re.compile(r"[0-9a-f]{8}-(\d{8,15})\.h5")


class Hdf5Store(Store):
    """Reads and writes an HDF5 store at `path`; h5py is loaded where a file is opened."""

    path: Path
    record_folder: Path
    written_last = root = MASTER

    def __init__(self, path: Path, parts: Path | None = None, job: SameJob | None = None) -> None:
        self.path, self.job = path, job
        self.parts = parts or path.with_name(path.name + ".parts")
        self.record_folder = self.parts / ".record"
        self._handles: OrderedDict[int, Any] = OrderedDict()  # of parts that are open
        self._reading: dict[int, Lock] = {}  # of a process: one that is forked has its own

    def exists(self) -> bool:
        return self.path.exists() or next(self.parts.glob("*.h5"), None) is not None

    @contextmanager
    def creating(self, contents: Contents) -> Iterator[Hdf5Store]:
        if next(walk(self.parts, {self.record_folder}), None) is not None:
            raise ValueError(
                f"{self.parts} exists, but not the store that it belongs to; remove it, or pass "
                f"another path"
            )
        remove(self.record_folder)  # of a job that was killed in here
        self.parts.mkdir(exist_ok=True)
        try:
            with self.remaking(contents) as made:
                yield made
        except BaseException:
            remove(self.parts)
            raise

    @contextmanager
    def remaking(self, contents: Contents) -> Iterator[Hdf5Store]:
        job, regions = contents.attrs["fingerprint"], range(contents.layout.n_regions)
        parts = [f"{self.parts.name}/{_part_name(job, region)}" for region in regions]
        with put_in_place(self.path) as aside:
            with written(aside, "w") as (file, _):
                fill_master(file, contents, parts)
            yield Hdf5Store(aside, self.parts)
        self.__dict__.pop("stored", None)

    def remove(self) -> None:
        aside = aside_of(self.path)
        if self.parts.exists():
            os.replace(self.parts, aside)  # killed in the middle, it is gone all the same
        remove(self.path)
        remove(aside)

    def sweep(self) -> None:
        sweep(self.path.parent, self.path.name)
        sweep(self.parts)

    def attrs(self) -> dict[str, Any]:
        with _open(self.path) as file:
            # Numbers come as those of NumPy, which JSON does not know.
            return {
                key: value.item() if isinstance(value, np.generic) else value
                for key, value in file.attrs.items()
            }

    def variables(self) -> dict[str, Variable]:
        with _open(self.path) as file:
            return variables_of(file)

    def axes(self) -> dict[str, str]:
        with _open(self.path) as file:
            _, *names = (dim.label for dim in file["features"].dims)
            return {name: str(file[name].attrs["units"]) for name in names}

    def units(self) -> str:
        with _open(self.path) as file:
            return str(file["features"].attrs["units"])

    def files(self) -> Iterator[str]:
        if self.path.exists():
            yield MASTER
        yield from walk(self.parts, {self.record_folder})

    def small_files(self) -> Iterator[str]:
        yield MASTER

    def locate(self, name: str) -> Path:
        return self.path if name == MASTER else self.parts / name

    def owns(self, name: str) -> bool:
        return name != MASTER

    def in_place(self, layout: Layout, regions: npt.NDArray[np.bool_]) -> Holds:
        return partial(in_place, self.locate)

    def windows_of(self, name: str, layout: Layout) -> tuple[int, int] | None:
        found = PART.fullmatch(name)
        region = int(found[1]) if found else layout.n_regions
        return layout.bounds(region) if region < layout.n_regions else None

    def file_of(self, window: int) -> str:
        if self.packed:
            return MASTER
        return _part_name(self.stored.fingerprint, window // self.stored.region)

    def fill(self, name: str, start: int, values: Array) -> None:
        with written(self.path, "r+") as (file, _):
            file[name][start : start + len(values)] = values

    def get(self, name: str, start: int = 0, stop: int | None = None) -> Array | None:
        with _open(self.path) as file:
            return values_of(file, name, start, stop)

    @contextmanager
    def region(self, start: int, stop: int) -> Iterator[Region]:
        part = self.locate(self.file_of(start))
        with put_in_place(part) as aside, written(aside, "w", libver="latest") as (file, check):
            features = create_features(file, self.stored, stop - start, self.encoding.fill_value)

            def write(first: int, block: Array) -> None:
                features[first - start : first - start + len(block)] = block
                check()

            files: list[StoredFile] = []
            yield Region(write, files)
        files.append(stored_file(part, part.name))

    @contextmanager
    def finishing(self) -> Iterator[Hdf5Store]:
        with put_in_place(self.path) as aside:
            shutil.copyfile(self.path, aside)
            yield Hdf5Store(aside, self.parts)

    @contextmanager
    def attaching(self, attachment: Attachment) -> Iterator[list[StoredFile]]:
        with put_in_place(self.path) as aside:
            shutil.copyfile(self.path, aside)
            with written(aside, "r+") as (file, _):
                remove_variables(file, {*attachment.variables, *attachment.dropped})
                add_variables(file, attachment.variables)
                file.attrs.update(attachment.attrs)
                if attachment.coordinates is not None:
                    file["features"].attrs["coordinates"] = attachment.coordinates
            flush([aside])
            yield [stored_file(aside, MASTER)]

    def mark(self) -> object:
        status = self.path.stat()  # the master may be large
        return status.st_ino, status.st_mtime_ns, status.st_size

    def is_renamed(self) -> bool:
        # Other programs find the parts by the names that the master has of them.
        if self.stored.packed:
            return False
        with _open(self.path) as file:
            named = {Path(part.file_name).parent for part in file["features"].virtual_sources()}
        return named != {Path(self.parts.name)}

    def check(self) -> None:
        # Of a part that is missing, HDF5 would read fill value.
        stored = self.stored
        if self.is_renamed():
            raise FileNotFoundError(
                f"{self.path} was renamed, and other programs do not find its parts; verify "
                f"--repair and extract again name them anew, or rename it back"
            )
        for start in range(0, 0 if stored.packed else stored.shape[0], stored.region):
            part = self.locate(self.file_of(start))
            if not part.exists():
                raise FileNotFoundError(
                    f"{self.path} shows windows {start} to "
                    f"{min(start + stored.region, stored.shape[0]) - 1} out of {part}, which is "
                    f"missing; move the two together, or run extract again"
                )

    def _read(self, windows: npt.NDArray[np.int64], empty: Callable[..., Array]) -> Array:
        length = self.stored.region
        result = empty((len(windows), *self.stored.shape[1:]), self.encoding.dtype)
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
        return result

    @property
    def shard(self) -> int:
        return self.stored.shard

    @property
    def encoding(self) -> Encoding:
        return self.stored.encoding

    @property
    def packed(self) -> bool:
        # That of a job never is, which need not open a master that may be damaged.
        return not self.record_folder.exists() and self.stored.packed

    @cached_property
    def stored(self) -> Stored:
        """How the features are stored."""
        with _open(self.path) as file:
            return Stored.read(file)

    def _part(self, number: int) -> Any:
        """The features of a part, which stays open for a while."""
        handles = self._handles
        while number not in handles:
            try:
                handles[number] = _open(self.locate(self.file_of(number * self.stored.region)))
            except OSError as error:
                if error.errno != errno.EMFILE or not handles:
                    raise
                handles.popitem(last=False)[1].close()
        handles.move_to_end(number)
        if len(handles) > OPEN_PARTS:
            handles.popitem(last=False)[1].close()
        return handles[number]["features"]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "parts": self.parts, "job": self.job}


def _open(path: Path) -> Any:
    import h5py

    return h5py.File(path, "r")


def _part_name(fingerprint: str, region: int) -> str:
    return f"{fingerprint[:8]}-{region:08d}.h5"
