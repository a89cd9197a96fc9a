"""The store as a Zarr group in a folder."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore

from pipeline.files import (
    StoredFile,
    aside_of,
    in_place,
    put_in_place,
    remove,
    stored_file,
    sweep,
    walk,
)
from pipeline.layout import NAMES, Layout, Variable
from pipeline.shards import Shards
from pipeline.zarr_group import ZarrGroup, check_block, create_group

__all__ = ["ZarrStore"]

Array = npt.NDArray[Any]


class ZarrStore(ZarrGroup[Path]):
    """Reads and writes a Zarr store at `path`; see `pipeline.store.Store`."""

    def zarr_store(self) -> Path:
        """The group, as zarr knows it."""
        return self.path

    def kvstore(self) -> dict[str, Any]:
        """The features, as tensorstore knows them."""
        return {"driver": "file", "path": os.fspath(self.path / "features")}

    def exists(self) -> bool:
        """Whether anything of it is there."""
        return self.path.exists()

    @contextmanager
    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[ZarrStore]:
        """Make the store aside; it appears at `path`, whole, when the block ends."""
        with put_in_place(self.path) as aside, _quiet_failure():
            create_group(aside, layout, variables, attrs)
            yield ZarrStore(aside)

    @contextmanager
    def remaking(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[ZarrStore]:
        """Make all but the regions and the record again; it takes its place when the block ends."""
        aside = aside_of(self.path)
        try:
            create_group(aside, layout, variables, attrs)
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

    def in_place(self, layout: Layout) -> Callable[[tuple[StoredFile, ...]], bool]:
        """Tells whether files are where, and as long as, they were when they were recorded."""
        return partial(in_place, self.locate)

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

    def read(self, windows: npt.NDArray[np.int64]) -> Array:
        """Features of windows, in the order asked for, as a new array."""
        return super().read(windows) if self._shards is None else self._shards.read(windows)

    @cached_property
    def _shards(self) -> Shards | None:
        return Shards.of(self.path / "features")


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
        check_block(self._store.features, self._store.shard, start, block)
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
