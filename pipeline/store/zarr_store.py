"""The store as a Zarr group in a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.layout import Layout
from pipeline.paths import aside_of, put_in_place, put_lines, remove, sweep, walk
from pipeline.store.schema import Variable
from pipeline.store.shards import Piece
from pipeline.store.zarr_group import METADATA, ZarrGroup, create_group

AT_ONCE, PIECE = 16, 4096  # files whose sizes are asked for, of a file system that may be far


class ZarrStore(ZarrGroup[Path]):
    """Reads and writes a Zarr store at `path`; see `pipeline.store.store.Store`."""

    def zarr_store(self) -> Path:
        """The group, as zarr knows it."""
        return self.path

    def exists(self) -> bool:
        """Whether anything of it is there."""
        return self.path.exists()

    @contextmanager
    def creating(
        self, layout: Layout, variables: Mapping[str, Variable], attrs: Mapping[str, Any]
    ) -> Iterator[ZarrStore]:
        """Make the store aside; it appears at `path`, whole, when the block ends."""
        with put_in_place(self.path) as aside, _quiet_failure(aside):
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
            names = [*made.files()]
            for name in names:
                self.locate(name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(made.locate(name), self.locate(name))
            for name in {*self.small_files()} - {*names}:  # of `valid`, which is filled at the end
                self.locate(name).unlink()
        finally:
            remove(aside)

    def remove(self) -> None:
        """Remove the store."""
        aside = aside_of(self.path)
        os.replace(self.path, aside)  # killed in the middle, it is gone all the same
        remove(aside)

    def sweep(self) -> None:
        """Remove what killed writers have left beside the store and in it."""
        sweep(self.path.parent, self.path.name)
        sweep(self.path)

    def files(self) -> Iterator[str]:
        """Names of all files of the store, but for those of the record."""
        return walk(self.path, {self.record_folder})

    def small_files(self) -> Iterator[str]:
        """Names of the files that hold no features."""
        yield "zarr.json"
        for name in self.names():
            names = [METADATA] if name == "features" else walk(self.path / name, set())
            yield from (f"{name}/{file}" for file in names if (self.path / name).is_dir())

    def sizes(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
        """Names and sizes of the files of the store that are wanted."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for some in _by(PIECE, filter(wanted, self.files())):
                yield from zip(some, pool.map(self._size, some), strict=True)

    def _size(self, name: str) -> int:
        try:
            return self.locate(name).stat().st_size
        except FileNotFoundError:  # removed since it was listed
            return -1

    def put(self, name: str, pieces: list[Piece]) -> None:
        """Put a file in place, whole."""
        path = self.locate(name)
        put_lines(path, pieces, beside=path.parent)

    @contextmanager
    def finishing(self) -> Iterator[ZarrStore]:
        """Fill `valid`, which is not read before the job is finished."""
        for left in (self.path / "valid").rglob("*.partial"):
            left.unlink()
        yield self


def _by(number: int, names: Iterator[str]) -> Iterator[list[str]]:
    while some := [*islice(names, number)]:
        yield some


@contextmanager
def _quiet_failure(aside: Path) -> Iterator[None]:
    """Let one error speak for all: zarr writes several files at a time.

    What else was under way in a folder fails when that is removed, and asyncio would
    report it whenever the garbage collector finds it.
    """

    def matters(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, OSError) and str(aside) in str(error.filename))

    try:
        yield
    except OSError:
        logging.getLogger("asyncio").addFilter(matters)
        raise
