"""Ogg pages: what of a file is damaged or missing, which its decoders do not say."""

from __future__ import annotations

import zlib
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from struct import unpack_from

import numpy as np

__all__ = ["find_gaps"]


@lru_cache(maxsize=256)
def find_gaps(path: str, size: int, modified: int) -> tuple[tuple[int, int], ...]:
    """Where pages are damaged or missing.

    Parameters
    ----------
    path : str
        Of an Ogg file.
    size, modified : int
        Bytes and time of change, by which an earlier answer is known again.

    Returns
    -------
    tuple of (int, int)
        The granule positions between which something is lost: the last before
        a gap, and the first behind it.

    Notes
    -----
    Pages are as in RFC 3533, section 6.
    """
    gaps, good, whole, expected = [], 0, True, None
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        place = data.find(b"OggS")
        while 0 <= place <= len(data) - 27:
            granule, _, number, checksum, segments = unpack_from("<qIIIB", data, place + 6)
            end = place + 27 + segments + sum(data[place + 27 : place + 27 + segments])
            page = bytearray(data[place:end])
            page[22:26] = bytes(4)
            if len(page) < end - place or _checksum(page) != checksum:
                whole, end = False, place + 4
            else:
                whole = whole and expected in (None, number)
                expected = number + 1
                if granule >= 0:
                    if not whole:
                        gaps.append((good, granule))
                    good, whole = granule, True
            place = data.find(b"OggS", end)
    if not whole:
        gaps.append((good, np.iinfo(np.int64).max // 48000))
    return tuple(gaps)


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _checksum(page: bytearray) -> int:
    """The checksum of Ogg: that of zlib with all bits in the other order."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
