"""The engine: an entry of cluster.yaml, started, to which tasks are submitted."""

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from pipeline.cluster.capacity import Capacity
from pipeline.cluster.connection import connect
from pipeline.cluster.entry import Cluster
from pipeline.process import keep_freed_memory, one_blas_thread

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


class Engine(ABC):
    """Something that runs tasks."""

    @abstractmethod
    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run a function, on whatever thread or worker is free next."""

    @abstractmethod
    def slots(self) -> int:
        """How many tasks to keep submitted, so that no thread or worker waits for one."""

    def deaths(self, error: BaseException) -> int:
        """How many workers died, one after the other, for a task to raise this error."""
        return 0

    def workers(self) -> dict[str, Capacity]:
        """The processes that now are workers, by address; none where this process is all.

        Waits for the first of them, as `everywhere` does.
        """
        return {}

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """What a function returns or raises on each process that now is a worker, by address."""
        return {}


class ThreadEngine(Engine):
    """Threads of this process."""

    def __init__(self, number: int, stack: ExitStack) -> None:
        # Every thread computes a region of its own: BLAS threads would fight them.
        stack.enter_context(one_blas_thread())
        keep_freed_memory()
        self._number = number
        self._executor = ThreadPoolExecutor(number, thread_name_prefix="region")
        stack.callback(self._executor.shutdown, cancel_futures=True)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        return self._executor.submit(function, *arguments)

    def slots(self) -> int:
        return IN_FLIGHT * self._number


class DaskEngine(Engine):
    """Workers of Dask's, in a cluster that is started for the job, or runs already."""

    def __init__(
        self, cluster: Cluster, notice: Notice, report: Path | None, stack: ExitStack
    ) -> None:
        from distributed import performance_report

        from pipeline.cluster.workers import Watch

        for name, level in QUIET.items():
            _quiet(logging.getLogger(name), level, stack)
        self._promised = _Promised()
        self._client = client = connect(cluster, stack, notice, self._promised.end)
        self._is_own = cluster.manager is not None  # else its workers are of others, too
        if self._is_own:
            client.register_worker_callbacks(_quiet_worker)
        self._most_workers = cluster.most_workers
        self._watch = stack.enter_context(Watch(client, notice))
        if find_spec("bokeh") is not None:
            notice(f"dashboard: {client.dashboard_link}")
        if report is not None:
            stack.enter_context(client.as_current())
            stack.enter_context(performance_report(os.fspath(report)))

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        return self._submit(_on_worker, self._is_own, function, *arguments)

    def _submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = self._promised.new()
        remote = self._client.submit(function, *arguments, pure=False)
        remote.add_done_callback(partial(_pass_on, future))
        return future

    def slots(self) -> int:
        threads = self._watch.threads()
        return IN_FLIGHT * int(max(threads, min(self._most_workers, threads + TO_COME)))

    def deaths(self, error: BaseException) -> int:
        from distributed import KilledWorker

        return error.allowed_failures + 1 if isinstance(error, KilledWorker) else 0

    def workers(self) -> dict[str, Capacity]:
        while not (found := self._watch.workers()):
            self._promised.check()
            time.sleep(LOOK)
        return found

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        self._wait_for_worker()
        found: dict[str, Any] = self._client.run(function, *arguments, on_error="return")
        return found

    def _wait_for_worker(self) -> None:
        """Wait until there is a worker that does something, if only what every Python can."""
        from distributed import KilledWorker

        for _ in range(FIRST):
            with suppress(KilledWorker):  # the next one may live
                self._submit(os.getpid).result()
                return
        raise ValueError(
            f"{FIRST} workers have died, one after the other, before they did anything; their own "
            f"logs may say why; allow them more memory, or other nodes"
        )


@contextmanager
def started(
    cluster: Cluster, notice: Notice = lambda _: None, report: Path | None = None
) -> Iterator[Engine]:
    """Start what an entry describes, and end it with the block.

    `notice` is called with a sentence for people: where the dashboard is, that there are no
    workers. `report` is where Dask's performance report is written to. An entry that will not
    do is a ValueError, a scheduler or cluster that cannot be reached a ConnectionError.
    """
    check_report(cluster, report)
    with ExitStack() as stack:
        if cluster.threads is not None:
            yield ThreadEngine(cluster.threads, stack)
        else:
            yield DaskEngine(cluster, notice, report, stack)


def check_report(cluster: Cluster, report: Path | None) -> None:
    """Refuse a performance report of threads, without bokeh, or in a folder that is not there."""
    if report is None:
        return
    if cluster.threads is not None:
        raise ValueError(
            "a performance report is of Dask's workers, and threads are none; pass --cluster "
            "with another entry, such as cluster.yaml:local"
        )
    if find_spec("bokeh") is None:
        raise ValueError(
            "a performance report is drawn by the package bokeh, which is not installed; install "
            "dask-audio-pipeline[dashboard]"
        )
    if not report.absolute().parent.is_dir():
        raise ValueError(f"{report} cannot be written, for its folder is not there; make it")


def _quiet(logger: logging.Logger, level: int, stack: ExitStack) -> None:
    """Drop what a logger itself, none below it, says up to a level, until `stack` ends that."""

    def matters(record: logging.LogRecord) -> bool:
        return record.levelno > level

    logger.addFilter(matters)
    stack.callback(logger.removeFilter, matters)


class _Promised:
    """Futures that are waited for; when no worker will come, all end with the reason."""

    def __init__(self) -> None:
        self._futures: set[Future[Any]] = set()
        self._error: Exception | None = None
        self._lock = Lock()

    def new(self) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
            if self._error is not None:
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


def _pass_on(future: Future[T], remote: Any) -> None:
    """End a future as Dask's ends.

    Its own executor never ends one whose result was lost with a worker, and
    whose next worker died, too.
    """
    try:
        end = partial(future.set_result, remote.result())
    except BaseException as error:
        end = partial(future.set_exception, error)
    with suppress(InvalidStateError):  # it was cancelled, or has ended with all others
        end()


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
