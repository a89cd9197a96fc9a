"""HDF5 files to write to: what the system refuses is an error, and not a crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class _Patient:
    """A file that takes whatever it is given, and tells afterwards what could not be written.

    HDF5 crashes the process, when that ends at the latest, if the system
    refuses what is written as a file is closed: its disk is full, or gone.
    """

    def __init__(self, path: Path, new: bool) -> None:
        flags = os.O_RDWR | (os.O_CREAT | os.O_TRUNC if new else 0)
        self._handle, self._at = os.open(path, flags, 0o666), 0
        self._error: OSError | None = None
        self._lost: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise what the system has refused, if anything."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        os.close(self._handle)
        self._handle = -1  # the number may be that of another file soon

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        if whence == os.SEEK_END:
            ends = (start + len(data) for start, data in self._lost)
            offset += max([os.fstat(self._handle).st_size, *ends])
        self._at = offset

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytearray:
        found = bytearray(os.pread(self._handle, size, self._at).ljust(size, b"\0"))
        for start, data in self._lost:
            first, last = max(start, self._at), min(start + len(data), self._at + size)
            if first < last:
                found[first - self._at : last - self._at] = data[first - start : last - start]
        return found

    def write(self, data: bytearray) -> None:
        at, rest = self._at, memoryview(data)
        try:
            while rest:
                length = os.pwrite(self._handle, rest, at)
                at, rest = at + length, rest[length:]
        except OSError as error:
            self._refused(error)
            self._lost.append((at, bytes(rest)))

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._handle, size)
        except OSError as error:
            self._refused(error)

    def flush(self) -> None:
        """There is nothing here that is not written yet."""

    def _refused(self, error: OSError) -> None:
        self._error = self._error or error


@contextmanager
def written(
    path: Path, mode: str, **options: Any
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open an HDF5 file to write to, with a function that raises what was refused so far.

    Raises
    ------
    OSError
        If the system refuses to open it or, when the block ends, has refused
        any of what was written.
    """
    patient = _Patient(path, mode == "w")
    try:
        with h5py.File(patient, mode, **options) as file:
            yield file, patient.check
        patient.check()
    finally:
        patient.close()
