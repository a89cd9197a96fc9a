"""Resources: cores, BLAS threads, and memory that is used again."""

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

# Parameters of glibc's mallopt(3), and the highest values that it would choose by itself.
M_TRIM_THRESHOLD, TRIM = -1, 64 * 1024**2
M_MMAP_THRESHOLD, MMAP = -3, 32 * 1024**2
ALIGNMENT = 64  # bytes, as XLA wants it to take an array of NumPy without a copy


@cache
def boot() -> str:
    """A name of this host's run since it was started; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:  # another system
        return ""


def cores() -> int:
    """Cores that this process may use."""
    from dask.system import cpu_count

    return cpu_count()


class _Blas:
    """Keeps BLAS to one thread as long as any caller has entered and not left.

    Only the thread that sets a limit may lift it (threadpoolctl): so a thread of its own sets
    it for the first that enters, waits for the last to leave, and lifts it.
    """

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        """Begin anew in a forked process, which has no threads that could have entered."""
        self._lock, self._within = Lock(), 0

    def enter(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                begun, self._ended = Event(), Event()
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
        # A new module may have brought another library of BLAS.
        with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
            begun.set()
            ended.wait()
    finally:
        begun.set()


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """The libraries of BLAS; to find them takes as long as the features of a few windows."""
    return ThreadpoolController()


_blas = _Blas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blas.forked)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread until all such blocks have ended.

    Our own threads compute side by side, and those of BLAS would compete with them. As the
    number holds for the whole process, the caller's own work has one thread meanwhile, too.
    """
    _blas.enter()
    try:
        yield
    finally:
        _blas.leave()


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, and use it again.

    It would give it back to the system, as Dask has its workers do. Each block of features
    would then lie in fresh pages, which cost as much as computing it.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, MMAP)
        library.mallopt(M_TRIM_THRESHOLD, TRIM)


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As `numpy.empty`, beginning at a multiple of `ALIGNMENT`."""
    if np.dtype(dtype).hasobject:  # which bytes cannot hold
        return np.empty(shape, dtype)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.ctypes.data % ALIGNMENT)


class _Watched(np.ndarray[Any, Any]):
    """An array that lives as long as any view of it, for a finalizer to watch."""


class Recycled:
    """Makes arrays in the memory of earlier ones that nobody uses any more.

    It holds as much memory as was ever in use at one time.
    """

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """As `numpy.empty`, beginning at a page of memory."""
        size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        memory = None
        with suppress(IndexError):
            memory = self._free.pop()
        if memory is None or len(memory) < size:
            memory = _mapped(size)
        # A view of a plain array would refer to that array's own base, past the one watched.
        watched = _Watched(size, np.uint8, memory)
        weakref.finalize(watched, self._free.append, memory).atexit = False
        return np.ndarray(shape, dtype, watched)

    def __reduce__(self) -> tuple[type[Recycled], tuple[()]]:
        return Recycled, ()  # each process has its own


def _mapped(size: int) -> mmap.mmap:
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows, which does not fork either
        return mmap.mmap(-1, size)
    # A forked process gets a copy: by default it would share the memory.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # another system
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
