"""Remote files: read as files are, by ranges that are kept for a while."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from typing import Any

from pipeline.paths.remote import AnyPath, RemotePath, Version

# A header is in the first; the rest is asked for in pieces that last for some
# blocks of audio, which are kept for the next block, and shared by threads.
FIRST, PIECE, KEPT = 1 << 16, 1 << 20, 64
KEPT_BYTES = KEPT * PIECE


class RemoteFile(io.RawIOBase):
    """A remote file, open for reading.

    Parameters
    ----------
    path : RemotePath
        What to read; it is refused if it changes meanwhile.

    """

    def __init__(self, path: RemotePath) -> None:
        self._failure: tuple[Any, ...] | None = None
        self._path, self._place = path, 0
        self._status = path.stat()

    @property
    def error(self) -> OSError | None:
        """What reading has failed with: libraries that call back from C swallow it.

        A new one each time, for what is raised holds on to all that was open then.
        """
        return None if self._failure is None else OSError(*self._failure)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._status.st_size}
        self._place = max(0, start[whence] + offset)
        return self._place

    def readinto(self, buffer: object) -> int:
        view, size = memoryview(buffer).cast("B"), self._status.st_size  # type: ignore[arg-type]
        if self._place >= size or not len(view):
            return 0
        low, high = _span(self._place)
        try:
            piece = _piece(self._path, low, min(high, size), self._status.version)
        except OSError as error:
            args = error.args if error.filename is None else (*error.args[:2], error.filename)
            self._failure = args
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
    """Open a file that is read to its end; a remote one by one request, which holds all of it."""
    return io.BytesIO(path.read_bytes()) if isinstance(path, RemotePath) else open(path, "rb")


def _span(place: int) -> tuple[int, int]:
    """The piece that a byte is in."""
    if place < FIRST:
        return 0, FIRST
    start = place // PIECE * PIECE
    return max(FIRST, start), start + PIECE


@lru_cache(maxsize=KEPT)
def _piece(path: RemotePath, start: int, stop: int, version: Version) -> bytes:
    return path.read_span(start, stop, version)
