"""The execution of a plan, or of a share of it, by one process while it holds the lock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.cluster import Engine
from pipeline.job.plan import Plan
from pipeline.job.preflight import check_workers
from pipeline.job.regions import Failure, Task
from pipeline.job.report import Progress, Report
from pipeline.job.retry import Outcome, attempt_all
from pipeline.job.setup import create, find_begun, finish, remake
from pipeline.locks import Holder, Lock
from pipeline.process import ANY, numerics_class, other_numerics
from pipeline.record import CommonFiles, Done, Failed, Record, State, power_lost
from pipeline.share import Share
from pipeline.store import Encoding, Store, check_small_files, is_whole


class Execution:
    """One run of a plan, or of a share of it, while the lock is held."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        lock: Lock,
        share: Share | None,
        progress: Callable[[Progress], None],
    ) -> None:
        self._plan, self._store, self._record = plan, store, Record(store.record_folder)
        self._lock, self._share, self._progress = lock, share, progress
        self._began = time.monotonic()
        self._own = np.full(plan.layout.n_regions, share is None)
        if share is not None:
            self._own[slice(*share.bounds(len(self._own)))] = True
        self._state, self._begun = State.of(len(self._own)), False
        self._before = self._regions = self._windows = 0
        self._failed: list[tuple[int, str]] = []
        self._stopped: str | None = None
        self._outlook: str | None = None
        self._stop_at_once = plan.settings.on_error == "stop"

    def look(self, overwrite: bool) -> None:
        """Find out how far the job is, and say so."""
        with self._lock.alone() as others:
            if not others:
                self._store.sweep()
            self._begun = find_begun(self._plan, overwrite)
            if self._begun and not others:
                self._record.drop_damaged_lines()
        if self._begun:
            self._read(self._own)
        self._before = self._regions
        self._tell()

    def _read(self, checked: npt.NDArray[np.bool_]) -> None:
        """Take in what the record says; whether it holds is checked of some regions only."""
        holds = self._store.in_place(self._plan.layout, checked)
        doubtful = power_lost(self._record.entries())

        def in_place(entry: Done | CommonFiles) -> bool:
            if isinstance(entry, CommonFiles):
                return holds(entry.files)
            if not checked[entry.region]:
                return True
            if not holds(entry.files):
                return False
            layout = self._plan.layout
            return not doubtful(entry) or all(
                is_whole(self._store, file, layout) for file in entry.files
            )

        self._state = self._record.state(len(self._own), in_place)
        if self._record.damaged() or not self._small_files_hold():
            self._state.common_files = None  # what makes them anew mends the record, too
        done = self._state.done & self._own
        self._regions, self._windows = int(done.sum()), self._plan.layout.length_of(done)

    def _small_files_hold(self) -> bool:
        """Whether the common files are as they were recorded; the last step looks at the rest."""
        files = self._state.settled_files(self._store.written_last, self._record.finished())
        try:
            check_small_files(self._store, files)
        except OSError:
            return False
        return not (files and self._store.is_renamed())

    def _tell(self) -> None:
        """Say how far the job is."""
        n_windows = self._plan.layout.length_of(self._own)
        self._progress(Progress(self._regions, int(self._own.sum()), self._windows, n_windows))

    def do(self, starting: AbstractContextManager[Engine], overwrite: bool) -> None:
        """Compute what is not recorded, and finish the store when all is."""
        if self._stop_at_once and self._plan.recordings.unreadable:
            return
        pending = self._own & ~self._state.done
        if pending.any():
            self._check_numerics()
        if pending.any() or self._state.common_files is None:
            with starting as engine:
                check_workers(engine, self._plan)
                self._make(overwrite)
                try:
                    self._compute(engine)
                except OSError as error:
                    self._stopped = self._why(error)
        if not self._stopped:
            try:
                self._end()
            except OSError as error:
                self._stopped = self._why(error)

    def _check_numerics(self) -> None:
        """Refuse to mix what several numerics classes compute, or let the store say so."""
        if not self._begun:
            return
        try:
            attrs = self._record.job()["attrs"]
        except (OSError, ValueError):  # it will be made again
            attrs = {}
        classes = {str(attrs.get("numerics", numerics_class())), *self._state.classes}
        others = sorted(classes - {numerics_class(), ""})
        if self._plan.numerics is None:
            if ANY not in classes:
                self._state.common_files = None  # made again, it says so
        elif others:
            raise ValueError(f"{self._plan.out}: this process {other_numerics(others[0])}")

    def stop(self, reason: str) -> None:
        """Take note of why no more is done."""
        self._stopped = reason

    def _make(self, overwrite: bool) -> None:
        """Make the store, or mend it, unless another share has done so meanwhile."""
        with self._lock.alone():
            begun = find_begun(self._plan, overwrite)
            if begun and not self._begun:
                self._begun = True
                self._read(self._own)
                self._check_numerics()
            if not begun:
                self._state.add(create(self._plan, self._store, overwrite))
            elif self._state.common_files is None:
                self._state.add(remake(self._plan, self._store, self._record))

    def _compute(self, engine: Engine) -> None:
        self._record.reopen()
        task = partial(_task, self._plan, self._store)
        pending = map(int, np.flatnonzero(self._own & ~self._state.done))
        for outcome in attempt_all(engine, pending, task, self._plan.settings.retries):
            self._lock.check()
            self._take(outcome)
            if self._stopped or (self._failed and self._stop_at_once):
                break

    def _end(self) -> None:
        """Finish the store if nothing is left to do, and nobody else is at it."""
        with self._lock.alone(leaving=True) as others:
            if not others and not self._record.finished():
                if self._share is not None:
                    self._read(np.full(len(self._own), True))
                if self._state.done.all():
                    self._lock.check()
                    finish(self._plan, self._store, self._record, self._state)
            if self._share is not None:
                self._outlook = self._look_out(others)

    def _look_out(self, others: list[Holder]) -> str:
        """What becomes of the store after this share."""
        if self._record.finished():
            return "the store is finished"
        if others:
            more = f", and {len(others) - 1} more" if others[1:] else ""
            return f"still at work: {others[0]}{more}; the last that ends finishes the store"
        left = int((~self._state.done).sum())
        return (
            f"{left} of {len(self._own)} regions of the store are not done: extract their shares, "
            f"or without a share, to finish it"
        )

    def _take(self, outcome: Outcome) -> None:
        region, result = outcome.region, outcome.result
        if isinstance(result, Failure) and result.fatal:
            self._stopped = result.reason
        elif isinstance(result, Failure):
            self._fail(outcome, result.reason, result.trace)
        elif result.unreadable and self._stop_at_once:
            self._fail(outcome, ": ".join(result.unreadable[0][2:]))
        else:
            self._record.add(result)
            self._state.add(result)
            self._regions += 1
            self._windows += self._plan.layout.length(region)
            self._tell()

    def _fail(self, outcome: Outcome, reason: str, trace: str = "") -> None:
        self._record.add(Failed(outcome.region, reason, outcome.attempts, trace))
        tried = f" ({outcome.attempts} attempts)" if outcome.attempts > 1 else ""
        self._failed.append((outcome.region, reason + tried))

    def _why(self, error: OSError) -> str:
        return f"{self._store.path}: {os.strerror(error.errno) if error.errno else error}"

    def report(self) -> Report:
        """How it ended."""
        plan, share = self._plan, self._share
        bounds = share.bounds(len(self._own)) if share else (0, len(self._own))
        first, last = (n * plan.layout.region for n in bounds)
        masked = (
            (max(start, first), min(stop, last), f"{path}: {reason}")
            for start, stop, path, reason in self._state.masked()
        )
        # Recordings without windows are of no share: who does the whole job reports them.
        unreadable = plan.recordings.unreadable if share is None or self._stop_at_once else ()
        passed_over = plan.recordings.passed_over if share is None else ()
        return Report(
            plan.out,
            plan.layout.length_of(self._own),
            int(self._own.sum()),
            self._regions - self._before,
            tuple(sorted(self._failed)),
            unreadable,
            tuple(run for run in masked if run[0] < run[1]),
            self._stopped,
            time.monotonic() - self._began,
            str(share) if share else None,
            self._outlook,
            passed_over,
        )


def _task(plan: Plan, store: Store, region: int) -> Task:
    start, stop = plan.layout.bounds(region)
    grid, used = plan.grid[start:stop].detached()
    return Task(
        region,
        plan.layout.shard,
        Encoding.of(plan.layout),
        store,
        plan.fingerprint,
        plan.recordings[used],
        grid,
        plan.feature,
        plan.known.code,
        plan.numerics,
        plan.settings.flush,
    )
