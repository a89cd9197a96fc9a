"""Memory: how a process that computes gets it from the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

__all__ = ["keep_freed_memory"]

# Of glibc, as its mallopt(3) names them, and as high as it lets them grow by itself.
M_TRIM_THRESHOLD, TRIM = -1, 64 * 1024**2
M_MMAP_THRESHOLD, MMAP = -3, 32 * 1024**2


@cache
def keep_freed_memory() -> None:
    """Let this process use again what it has freed.

    A process gives memory back to the system at first, and Dask has its workers always
    do so. Each block of features would then be made of fresh pages, which costs as much
    as computing it.
    """
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, MMAP)
        library.mallopt(M_TRIM_THRESHOLD, TRIM)
