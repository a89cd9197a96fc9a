"""Ogg pages (RFC 3533, section 6): which are damaged or missing, as decoders do not say."""

import zlib
from collections.abc import Iterator
from functools import lru_cache
from struct import unpack_from
from typing import BinaryIO

import numpy as np

from pipeline.paths import AnyPath, open_binary

AHEAD = 1 << 20  # bytes read at a time
PAGE_HEADER, BEGINS = 27, 2  # bytes before the table of segments; the flag of a first page


@lru_cache(maxsize=256)
def find_gaps(path: AnyPath, size: int, modified: int) -> tuple[tuple[int, int, int], ...]:
    """Where pages are damaged or missing; remembered by size and time of change.

    Of each gap, the last granule position (sample, of Opus at 48 kHz) before it, the first
    behind it, and the next after that.
    """
    never = int(np.iinfo(np.int64).max) // 48000
    ends: list[tuple[int, bool]] = []  # granule position, and if all is whole since the last
    whole = True
    for granule, follows, begins in _pages(path):
        if begins and any(granule > 0 for granule, _ in ends):  # another recording is joined on
            whole = False
            break
        whole = whole and follows
        if granule >= 0:
            ends.append((granule, whole))
            whole = True
    ends += [(never, whole), (never, True)]
    before = [0, *(granule for granule, _ in ends)]
    return tuple(
        (before[i], granule, ends[i + 1][0])
        for i, (granule, whole) in enumerate(ends[:-1])
        if not whole
    )


def begins_whole(path: AnyPath) -> bool:
    """Whether no page is damaged or missing up to the first with audio."""
    for granule, follows, _ in _pages(path):
        if not follows or granule > 0:
            return follows
    return False


def last_granule(path: AnyPath) -> int:
    """The highest granule position of all whole pages."""
    return max((granule for granule, _, _ in _pages(path)), default=0)


def granules_joined(path: AnyPath) -> int:
    """Granules of the recordings that were joined to the first; 0 if there is only one.

    To see that there is only one, the first page and the last are enough.
    """
    with open_binary(path) as file:
        first = file.read(PAGE_HEADER)
        file.seek(max(0, path.stat().st_size - AHEAD))
        end = file.read()
    last = end[end.rfind(b"OggS") :]
    if len(last) < PAGE_HEADER or last[14:18] == first[14:18]:
        return 0
    ends = [0]
    for granule, _, begins in _pages(path):
        if begins and ends[-1] > 0:
            ends.append(0)
        ends[-1] = max(ends[-1], granule)
    return sum(ends[1:])


def _pages(path: AnyPath) -> Iterator[tuple[int, bool, bool]]:
    """Of each page: its granule position, whether it follows the one before, or begins a stream.

    The position of a damaged one is -1.
    """
    expected = None
    with open_binary(path) as file:
        data = _Ahead(file)
        while data.find(b"OggS") and len(data.peek(PAGE_HEADER)) == PAGE_HEADER:
            fields = unpack_from("<BqIIIB", data.peek(PAGE_HEADER), 5)
            kind, granule, _, number, checksum, segments = fields
            table = data.peek(PAGE_HEADER + segments)[PAGE_HEADER:]
            length = PAGE_HEADER + segments + sum(table)
            page = bytearray(data.peek(length))
            page[22:26] = bytes(4)
            if len(table) < segments or len(page) < length or _checksum(page) != checksum:
                data.skip(4)
                yield -1, False, False
            else:
                data.skip(length)
                yield granule, expected in (None, number), bool(kind & BEGINS)
                expected = number + 1


class _Ahead:
    """A file that is read ahead, so that one can peek and search in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._data, self._place = file, b"", 0

    def peek(self, n: int) -> bytes:
        """The next n bytes, fewer at the end of the file."""
        if len(self._data) - self._place < n:
            self._data = self._data[self._place :] + self._file.read(max(n, AHEAD))
            self._place = 0
        return self._data[self._place : self._place + n]

    def skip(self, n: int) -> None:
        """Go on by n bytes, which were peeked at."""
        self._place += n

    def find(self, mark: bytes) -> bool:
        """Go on to the next place with these bytes, if there is one."""
        while len(self.peek(len(mark))) == len(mark):
            place = self._data.find(mark, self._place)
            if place >= 0:
                self._place = place
                return True
            self._place = len(self._data) - len(mark) + 1
        return False


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _checksum(page: bytearray) -> int:
    """The checksum of Ogg: that of zlib with all bits in the other order."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
