"""BLAS: one thread of it for each of ours, which would fight over the cores otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import threadpool_limits

__all__ = ["one_blas_thread", "one_blas_thread_for_good"]

_lock = Lock()
_limits: list[Any] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread in this process, until the last such block ends."""
    with _lock:
        _limits.append(threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            # The first limit alone knows how many threads there were before.
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()


@cache
def one_blas_thread_for_good() -> None:
    """Keep BLAS to one thread in this process, until it ends."""
    threadpool_limits(1, user_api="blas")
