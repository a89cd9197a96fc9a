"""Ogg pages: what of a file is damaged or missing, which its decoders do not say."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from struct import unpack_from

import numpy as np

__all__ = ["begins_whole", "find_gaps", "last_granule"]


@lru_cache(maxsize=256)
def find_gaps(path: str, size: int, modified: int) -> tuple[tuple[int, int, int], ...]:
    """Where pages are damaged or missing.

    Parameters
    ----------
    path : str
        Of an Ogg file.
    size, modified : int
        Bytes and time of change, by which an earlier answer is known again.

    Returns
    -------
    tuple of (int, int, int)
        The granule positions between which something is lost, the last before
        a gap and the first behind it; and the next position after these.

    Notes
    -----
    Pages are as in RFC 3533, section 6.
    """
    never = int(np.iinfo(np.int64).max) // 48000
    ends: list[tuple[int, bool]] = []  # granule position, and if all is whole since the last
    whole = True
    for granule, follows in _pages(path):
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


def begins_whole(path: str) -> bool:
    """Whether nothing is damaged or missing up to the first page that ends in audio."""
    for granule, follows in _pages(path):
        if not follows or granule > 0:
            return follows
    return False


def last_granule(path: str) -> int:
    """The highest granule position of a page that is whole."""
    return max((granule for granule, _ in _pages(path)), default=0)


def _pages(path: str) -> Iterator[tuple[int, bool]]:
    """Granule position of each page, and whether it follows the one before; -1 of damage."""
    expected = None
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        place = data.find(b"OggS")
        while 0 <= place <= len(data) - 27:
            granule, _, number, checksum, segments = unpack_from("<qIIIB", data, place + 6)
            end = place + 27 + segments + sum(data[place + 27 : place + 27 + segments])
            page = bytearray(data[place:end])
            page[22:26] = bytes(4)
            if len(page) < end - place or _checksum(page) != checksum:
                end = place + 4
                yield -1, False
            else:
                yield granule, expected in (None, number)
                expected = number + 1
            place = data.find(b"OggS", end)


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _checksum(page: bytearray) -> int:
    """The checksum of Ogg: that of zlib with all bits in the other order."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
