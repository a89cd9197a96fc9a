"""Capacity: threads and memory of the workers of an entry, before any is started."""

import math
from dataclasses import dataclass
from typing import Any

import dask
from dask.system import CPU_COUNT
from dask.utils import parse_bytes

from pipeline.cluster.entry import Cluster
from pipeline.cluster.managers import find_manager, make_job
from pipeline.process import memory_limit

PAUSE = 0.8  # of its memory, at which a worker of Dask begins nothing more, by default


@dataclass(frozen=True)
class Capacity:
    """The threads and the memory of one process that computes."""

    threads: int = 1  # that share its memory
    memory: int | None = None  # bytes that it may use, if that is known
    limit: str = ""  # who says so, and how much, for people
    remedy: str = ""  # what to do for more

    def check(self, needed: int) -> None:
        """Refuse, by a MemoryError, what needs more bytes than there are."""
        if self.memory is not None and needed > self.memory:
            need = "1 thread needs" if self.threads == 1 else f"{self.threads} threads need"
            raise MemoryError(
                f"{need} {_gigabytes(needed)}, but {self.limit}; {self.remedy}, or make "
                f"the window or the feature smaller"
            )


def capacity_of(cluster: Cluster) -> Capacity:
    """What each worker of an entry will have, as far as the entry says."""
    if cluster.threads is not None:
        most = memory_limit()
        limit = f"{most.words} {_gigabytes(most.n_bytes)}"
        remedy = "run on fewer threads, or where there is more memory"
        return Capacity(cluster.threads, most.n_bytes, limit, remedy)
    if cluster.manager is None:
        return Capacity()
    manager, name = find_manager(cluster), f"each worker of cluster {cluster.name!r}"
    if manager.kind == "local":
        return _local(cluster, name)
    if manager.kind == "jobqueue":
        job = make_job(cluster.options, manager)
        memory, threads = job.worker_memory // job.worker_processes, job.worker_process_threads
        return dask_worker(threads, memory, name, "raise memory, or lower processes")
    options = cluster.options.get("worker_options", cluster.options)
    return dask_worker(
        options.get("nthreads") or options.get("threads_per_worker") or 1,
        _bytes_of(options.get("memory_limit"), 1),
        name,
        "raise memory_limit, or lower nthreads",
    )


def dask_worker(threads: int, memory: int | None, name: str, remedy: str) -> Capacity:
    """What a worker of Dask has, which pauses before its memory is used up."""
    if not memory:
        return Capacity(threads)
    fraction = dask.config.get("distributed.worker.memory.pause", PAUSE) or 1
    limit = f"{name} has {_gigabytes(memory)}, and is paused at {100 * fraction:.0f} % of that"
    return Capacity(threads, int(memory * fraction), limit, remedy)


def _local(cluster: Cluster, name: str) -> Capacity:
    """As `distributed.LocalCluster` shares out the machine."""
    processes = cluster.options.get("processes") is not False
    number, threads = _local_workers(cluster.options, processes)
    share = 1 / number if number else threads / CPU_COUNT
    memory = _bytes_of(cluster.options.get("memory_limit", "auto"), min(1, share))
    if not processes:  # all of them are in this one
        number, threads = 1, threads * max(1, number)
    worker = dask_worker(threads, memory, name, "raise memory_limit, or lower threads_per_worker")
    scaled = processes and (cluster.scale is not None or cluster.adapt is not None)
    if scaled and math.isfinite(cluster.most_workers):
        number = int(cluster.most_workers)
    number = max(1, number)
    most = memory_limit()
    if worker.memory is not None and worker.memory * number <= most.n_bytes:
        return worker
    shared = f" for {number} workers" if number > 1 else ""
    limit = f"{most.words} {_gigabytes(most.n_bytes)}{shared}"
    return Capacity(threads, most.n_bytes // number, limit, "start fewer workers or threads")


def _local_workers(options: dict[str, Any], processes: bool) -> tuple[int, int]:
    """How many workers it starts with, and the threads of each."""
    from distributed.deploy.utils import nprocesses_nthreads

    number, threads = options.get("n_workers"), options.get("threads_per_worker")
    if number is not None:
        return number, threads or max(1, math.ceil(CPU_COUNT / max(1, number)))
    if threads is not None:
        return max(1, CPU_COUNT // threads) if processes else 1, threads
    return nprocesses_nthreads() if processes else (1, CPU_COUNT)


def _bytes_of(limit: Any, share: float) -> int | None:
    """Bytes that Dask takes an option ``memory_limit`` for; None for no limit."""
    from distributed.system import MEMORY_LIMIT

    if limit == "auto":
        return int(MEMORY_LIMIT * share)
    try:
        value = float(limit or 0)
    except (TypeError, ValueError):
        try:
            value = parse_bytes(limit)
        except (TypeError, ValueError) as error:
            raise ValueError(f"memory_limit is {limit!r}; it must be such as '4GiB'") from error
    return min(int(value * MEMORY_LIMIT if value <= 1 else value), MEMORY_LIMIT) or None


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3g} GB"
