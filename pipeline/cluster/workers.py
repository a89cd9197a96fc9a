"""Workers: the jobs submitted for them, how many there are, and others for those lost."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from distributed import Adaptive, Client, Scheduler, SchedulerPlugin, SpecCluster
from distributed.comm.core import connect
from distributed.deploy.spec import ProcessInterface

from pipeline.cluster.capacity import Capacity, dask_worker

INTERVAL = 1.0  # seconds between two counts
PATIENCE = 5.0  # seconds without a worker after which that is said
PAUSES = (1.0, 2.0, 0.0)  # seconds after each attempt to submit a job: its system may be busy
ANSWER = "2s"  # in which the nanny of a lost worker answers, if there still is one


class Replacing(Adaptive):
    """Scales a cluster, and replaces the jobs whose workers are gone.

    Dask itself does so only for jobs of one worker, and waits as long as a nanny might take
    to start it again. A job is lost when the scheduler knows none of its workers any more, and
    none of their nannies answers. A job in the queue has had no workers, and is left alone.
    """

    cluster: SpecCluster

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._nannies: dict[Any, str | None] = {}  # of all workers that have come, by name
        if isinstance(self.cluster.scheduler, Scheduler):  # else it is in another process
            self.cluster.scheduler.add_plugin(_Arrivals(self._nannies))

    async def recommendations(self, target: int) -> dict[str, Any]:
        """Forget lost jobs; the target then asks for others."""
        if lost := await self._lost():
            await self.cluster.scale_down(lost)
            for members in lost.values():
                for name in members:
                    self._nannies.pop(name, None)  # the next one may have its name
        found: dict[str, Any] = await super().recommendations(target)
        return found

    async def _lost(self) -> dict[Any, list[Any]]:
        """Names of the workers of each job that is lost."""
        there = {each["name"]: each for each in self.cluster.scheduler_info["workers"].values()}
        self._nannies |= {name: each["nanny"] for name, each in there.items()}
        missing = {}
        for job, spec in self.cluster.worker_spec.items():
            members = [f"{job}{suffix}" for suffix in spec.get("group", ())] or [job]
            if not there.keys() & members and self._nannies.keys() & members:
                missing[job] = members
        alive = await asyncio.gather(*(self._answers(members) for members in missing.values()))
        return {job: missing[job] for job, one in zip(missing, alive, strict=True) if not one}

    async def _answers(self, members: list[Any]) -> bool:
        for nanny in {self._nannies.get(name) for name in members} - {None}:
            with suppress(OSError):
                security = self.cluster.security.get_connection_args("client")
                (await connect(nanny, timeout=ANSWER, **security)).abort()
                return True
        return False


class _Arrivals(SchedulerPlugin):
    """Notes each worker that comes, also one that is gone before anybody looks."""

    def __init__(self, nannies: dict[Any, str | None]) -> None:
        self._nannies = nannies

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        state = scheduler.workers[worker]
        self._nannies[state.name] = state.nanny


class Watch:
    """Counts the threads of a cluster's workers, and says so when there are none."""

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


class Submissions:
    """Follows the jobs of a cluster, and says so when one could not be submitted.

    Dask itself logs that, and goes on as if the job were in the queue. Where others were
    submitted, `notice` is called with a sentence; where none was, `none` with the reason.
    """

    def __init__(self, notice: Callable[[str], None], none: Callable[[str], None]) -> None:
        self._notice, self._none = notice, none
        self._under_way = 0
        self._submitted: set[Any] = set()
        self._said: set[str] = set()

    def followed(self, job_class: Any) -> Any:
        """A class of jobs like `job_class` that reports here."""
        submissions = self

        class Job(job_class):  # type: ignore[misc]
            async def start(self) -> None:
                reason = await submissions._submit(super().start)
                if reason is None:
                    submissions._submitted.add(self)
                else:
                    await ProcessInterface.start(self)  # it is as if it were in the queue
                    submissions._report(reason)

            async def close(self) -> None:
                submissions._submitted.discard(self)
                await super().close()

        Job.__name__ = job_class.__name__
        return Job

    async def _submit(self, start: Callable[[], Awaitable[None]]) -> str | None:
        """Why a job could not be submitted; None if it was."""
        self._under_way += 1
        try:
            for pause in PAUSES:
                try:
                    await start()
                    return None
                except FileNotFoundError as error:
                    return f"there is no command {error.filename} here"
                except (OSError, RuntimeError, ValueError) as error:
                    reason = _reason(error)
                await asyncio.sleep(pause)
            return reason
        finally:
            self._under_way -= 1

    def _report(self, reason: str) -> None:
        if not self._submitted and not self._under_way:
            self._none(reason)
        elif reason not in self._said:
            self._said.add(reason)
            self._notice(f"not all jobs could be submitted: {reason}")


def _reason(error: Exception) -> str:
    """What a batch system says, in one line."""
    found = re.search(
        r"Exit code: (.*?)\nCommand:\n(.*?)\nstdout:\n(.*?)\nstderr:\n(.*)", str(error), re.DOTALL
    )
    if found is None:
        return " ".join(str(error).split())
    code, command, out, err = (" ".join(text.split()) for text in found.groups())
    return f"'{command}' ended with exit code {code}" + (f" ({err or out})" if err or out else "")
