"""HDF5 files to write to: what the system refuses is an error, and not a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import SEEK_END, SEEK_SET, FileIO
from pathlib import Path
from typing import Any

import h5py


class _DeferringFile(FileIO):
    """A file that takes all that is written, and tells afterwards what the system refused.

    HDF5 crashes the process, when that ends at the latest, if the system refuses what is
    written as a file is closed: its disk is full, or gone.
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
    with _DeferringFile(path, mode) as deferring:
        with h5py.File(deferring, mode, **options) as file:
            yield file, deferring.check
        deferring.check()
