"""Attempts: regions tried on an engine, a few at a time, and again where that may help."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from heapq import heappop, heappush
from queue import Empty, SimpleQueue

from pipeline.cluster import Engine, StartError
from pipeline.job.regions import Failure, Task, run_region
from pipeline.record import Done

PAUSE = 1.0  # seconds before the second attempt; before each further one twice as long
DEATHS = 3  # a region at which so many workers died has killed them


@dataclass(frozen=True)
class Outcome:
    """What became of a region, after so many attempts."""

    region: int
    result: Done | Failure
    attempts: int


def attempt_all(
    engine: Engine, regions: Iterator[int], task: Callable[[int], Task], retries: int
) -> Iterator[Outcome]:
    """Try regions; their outcomes as they come.

    Parameters
    ----------
    engine : Engine
        Where they run. No more are submitted than it has slots.
    regions : iterator of int
        What to try.
    task : callable
        Makes the task of a region.
    retries : int
        How often a region is tried again, with growing pauses, that failed for
        what may pass. One whose worker died is given up only when it was tried
        alone, for its neighbours are in doubt as long as they run beside it.

    Where an interrupt finds it waiting, what threads have begun is done first, and comes, too.

    Yields
    ------
    Outcome
        One for each region.
    """
    ended: SimpleQueue[Future[Done | Failure]] = SimpleQueue()
    running: dict[Future[Done | Failure], int] = {}
    tries, deaths = Counter[int](), Counter[int]()
    later: list[tuple[float, int]] = []
    alone: deque[int] = deque()
    single: int | None = None
    most_deaths = min(DEATHS, retries + 1)

    def submit(region: int) -> None:
        future = engine.submit(run_region, task(region))
        running[future] = region
        future.add_done_callback(ended.put)

    try:
        while True:
            slots = engine.slots()
            while len(running) < slots:
                if later and later[0][0] <= time.monotonic():
                    submit(heappop(later)[1])
                elif (region := next(regions, None)) is not None:
                    submit(region)
                else:
                    break
            if not running and not later:
                if not alone:
                    return
                single = alone.popleft()
                submit(single)
            try:
                pauses = later and len(running) < slots  # else it waits for one that ends
                due = max(0.0, later[0][0] - time.monotonic()) if pauses else None
                future = ended.get(timeout=due)
            except Empty:
                continue
            region = running.pop(future)
            result, died = _settle(future, engine)
            tries[region] += 1
            deaths[region] += died
            passing = isinstance(result, Failure) and result.passing
            was_alone, single = single == region, None
            last = tries[region] > retries or deaths[region] >= most_deaths - 1
            if not passing or (was_alone if died else tries[region] > retries):
                yield Outcome(region, result, tries.pop(region))
                del deaths[region]
            elif died and last:
                alone.append(region)
            else:
                heappush(later, (time.monotonic() + PAUSE * 2 ** (tries[region] - 1), region))
    except KeyboardInterrupt:
        yield from _completed(running, engine)
        raise
    finally:
        for future in running:
            future.cancel()


def _completed(running: dict[Future[Done | Failure], int], engine: Engine) -> Iterator[Outcome]:
    """The regions that can only be waited for, and are done then; the others are cancelled."""
    begun = [future for future in running if not future.cancel()]
    for future in begun:
        result, _ = _settle(future, engine)
        if isinstance(result, Done):
            yield Outcome(running[future], result, 1)


def _settle(future: Future[Done | Failure], engine: Engine) -> tuple[Done | Failure, int]:
    """What a task came to, and how many workers died of it."""
    try:
        return future.result(), 0
    except CancelledError:
        return Failure("the scheduler was lost, and with it what was running", fatal=True), 0
    except StartError as error:
        return Failure(str(error), fatal=True), 0
    except Exception as error:
        if died := engine.deaths(error):
            reason = (
                "the worker that computed it died; one of its files may crash the decoder, or the "
                "worker had too little memory"
            )
            return Failure(reason, passing=True), died
        return Failure(f"{type(error).__name__}: {error}", passing=isinstance(error, OSError)), 0
