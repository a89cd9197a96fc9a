"""Ranges of remote files: read as files are, in pieces that are kept for a while."""

import io
import os
from concurrent.futures import Executor
from functools import lru_cache, partial
from typing import Any

from pipeline.paths.buckets import EndedError
from pipeline.paths.remote import AnyPath, RemotePath, Version

# Bytes of the first piece, which holds a header, and of the others, which hold some blocks of
# audio; and how many pieces are kept, for all threads.
FIRST, PIECE, KEPT = 1 << 16, 1 << 20, 64
KEPT_BYTES = KEPT * PIECE
PART = 1 << 21  # bytes, at least, that are worth a request of their own


class RemoteFile(io.RawIOBase):
    """A remote file, open for reading; once it has changed, that fails."""

    def __init__(self, path: RemotePath) -> None:
        self._failure: tuple[Any, ...] | None = None
        self._path, self._place = path, 0
        self._status = path.stat()

    @property
    def error(self) -> OSError | None:
        """The error of reading, which libraries in C swallow.

        It is made anew each time: one that was raised keeps all alive that was open then.
        """
        return None if self._failure is None else OSError(*self._failure)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = max(0, (0, self._place, self._status.st_size)[whence] + offset)
        return self._place

    def readinto(self, buffer: object) -> int:
        view, size = memoryview(buffer).cast("B"), self._status.st_size  # type: ignore[arg-type]
        if self._place >= size or not len(view):
            return 0
        start = self._place // PIECE * PIECE
        low, high = (max(FIRST, start), start + PIECE) if self._place >= FIRST else (0, FIRST)
        try:
            piece = _piece(self._path, low, min(high, size), self._status.version)
        except OSError as error:
            named = error.filename is not None
            self._failure = (*error.args[:2], error.filename) if named else error.args
            raise
        part = piece[self._place - low : self._place - low + len(view)]
        view[: len(part)] = part
        self._place += len(part)
        return len(part)


def open_binary(path: AnyPath) -> io.BufferedReader:
    """Open a file for reading."""
    if isinstance(path, RemotePath):
        return io.BufferedReader(RemoteFile(path), FIRST)
    return open(path, "rb")


def open_whole(path: AnyPath) -> io.BufferedIOBase:
    """Open a file to be read to its end; a remote one is held in memory, by one request."""
    return io.BytesIO(path.read_bytes()) if isinstance(path, RemotePath) else open(path, "rb")


def read_parts(path: RemotePath, size: int, pool: Executor) -> list[memoryview]:
    """All of an object, by several requests at once, as it may be each that is slow.

    It is of about this size: the last part goes to its end, wherever that is. Parts of
    different versions are no whole; then it is read again, by one request.
    """
    starts = range(0, size - PART + 1, PART)
    if len(starts) < 2:
        return [path.read_whole()]
    read = partial(_read_part, path)
    found = [part for part in pool.map(read, starts, [*starts[1:], None]) if part]
    if len({version for _, version in found}) != 1:
        return [path.read_whole()]
    return [data for data, _ in found]


def _read_part(path: RemotePath, start: int, stop: int | None) -> tuple[memoryview, Version] | None:
    """A part, and its version; None if the object ends before."""
    try:
        return path.read_part(start, stop)
    except EndedError:
        return None


@lru_cache(maxsize=KEPT)
def _piece(path: RemotePath, start: int, stop: int, version: Version) -> bytes:
    return path.read_span(start, stop, version)
