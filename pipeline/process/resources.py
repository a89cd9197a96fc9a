"""The process that we run in: its cores, its BLAS threads, and how it gets memory."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

# Of glibc, as its mallopt(3) names them, and as high as it lets them grow by itself.
M_TRIM_THRESHOLD, TRIM = -1, 64 * 1024**2
M_MMAP_THRESHOLD, MMAP = -3, 32 * 1024**2


@cache
def boot() -> str:
    """By what this host's running, since it was last started, is told from others; or nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:  # another system
        return ""


def cores() -> int:
    """Cores that this process may use, as far as the system limits them."""
    from dask.system import cpu_count

    return cpu_count()


class _Blas:
    """Has one thread as long as anything that computes is within."""

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        """Nothing is within in a process that was forked: threads do not go with it."""
        self._lock, self._within = Lock(), 0

    def enter(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                begun, self._ended = Event(), Event()
                # Only the thread that has set a limit may lift it, says threadpoolctl.
                self._keeper = Thread(target=_limit, args=(begun, self._ended), daemon=True)
                self._keeper.start()
                begun.wait()

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._ended.set()
                self._keeper.join()


def _limit(begun: Event, ended: Event) -> None:
    try:
        # A library of BLAS comes with a module that needs it.
        with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
            begun.set()
            ended.wait()
    finally:
        begun.set()


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Those of BLAS; to look for them takes as long as the features of a few windows."""
    return ThreadpoolController()


_blas = _Blas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blas.forked)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread until all such blocks have ended.

    For threads of ours that compute side by side: those of BLAS would fight them. It has
    one number of threads for all of the process, so the caller's own work has one meanwhile.
    """
    _blas.enter()
    try:
        yield
    finally:
        _blas.leave()


@cache
def keep_freed_memory() -> None:
    """Let this process use again what it has freed.

    A process gives memory back to the system at first, and Dask has its workers always
    do so. Each block of features would then be made of fresh pages, which costs as much
    as computing it.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library
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
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # another system, which does not fork either
        return mmap.mmap(-1, size)
    # Not shared with processes that are forked, as it would be by itself.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # another system
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
