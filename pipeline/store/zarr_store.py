"""The store as a Zarr group in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from pipeline.paths import aside_of, put_in_place, put_lines, remove, sweep, walk
from pipeline.store.checksums import Piece
from pipeline.store.schema import Contents
from pipeline.store.zarr_group import ZarrGroup

# How many sizes are asked for at a time, of a file system that may be far away; out of how
# many names that are held.
THREADS, LISTED = 16, 4096


class ZarrStore(ZarrGroup[Path]):
    """Reads and writes a Zarr store at `path`."""

    def zarr_store(self) -> Path:
        return self.path

    def exists(self) -> bool:
        return self.path.exists()

    @contextmanager
    def creating(self, contents: Contents) -> Iterator[ZarrStore]:
        with put_in_place(self.path) as aside:
            made = ZarrStore(aside)
            made.create_group(contents)
            yield made

    @contextmanager
    def remaking(self, contents: Contents) -> Iterator[ZarrStore]:
        made = ZarrStore(aside_of(self.path))
        try:
            made.create_group(contents)
            yield made
            names = [*made.files()]
            for name in names:
                self.locate(name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(made.locate(name), self.locate(name))
            for name in {*self.small_files()} - {*names}:  # of `valid`, which is filled at the end
                self.locate(name).unlink()
        finally:
            remove(made.path)

    def remove(self) -> None:
        aside = aside_of(self.path)
        os.replace(self.path, aside)  # killed in the middle, it is gone all the same
        remove(aside)

    def sweep(self) -> None:
        sweep(self.path.parent, self.path.name)
        sweep(self.path)
        for left in (self.path / "valid").rglob("*.partial"):  # by zarr
            left.unlink()

    def names_below(self, name: str) -> Iterator[str]:
        return walk(self.path / name, set())

    def sizes(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
        names = filter(wanted, self.files())
        with ThreadPoolExecutor(THREADS) as pool:
            while some := [*islice(names, LISTED)]:
                yield from zip(some, pool.map(self._size, some), strict=True)

    def _size(self, name: str) -> int:
        try:
            return self.locate(name).stat().st_size
        except FileNotFoundError:  # removed since it was listed
            return -1

    def put(self, name: str, pieces: list[Piece]) -> None:
        path = self.locate(name)
        if name.startswith("features/c"):  # a shard
            put_lines(path, pieces, beside=path.parent)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # In a finished store, what a killed process has left would be damage.
        put_lines(path, pieces, beside=self.path)
