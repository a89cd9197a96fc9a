"""The engine: an entry of cluster.yaml, started, to which tasks are submitted."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.cluster.capacity import Capacity
from pipeline.cluster.connection import connect
from pipeline.cluster.entry import Cluster
from pipeline.process import keep_freed_memory, one_blas_thread

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
Notice = Callable[[str], None]

IN_FLIGHT = 2  # tasks for each thread: one that runs, one that waits
TO_COME = 100  # workers that may come before a task ends
LOOK = 0.05  # seconds between two looks for the first worker
FIRST = 10  # workers that may die before one lives
# When a worker dies, they log that tasks failed which are in fact tried again; what
# becomes of them, the job says itself. Up to which level they are not listened to:
QUIET = {
    "distributed.scheduler": logging.ERROR,
    "distributed.client": logging.ERROR,
    "distributed.nanny": logging.WARNING,
    # A handshake that an interrupt has broken off; one that cannot succeed ends the connection.
    "distributed.comm.tcp": logging.WARNING,
}


@dataclass(frozen=True)
class Engine:
    """Something that runs tasks.

    Attributes
    ----------
    submit : callable
        ``submit(function, *arguments)`` gives a `concurrent.futures.Future`.
    slots : callable
        How many tasks to keep submitted, so that no worker waits for one.
    deaths : callable
        How many workers died, one after the other, for a task to raise this error.
    dashboard : str or None
        Address of Dask's dashboard, where there is one.
    everywhere : callable or None
        ``everywhere(function, *arguments)`` gives what it returns or raises on each of the
        processes that now are workers, by their addresses; it waits for one if there is none.
        None where this process is all.
    workers : callable
        The processes that now are workers, by their addresses; it waits for one if there is
        none. None of them where this process is all.
    """

    submit: Callable[..., Future[Any]]
    slots: Callable[[], int]
    deaths: Callable[[BaseException], int] = lambda error: 0
    dashboard: str | None = None
    everywhere: Callable[..., dict[str, Any]] | None = None
    workers: Callable[[], dict[str, Capacity]] = dict


@contextmanager
def started(
    cluster: Cluster, notice: Notice = lambda _: None, report: Path | None = None
) -> Iterator[Engine]:
    """Start what an entry describes, and end it with the block.

    Parameters
    ----------
    cluster : Cluster
        The entry.
    notice : callable
        Called with a sentence for people: where the dashboard is, that there are no workers.
    report : path, optional
        File that Dask's performance report is written to.

    Raises
    ------
    ValueError
        If the class is not a Dask cluster manager, or refuses its options.
    ConnectionError
        If there is no scheduler at the address.
    StartError
        If the cluster does not start.
    """
    check_report(cluster, report)
    with ExitStack() as stack:
        if cluster.threads is not None:
            yield _threads(cluster.threads, stack)
        else:
            yield _distributed(cluster, notice, report, stack)


def check_report(cluster: Cluster, report: Path | None) -> None:
    """Refuse a performance report that cannot be had.

    Raises
    ------
    ValueError
        If the engine is threads, what draws it is not installed, or there is no such folder.
    """
    if report is None:
        return
    if cluster.threads is not None:
        raise ValueError(
            "a performance report is of Dask's workers, and threads are none; give --cluster "
            "with another entry, such as cluster.yaml:local"
        )
    if find_spec("bokeh") is None:
        raise ValueError(
            "a performance report is drawn by the package bokeh, which is not installed; install "
            "dask-audio-pipeline[dashboard]"
        )
    if not report.absolute().parent.is_dir():
        raise ValueError(f"{report} cannot be written, for its folder is not there; make it")


def _threads(number: int, stack: ExitStack) -> Engine:
    # Every thread computes a region of its own: BLAS threads would fight them.
    stack.enter_context(one_blas_thread())
    keep_freed_memory()
    executor: Executor = ThreadPoolExecutor(number, thread_name_prefix="region")
    stack.callback(executor.shutdown, cancel_futures=True)
    return Engine(executor.submit, lambda: IN_FLIGHT * number)


def _distributed(cluster: Cluster, notice: Notice, report: Path | None, stack: ExitStack) -> Engine:
    from distributed import KilledWorker, performance_report

    from pipeline.cluster.workers import Watch

    for name, level in QUIET.items():
        stack.enter_context(_quiet(logging.getLogger(name), level))
    promised = _Promised()
    client = connect(cluster, stack, notice, promised.end)
    if cluster.manager is not None:  # else its workers are of others, too
        client.register_worker_callbacks(_quiet_worker)
    watch = stack.enter_context(Watch(client, notice))
    if find_spec("bokeh") is not None:
        notice(f"dashboard: {client.dashboard_link}")
    if report is not None:
        stack.enter_context(client.as_current())
        stack.enter_context(performance_report(os.fspath(report)))

    own = cluster.manager is not None

    def submit(function: Callable[..., T], *arguments: Any) -> Future[T]:
        return _submit(client, promised, _on_worker, own, function, *arguments)

    def everywhere(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        _wait_for_worker(client, promised)
        found: dict[str, Any] = client.run(function, *arguments, on_error="return")
        return found

    def workers() -> dict[str, Capacity]:
        while not (found := watch.workers()):
            promised.check()
            time.sleep(LOOK)
        return found

    def slots() -> int:
        threads = watch.threads()
        return IN_FLIGHT * int(max(threads, min(cluster.most_workers, threads + TO_COME)))

    def deaths(error: BaseException) -> int:
        return error.allowed_failures + 1 if isinstance(error, KilledWorker) else 0

    return Engine(submit, slots, deaths, client.dashboard_link, everywhere, workers)


@contextmanager
def _quiet(logger: logging.Logger, level: int) -> Iterator[None]:
    """Drop what a logger itself, none below it, says up to a level."""

    def matters(record: logging.LogRecord) -> bool:
        return record.levelno > level

    logger.addFilter(matters)
    try:
        yield
    finally:
        logger.removeFilter(matters)


class _Promised:
    """Futures whose results are waited for, which all end when no worker will come."""

    def __init__(self) -> None:
        self._futures: set[Future[Any]] = set()
        self._error: Exception | None = None
        self._lock = Lock()

    def new(self) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._error is None:
                self._futures.add(future)
                future.add_done_callback(self._futures.discard)
            else:
                future.set_exception(self._error)
        return future

    def check(self) -> None:
        """Raise why no worker will come, if so."""
        if self._error is not None:
            raise self._error

    def end(self, error: Exception) -> None:
        with self._lock:
            self._error, futures = error, list(self._futures)
        for future in futures:
            with suppress(InvalidStateError):  # its result has just come
                future.set_exception(error)


def _submit(
    client: Client, promised: _Promised, function: Callable[..., T], *arguments: Any
) -> Future[T]:
    future: Future[T] = promised.new()
    remote = client.submit(function, *arguments, pure=False)
    remote.add_done_callback(partial(_pass_on, future))
    return future


def _wait_for_worker(client: Client, promised: _Promised) -> None:
    """Wait until there is a worker that does something, if only what every Python can."""
    from distributed import KilledWorker

    for _ in range(FIRST):
        try:
            _submit(client, promised, os.getpid).result()
            return
        except KilledWorker:  # the next one may live
            continue
    raise ValueError(
        f"{FIRST} workers have died, one after the other, before they did anything; their own logs "
        f"may say why; give them more memory, or other nodes"
    )


def _pass_on(future: Future[T], remote: Any) -> None:
    """End a future as Dask's ends.

    Its own executor never ends one whose result was lost with a worker, and
    whose next worker died, too.
    """
    try:
        result, error = remote.result(), None
    except BaseException as raised:
        result, error = None, raised
    with suppress(InvalidStateError):  # it was cancelled, or has ended with all others
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _on_worker(own: bool, function: Callable[..., T], *arguments: Any) -> T:
    """Run a task on a worker, of which nothing is changed for good if it is of others, too."""
    if own:
        keep_freed_memory()
    with one_blas_thread():
        return function(*arguments)


def _quiet_worker(dask_worker: Any) -> None:
    """Let a worker speak of its memory only: of the rest, it is closed with work left to do."""
    if dask_worker.nanny is not None:  # else it is in the client's process
        logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
        logging.getLogger("distributed.comm.tcp").setLevel(logging.ERROR)
        logging.getLogger("distributed.worker.memory").setLevel(logging.WARNING)
