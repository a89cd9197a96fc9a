"""Reading ahead: the next batches while a loop works, in order or out of whole shards."""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, tee
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from pipeline.process import aligned
from pipeline.training.order import Indices, Order

Batch = tuple[Any, ...]  # X and y, which may be None; and what was annotated, if asked for
Read = Callable[[Indices], Batch]
_loops = WeakSet[Generator[Batch, None, None]]()


def read_ahead(
    pool: ThreadPoolExecutor, read: Read, most: int, n_bytes: int, wanted: Iterable[Indices]
) -> Iterator[Batch]:
    """What `read` gives for each of what is wanted; the next are read as the caller works.

    Up to `most` are read ahead, or as many as have so many bytes; at least one.
    """
    waiting: deque[Future[Batch]] = deque()
    ahead = 1
    for places in wanted:
        waiting.append(pool.submit(read, places))
        if len(waiting) > ahead:
            batch = waiting.popleft().result()
            ahead = max(1, min(n_bytes // max(1, batch[0].nbytes), most))
            yield batch
    while waiting:
        yield waiting.popleft().result()


def mixed(
    read: Callable[[Iterable[Indices]], Iterator[Batch]],
    order: Order,
    parts: Iterable[tuple[int, int]],
    start: int,
    stop: int,
) -> Iterator[Batch]:
    """The batches of parts of an order, where each mixture of shards is read at once, and sorted.

    The parts go from one place in the order to another, without gaps.
    """
    ends = chain(order.mixtures(start), [(order.count, stop)])  # what pads it comes last
    places = (order.places(max(a, start), min(b, stop)) for a, b in ends)
    sorting = ((some, np.argsort(order.at(some), kind="stable")) for some in places if len(some))
    wanted, known = tee(sorting)
    whole = zip(known, read(some[rows] for some, rows in wanted), strict=True)
    batch, rows = Batch(), np.empty(0, np.int64)
    for a, b in parts:
        pieces, missing = list[Batch](), len(order.places(a, b))
        while missing:
            if not len(rows):
                (_, sorted_rows), batch = next(whole)
                rows = np.argsort(sorted_rows, kind="stable")
            pieces.append(_part(batch, rows[:missing]))
            rows, missing = rows[missing:], missing - len(rows[:missing])
        yield tuple(
            None if items[0] is None else _joined(items) for items in zip(*pieces, strict=True)
        )


def closed_at_exit(loop: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
    """A loop that ends with the program, before the modules go that its threads end by."""
    _loops.add(loop)
    return loop


@atexit.register
def _close_loops() -> None:
    for loop in [*_loops]:
        with suppress(ValueError):  # a thread is still within it
            loop.close()


def spans(start: int, stop: int, length: int) -> Iterator[tuple[int, int]]:
    """Parts of a stretch, of one length but for the last."""
    return ((a, min(a + length, stop)) for a in range(start, stop, length))


def split(batch: Batch, batch_size: int | None) -> Iterator[Batch]:
    """Batches out of several at once, or single windows; copies, so that none keeps the others."""
    n, size = len(batch[0]), batch_size or 1
    if not n and batch_size is None:
        return
    if n <= size:
        yield batch if batch_size else _part(batch, 0)
        return
    for a in range(0, n, size):
        part = slice(a, a + size) if batch_size else a
        yield tuple(None if item is None else _copied(item) for item in _part(batch, part))


def _copied(item: Any) -> Any:
    """An array of its own, or the number that it is."""
    if not item.shape:
        return item.copy()
    made = aligned(item.shape, item.dtype)
    made[...] = item
    return made


def _joined(items: tuple[npt.NDArray[Any], ...]) -> npt.NDArray[Any]:
    made = aligned((sum(map(len, items)), *items[0].shape[1:]), items[0].dtype)
    return np.concatenate(items, out=made)


def _part(batch: Batch, part: slice | int | Indices) -> Batch:
    return tuple(None if item is None else item[part] for item in batch)
