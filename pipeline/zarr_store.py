"""The store as a Zarr group in a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.files import (
    StoredFile,
    aside_of,
    in_place,
    put_in_place,
    put_lines,
    remove,
    sweep,
    walk,
)
from pipeline.layout import NAMES, Layout, Variable
from pipeline.shards import Piece
from pipeline.zarr_group import ZarrGroup, create_group

__all__ = ["ZarrStore"]


class ZarrStore(ZarrGroup[Path]):
    """Reads and writes a Zarr store at `path`; see `pipeline.store.Store`."""

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

    def put(self, name: str, pieces: list[Piece]) -> None:
        """Put a file in place, whole."""
        path = self.locate(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        put_lines(path, pieces, beside=self.path)

    @contextmanager
    def finishing(self) -> Iterator[ZarrStore]:
        """Fill `valid`, which is not read before the job is finished."""
        for left in (self.path / "valid").rglob("*.partial"):
            left.unlink()
        yield self


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
