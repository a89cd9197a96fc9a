"""Memory: how a process that computes gets it from the system."""

from __future__ import annotations

import ctypes
import math
import mmap
import weakref
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Recycled", "keep_freed_memory"]

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


class _Watched(np.ndarray[Any, Any]):
    """An array that tells when it, and all that show a part of it, are gone."""


class Recycled:
    """Makes arrays of the memory of those that it made before and nobody uses any more.

    There is as much of it as was in use at one time.
    """

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """As `numpy.empty`."""
        size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = _mapped(size)
        if len(memory) < size:
            memory = _mapped(size)
        # Views refer to what they are views of as long as that is of another class than they.
        watched = _Watched(size, np.uint8, memory)
        weakref.finalize(watched, self._free.append, memory).atexit = False
        return np.ndarray(shape, dtype, watched)

    def __reduce__(self) -> tuple[type[Recycled], tuple[()]]:
        return Recycled, ()  # each process has its own


def _mapped(size: int) -> mmap.mmap:
    # Not shared with processes that are forked, as it would be by itself.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # another system
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
