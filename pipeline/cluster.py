"""cluster.yaml: from the name of an engine to an executor that runs tasks on it."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits

from pipeline.config import load_yaml, reject_unknown

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Cluster", "Engine", "check_manager", "load_cluster", "one_blas_thread", "started"]

T = TypeVar("T")

# Importing a module runs it, so a YAML file may name only these packages.
PACKAGES = ("dask", "distributed", "dask_jobqueue", "dask_kubernetes", "dask_gateway")
THREADS_SECONDS = 1.0  # how long the scheduler's answer is used
IN_FLIGHT = 2  # tasks for each thread: one that runs, one that waits
# When a worker dies, they log that tasks failed which are in fact tried again; what
# becomes of them, the job says itself. Up to which level they are not listened to:
QUIET = {
    "distributed.scheduler": logging.ERROR,
    "distributed.client": logging.ERROR,
    "distributed.nanny": logging.WARNING,
}


@dataclass(frozen=True)
class Cluster:
    """One entry of cluster.yaml; one of `threads`, `manager` and `address` is given.

    Parameters
    ----------
    name : str
        Of the entry.
    threads : int, optional
        Run in this process, on so many threads.
    manager : str, optional
        Full name of a Dask cluster class.
    options : dict
        Keyword arguments of the class.
    scale : int, optional
        Number of workers to start.
    adapt : dict, optional
        Keyword arguments of the cluster's ``adapt``.
    address : str, optional
        Of a running scheduler.
    """

    name: str = "threads"
    threads: int | None = None
    manager: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    scale: int | None = None
    adapt: dict[str, Any] | None = None
    address: str | None = None

    @property
    def threads_per_worker(self) -> int:
        """Threads that share the memory of one process, as far as the entry says."""
        if self.threads is not None:
            return self.threads
        found = self.options.get("threads_per_worker") or self.options.get("cores") or 1
        return found if isinstance(found, int) else 1


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
    """

    submit: Callable[..., Future[Any]]
    slots: Callable[[], int]
    deaths: Callable[[BaseException], int] = lambda error: 0
    dashboard: str | None = None


def load_cluster(where: str | os.PathLike[str] | None) -> Cluster:
    """Read an entry of a cluster file.

    Parameters
    ----------
    where : str or path, optional
        ``cluster.yaml`` or ``cluster.yaml:NAME``. Threads of this process if
        not given.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file or entry, or a key is not known.
    """
    if where is None:
        return Cluster(threads=_cores())
    path, name = Path(where), None
    if not path.exists() and ":" in os.fspath(where):
        file, _, name = os.fspath(where).rpartition(":")
        path = Path(file)
    values = load_yaml(path)
    reject_unknown(values, ("default", "clusters"), f"key of {path}")
    entries = values.get("clusters")
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path} names no clusters; list them under 'clusters:'")
    name = name or values.get("default", "threads")
    reject_unknown([name], entries, f"cluster of {path}")
    try:
        return _parse(name, entries[name])
    except ValueError as error:
        raise ValueError(f"{path}: cluster {name!r}: {error}") from None


def _parse(name: str, entry: object) -> Cluster:
    if not isinstance(entry, dict):
        raise ValueError("it is empty; give threads, class or address")
    reject_unknown(entry, ("threads", "class", "options", "scale", "adapt", "address"), "key")
    kinds = [key for key in ("threads", "class", "address") if key in entry]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none"
        raise ValueError(f"{given} of threads, class and address is given; give exactly one")
    if kinds != ["class"] and (extra := entry.keys() - kinds):
        raise ValueError(f"{', '.join(sorted(extra))} goes with class, not with {kinds[0]}")
    if "scale" in entry and "adapt" in entry:
        raise ValueError("both scale and adapt are given; give one of them")
    threads = entry.get("threads")
    if threads == "auto":
        threads = _cores()
    for key, number in (("threads", threads), ("scale", entry.get("scale"))):
        whole = isinstance(number, int) and not isinstance(number, bool)
        if number is not None and not (whole and number >= 1):
            raise ValueError(f"{key} is {number!r}; it must be a whole number of at least 1")
    for key in ("options", "adapt"):
        if key in entry and not isinstance(entry[key], dict):
            raise ValueError(f"{key} is {entry[key]!r}; it must be names and values")
    for key in ("class", "address"):
        if key in entry and not isinstance(entry[key], str):
            raise ValueError(f"{key} is {entry[key]!r}; it must be text")
    return Cluster(
        name,
        threads,
        entry.get("class"),
        entry.get("options", {}),
        entry.get("scale"),
        entry.get("adapt"),
        entry.get("address"),
    )


@contextmanager
def started(cluster: Cluster) -> Iterator[Engine]:
    """Start what an entry describes, and end it with the block.

    Raises
    ------
    ValueError
        If the class is not a Dask cluster manager, or refuses its options.
    ConnectionError
        If there is no scheduler at the address.
    """
    with ExitStack() as stack:
        if cluster.threads is not None:
            yield _threads(cluster.threads, stack)
        else:
            yield _distributed(cluster, stack)


def _threads(number: int, stack: ExitStack) -> Engine:
    # Every thread computes a region of its own: BLAS threads would fight them.
    stack.enter_context(one_blas_thread())
    executor: Executor = ThreadPoolExecutor(number, thread_name_prefix="region")
    stack.callback(executor.shutdown, cancel_futures=True)
    return Engine(executor.submit, lambda: IN_FLIGHT * number)


def _distributed(cluster: Cluster, stack: ExitStack) -> Engine:
    import dask
    from distributed import Client, KilledWorker

    for name, level in QUIET.items():
        stack.enter_context(_quiet(logging.getLogger(name), level))
    if cluster.manager is not None:
        # Whether a task whose worker died is tried again is decided here, not there.
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}), _deaf_children():
            manager = stack.enter_context(_start_manager(cluster))
        if cluster.adapt is not None:
            manager.adapt(**cluster.adapt)
        else:
            # One that takes longer to come back would be given up, and nothing replace it.
            stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}))
        if cluster.scale is not None:
            manager.scale(cluster.scale)
        client = stack.enter_context(Client(manager, set_as_default=False))
        client.register_worker_callbacks(_quiet_worker)
    else:
        try:
            client = stack.enter_context(
                Client(cluster.address, timeout="10s", set_as_default=False)
            )
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"no Dask scheduler answers at {cluster.address} ({error}); start one with "
                f"'dask scheduler', or give the address of one that runs"
            ) from None
    # Interrupted in here, distributed would log an error of its own: a thread is not.
    asker = stack.enter_context(ThreadPoolExecutor(1))
    expected = max(cluster.scale or 0, (cluster.adapt or {}).get("maximum") or 0, 1)

    def submit(function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        remote = client.submit(_on_worker, function, *arguments, pure=False)
        remote.add_done_callback(partial(_pass_on, future))
        return future

    threads, asked = 0, 0.0

    def slots() -> int:
        nonlocal threads, asked
        if time.monotonic() - asked > THREADS_SECONDS or not threads:
            threads, asked = asker.submit(_threads_of, client).result(), time.monotonic()
        return IN_FLIGHT * max(expected, threads)

    def deaths(error: BaseException) -> int:
        return error.allowed_failures + 1 if isinstance(error, KilledWorker) else 0

    return Engine(submit, slots, deaths, client.dashboard_link)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Let threads begun in the block, and processes that they ever start, not hear Ctrl-C.

    A terminal sends it to every process of the job, but it is the client that
    ends the workers; each would report, as an error, that it was interrupted.
    """
    resource_tracker.ensure_running()  # whichever thread started it would hear again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def check_manager(cluster: Cluster) -> None:
    """Refuse a class that is not a Dask cluster manager, without starting it.

    Raises
    ------
    ValueError
        If it is not one, or cannot be imported.
    """
    if cluster.manager is not None:
        _manager(cluster)


def _start_manager(cluster: Cluster) -> Any:
    try:
        return _manager(cluster)(**cluster.options)
    except (TypeError, RuntimeError, OSError) as error:
        cause = error.__cause__ or error
        raise ValueError(
            f"cluster {cluster.name!r}: {cluster.manager} does not start with its options: "
            f"{cause}; mend them in the cluster file"
        ) from None


def _manager(cluster: Cluster) -> Any:
    from distributed.deploy.cluster import Cluster as Manager

    module, _, attribute = (cluster.manager or "").rpartition(".")
    found: Any = None
    if module.partition(".")[0] in PACKAGES:
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except ImportError as error:
            raise ValueError(
                f"cluster {cluster.name!r}: {cluster.manager} cannot be imported ({error}); "
                f"install the package that has it"
            ) from None
    if not (isinstance(found, type) and issubclass(found, Manager)):
        raise ValueError(
            f"cluster {cluster.name!r}: {cluster.manager} is not a Dask cluster manager; give the "
            f"full name of one, such as dask.distributed.LocalCluster"
        )
    return found


def _threads_of(client: Client) -> int:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sum(worker["nthreads"] for worker in workers.values())


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread in this process, until the last such block ends."""
    with _blas_lock:
        _blas_limits.append(threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _blas_lock:
            # The first limit alone knows how many threads there were before.
            limit = _blas_limits.pop()
            if not _blas_limits:
                limit.restore_original_limits()


def _pass_on(future: Future[T], remote: Any) -> None:
    """End a future as Dask's ends.

    Its own executor never ends one whose result was lost with a worker, and
    whose next worker died, too.
    """
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(remote.result())
        except BaseException as error:
            future.set_exception(error)


def _on_worker(function: Callable[..., T], *arguments: Any) -> T:
    _one_blas_thread()
    return function(*arguments)


_blas_lock = Lock()
_blas_limits: list[Any] = []


@cache
def _one_blas_thread() -> None:
    threadpool_limits(1, user_api="blas")


def _quiet_worker(dask_worker: Any) -> None:
    """Let a worker speak of its memory only: of the rest, it is closed with work left to do."""
    if dask_worker.nanny is not None:  # else it is in the client's process
        logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
        logging.getLogger("distributed.worker.memory").setLevel(logging.WARNING)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
