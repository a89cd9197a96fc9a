"""Workers: how many there are, and others in the place of those that are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from distributed import Adaptive, Client, SpecCluster
from distributed.comm.core import connect

from pipeline.cluster.capacity import Capacity, dask_worker

INTERVAL = 1.0  # seconds between two counts
PATIENCE = 5.0  # seconds without a worker after which that is said
ANSWER = "2s"  # in which the nanny of a lost worker answers, if there still is one


class Replacing(Adaptive):
    """Scales a cluster, and replaces the jobs whose workers are gone.

    Dask itself replaces a lost worker only where a job has one, and waits for
    it as long as a nanny might take to start it again. A job is lost when none
    of its workers is known to the scheduler any more, and none of their nannies
    answers. One that still waits in the queue has had none, and is left alone.
    """

    cluster: SpecCluster

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._nannies: dict[Any, set[str]] = {}

    async def recommendations(self, target: int) -> dict[str, Any]:
        """Forget lost jobs; the target then asks for others."""
        if lost := await self._lost():
            await self.cluster.scale_down(lost)
            for job in lost:
                del self._nannies[job]  # the next one may have its name
        found: dict[str, Any] = await super().recommendations(target)
        return found

    async def _lost(self) -> list[Any]:
        there = {each["name"]: each for each in self.cluster.scheduler_info["workers"].values()}
        missing = []
        for job, spec in self.cluster.worker_spec.items():
            members = [f"{job}{suffix}" for suffix in spec.get("group", ())] or [job]
            if nannies := {there[name]["nanny"] for name in members if name in there}:
                self._nannies[job] = nannies - {None}
            elif job in self._nannies:
                missing.append(job)
        self._nannies = {
            job: nannies
            for job, nannies in self._nannies.items()
            if job in self.cluster.worker_spec
        }
        alive = await asyncio.gather(*(self._answers(job) for job in missing))
        return [job for job, answers in zip(missing, alive, strict=True) if not answers]

    async def _answers(self, job: Any) -> bool:
        for nanny in self._nannies[job]:
            with suppress(OSError):
                security = self.cluster.security.get_connection_args("client")
                (await connect(nanny, timeout=ANSWER, **security)).abort()
                return True
        return False


class Watch:
    """Counts the threads of a cluster's workers, and says when there are none.

    Parameters
    ----------
    client : Client
        Of the cluster.
    notice : callable
        Called with a sentence for people.
    """

    def __init__(self, client: Client, notice: Callable[[str], None]) -> None:
        self._client, self._notice = client, notice
        self._threads = 0
        self._ended = Event()
        # Interrupted while it asks, distributed would log an error of its own: a thread is not.
        self._asker = ThreadPoolExecutor(1)
        self._watcher = Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()
        self._asker.shutdown()

    def threads(self) -> int:
        """Threads of all workers, a second ago or now."""
        return self._threads or self._asker.submit(self._count).result()

    def workers(self) -> dict[str, Capacity]:
        """Those that are there now, by their addresses."""
        return self._asker.submit(self._list).result()

    def _list(self) -> dict[str, Capacity]:
        there = self._client.scheduler_info(n_workers=-1)["workers"]
        remedy = "give it more memory (--memory-limit), or fewer threads (--nthreads)"
        return {
            address: dask_worker(
                each["nthreads"], each["memory_limit"], f"the worker at {address}", remedy
            )
            for address, each in there.items()
        }

    def _count(self) -> int:
        self._threads = sum(self._client.nthreads().values())
        return self._threads

    def _watch(self) -> None:
        since, said = time.monotonic(), False
        while not self._ended.wait(INTERVAL):
            try:
                threads = self._count()
            except OSError:  # the scheduler is lost, which the tasks say
                continue
            if threads:
                if said:
                    self._notice(f"workers have come, with {threads} threads")
                since, said = time.monotonic(), False
            elif not said and time.monotonic() - since > PATIENCE:
                self._notice(
                    "waiting for workers: there is none now; they may be in a queue, or end "
                    "before they get here, which their own logs would say"
                )
                said = True
