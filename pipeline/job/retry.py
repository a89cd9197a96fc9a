"""Retry: regions tried on an engine, and tried again when a worker dies or a read fails."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from heapq import heappop, heappush
from queue import Empty, SimpleQueue

from pipeline.cluster import Engine, StartError
from pipeline.interrupts import interrupts_noted
from pipeline.job.regions import Failure, Task, run_region
from pipeline.record import Done

PAUSE = 1.0  # seconds before the second attempt; before each further one twice as long
DEATHS = 3  # a region at which so many workers died has killed them
_Future = Future[Done | Failure]


@dataclass(frozen=True)
class Outcome:
    """What became of a region, after so many attempts."""

    region: int
    result: Done | Failure
    attempts: int


# How regions are tried: the engine is kept as busy as it has slots for, with regions whose
# pause is over and then with new ones. What failed for what may pass pauses, each time twice as
# long. A region that workers keep dying of is put off to the end and tried alone: as long as
# others run beside it, any of them may be what kills the workers.


class Attempts:
    """Regions tried, and again up to `retries` times what may pass; yields one outcome for each.

    At an interrupt, what threads have begun is done first, and comes, too.
    """

    def __init__(
        self, engine: Engine, regions: Iterator[int], task: Callable[[int], Task], retries: int
    ) -> None:
        self._engine, self._new, self._task, self._retries = engine, regions, task, retries
        self._running: dict[_Future, int] = {}
        # None wakes who waits.
        self._ended: SimpleQueue[_Future | None] = SimpleQueue()
        self._pausing: list[tuple[float, int]] = []  # heap of when to go on, and region
        self._put_off: deque[int] = deque()
        self._alone: int | None = None  # the region that is tried alone now
        self._tries, self._deaths = Counter[int](), Counter[int]()
        self._interrupted = False

    def __iter__(self) -> Iterator[Outcome]:
        try:
            with interrupts_noted(self._interrupt):
                while not self._interrupted:
                    slots = self._engine.slots()
                    self._fill(slots)
                    if not self._running and not self._pausing:
                        break
                    future = self._wait(slots)
                    if future is not None and (outcome := self._settle(future)):
                        yield outcome
            if self._interrupted:
                yield from self._completed()
                raise KeyboardInterrupt
        finally:
            for future in self._running:
                future.cancel()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._ended.put(None)

    def _fill(self, slots: int) -> None:
        while len(self._running) < slots and (region := self._next()) is not None:
            self._submit(region)
        if self._put_off and not self._running and not self._pausing:
            self._alone = self._put_off.popleft()
            self._submit(self._alone)

    def _next(self) -> int | None:
        if self._pausing and self._pausing[0][0] <= time.monotonic():
            return heappop(self._pausing)[1]
        return next(self._new, None)

    def _submit(self, region: int) -> None:
        future = self._engine.submit(run_region, self._task(region))
        self._running[future] = region
        future.add_done_callback(self._ended.put)

    def _wait(self, slots: int) -> _Future | None:
        """The next that ends; None at an interrupt, or when a pause is over and there is a slot."""
        timeout = None
        if self._pausing and len(self._running) < slots:
            timeout = max(0.0, self._pausing[0][0] - time.monotonic())
        try:
            return self._ended.get(timeout=timeout)
        except Empty:
            return None

    def _settle(self, future: _Future) -> Outcome | None:
        """The outcome of a region, or None if it is to be tried again."""
        region = self._running.pop(future)
        result, died = _result_of(future, self._engine)
        self._tries[region] += 1
        self._deaths[region] += died
        was_alone, self._alone = self._alone == region, None
        used_up = self._tries[region] > self._retries
        passing = isinstance(result, Failure) and result.passing
        if not passing or (was_alone if died else used_up):
            del self._deaths[region]
            return Outcome(region, result, self._tries.pop(region))
        most_deaths = min(DEATHS, self._retries + 1)
        if died and (used_up or self._deaths[region] >= most_deaths - 1):
            self._put_off.append(region)
        else:
            pause = PAUSE * 2 ** (self._tries[region] - 1)
            heappush(self._pausing, (time.monotonic() + pause, region))
        return None

    def _completed(self) -> Iterator[Outcome]:
        """The regions that are done when what cannot be cancelled has ended."""
        for future in [future for future in self._running if not future.cancel()]:
            result, _ = _result_of(future, self._engine)
            if isinstance(result, Done):
                yield Outcome(self._running[future], result, 1)


def _result_of(future: _Future, engine: Engine) -> tuple[Done | Failure, int]:
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
