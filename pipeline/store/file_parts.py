"""Parts of the files of features, on a disk, in a bucket, or of what was received whole."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from pipeline.paths import RemotePath
from pipeline.store.checksums import CHECKSUM_BYTES, Bytes, checksum_bytes
from pipeline.store.encoding import Array

NOTHING = np.empty(0, np.uint8)
# Without O_BINARY, Windows opens files as text.
READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class Received:
    """A file that was received whole, in parts, which stay where they are: a copy costs time."""

    def __init__(self, parts: Sequence[memoryview]) -> None:
        self._parts = [np.frombuffer(part, np.uint8) for part in parts]
        self._ends = [*accumulate(map(len, self._parts))]

    def __len__(self) -> int:
        return self._ends[-1]

    def cut(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Bytes start to stop - 1, or as many of them as there are."""
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, stop)
        pieces = []
        for part, end in zip(self._parts[first : last + 1], self._ends[first:], strict=False):
            begin = end - len(part)
            pieces.append(part[max(0, start - begin) : stop - begin])
        return pieces[0] if len(pieces) == 1 else np.concatenate([*pieces, NOTHING])


File = int | RemotePath | Received  # open on a disk, or where it is, or all of it


@contextmanager
def opened(path: str | RemotePath) -> Iterator[File]:
    """A file on a disk, open for as long as it is read; what is elsewhere, as it is."""
    if isinstance(path, RemotePath):
        yield path
        return
    file = os.open(path, READ)
    try:
        yield file
    finally:
        os.close(file)


def read_end(file: File, size: int) -> Bytes:
    """The last bytes of a file."""
    if isinstance(file, RemotePath):
        return file.read_end(size)
    if isinstance(file, Received):
        return file.cut(max(0, len(file) - size), len(file))
    buffer = np.empty(size, np.uint8)
    _read_at(file, os.fstat(file).st_size - size, buffer)
    return buffer


def read_spans(file: File, spans: list[tuple[int, int]]) -> Iterator[Bytes]:
    """Parts of a file, each of which is there until the next is asked for."""
    if isinstance(file, RemotePath):
        parts = file.read_spans(spans) if spans else ()
        yield from (np.frombuffer(part, np.uint8) for part in parts)
        return
    if isinstance(file, Received):
        yield from (file.cut(start, stop) for start, stop in spans)
        return
    buffer = np.empty(max((stop - start for start, stop in spans), default=0), np.uint8)
    for start, stop in spans:
        part = buffer[: stop - start]
        _read_at(file, start, part)
        yield part


def read_plain(file: int, spans: list[tuple[int, int]], results: list[Array]) -> None:
    """Parts of a file that are numbers and their checksum, right to where they go."""
    checksum = np.empty(CHECKSUM_BYTES, np.uint8)
    for (start, stop), result in zip(spans, results, strict=True):
        if stop - start != result.nbytes + CHECKSUM_BYTES:
            raise ValueError("the file was cut off")
        _read_at(file, start, result.reshape(-1).view(np.uint8), checksum)
        if checksum_bytes(result) != checksum.tobytes():
            raise ValueError("the checksum does not fit")


def _read_at(file: int, offset: int, *buffers: npt.NDArray[np.uint8]) -> None:
    """Fill buffers, one after the other, with what is in a file from an offset on."""
    if offset < 0:
        raise ValueError("the file was cut off")
    place = offset
    if hasattr(os, "preadv"):
        place += os.preadv(file, [buffer.data for buffer in buffers], offset)
    for buffer in buffers:  # a network file system may give less than was asked for
        end = offset + len(buffer)
        while place < end:
            os.lseek(file, place, os.SEEK_SET)
            piece = os.read(file, end - place)
            if not piece:
                raise ValueError("the file was cut off")
            buffer[place - offset : place - offset + len(piece)] = np.frombuffer(piece, np.uint8)
            place += len(piece)
        offset = end
