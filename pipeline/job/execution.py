"""The execution of a plan, or of a share of it, by one process while it holds the lock."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.cluster import Engine, StartError
from pipeline.job.begun import find_begun
from pipeline.job.plan import Plan
from pipeline.job.preflight import check_workers
from pipeline.job.regions import Failure, Task
from pipeline.job.report import Progress, Report
from pipeline.job.retry import Attempts, Outcome
from pipeline.job.setup import create, finish, remake
from pipeline.locks import Holder, Lock
from pipeline.process import ANY, numerics_class, other_numerics
from pipeline.record import CommonFiles, Done, Failed, Record, State, power_lost
from pipeline.share import Share
from pipeline.store import Store, check_small_files, common_files, is_whole


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
        self._start_time = time.monotonic()
        n = plan.layout.n_regions
        self._bounds = share.bounds(n) if share else (0, n)
        self._ours = np.zeros(n, np.bool_)
        self._ours[slice(*self._bounds)] = True
        self._state, self._begun = State.of(n), False
        self._reached, self._regions_before = self._count(), 0
        self._failed: list[tuple[int, str]] = []
        self._stopped: str | None = None
        self._outlook: str | None = None
        self.drops_attached = False  # that which was added to a finished store
        self._stop_at_once = plan.settings.on_error == "stop"

    def find_state(self, overwrite: bool) -> None:
        """Find out how far the job is, and say so."""
        with self._lock.alone() as others:
            if not others:
                self._store.sweep()
            self._begun = find_begun(self._plan, overwrite)
            if self._begun and not others:
                self._record.drop_damaged_lines()
        if self._begun:
            self._read_record(self._ours)
        self._regions_before = self._reached.regions
        self._progress(self._reached)

    def _count(self) -> Progress:
        """How far our regions are; of each that ends, one is added, as there may be millions."""
        ours, done, length_of = (
            self._ours,
            self._state.done & self._ours,
            self._plan.layout.length_of,
        )
        return Progress(int(done.sum()), int(ours.sum()), length_of(done), length_of(ours))

    def _read_record(self, checked: npt.NDArray[np.bool_]) -> None:
        """Take in what the record says; only files of the regions `checked` are looked at."""
        layout = self._plan.layout
        holds, doubtful = self._store.in_place(layout, checked), power_lost(self._record.entries())

        def in_place(entry: Done | CommonFiles) -> bool:
            if isinstance(entry, CommonFiles):
                return holds(entry.files)
            if not checked[entry.region]:
                return True
            whole = (is_whole(self._store, file, layout) for file in entry.files)
            return holds(entry.files) and (not doubtful(entry) or all(whole))

        self._state = self._record.state(len(self._ours), in_place)
        damaged = self._record.damaged()
        if not damaged and (finished := self._record.read_finished()):
            self._state.common_files = common_files(self._store, finished)
            if finished.attached and not self._state.done.all():
                self._state.common_files = None  # made anew, it has nothing of what was attached
                self.drops_attached = True
        if damaged or not self._small_files_hold():
            self._state.common_files = None  # what makes them anew repairs the record, too
        self._reached = self._count()

    def _small_files_hold(self) -> bool:
        """Whether the common files are as they were recorded; the last step looks at the rest."""
        files = self._state.settled_files(self._store.written_last, self._record.finished())
        try:
            check_small_files(self._store, files)
        except OSError:
            return False
        return not (files and self._store.is_renamed())

    def run(self, starting: AbstractContextManager[Engine], overwrite: bool) -> None:
        """Compute what is not recorded, and finish the store when all is."""
        if self._stop_at_once and self._plan.inputs.recordings.unreadable:
            return
        pending = self._ours & ~self._state.done
        if pending.any():
            self._check_numerics()
        if pending.any() or self._state.common_files is None:
            try:
                with starting as engine:
                    check_workers(engine, self._plan)
                    self._set_up(overwrite)
                    with self._stopping():
                        self._compute(engine)
            except StartError as error:
                self._stopped = str(error)
        if not self._stopped:
            with self._stopping():
                self._finish()

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop at an error of the disk or the network, and keep what is done."""
        try:
            yield
        except OSError as error:
            text = os.strerror(error.errno) if error.errno else error
            self._stopped = f"{self._store.path}: {text}"

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

    def _set_up(self, overwrite: bool) -> None:
        """Make the store, or what of it is damaged, unless another share has done so meanwhile."""
        with self._lock.alone():
            begun = find_begun(self._plan, overwrite)
            if begun and not self._begun:
                self._begun = True
                self._read_record(self._ours)
                self._check_numerics()
            if not begun:
                self._state.add(create(self._plan, self._store, overwrite))
            elif self._state.common_files is None:
                self._state.add(remake(self._plan, self._store, self._record))

    def _compute(self, engine: Engine) -> None:
        self._record.reopen()
        task = partial(_task, self._plan, self._store)
        pending = map(int, np.flatnonzero(self._ours & ~self._state.done))
        for outcome in Attempts(engine, pending, task, self._plan.settings.retries):
            self._lock.check()
            self._on_outcome(outcome)
            if self._stopped or (self._failed and self._stop_at_once):
                break

    def _finish(self) -> None:
        """Finish the store if nothing is left to do, and nobody else is at it."""
        with self._lock.alone(leaving=True) as others:
            if not others and not self._record.finished():
                if self._share is not None:
                    self._read_record(np.full(len(self._ours), True))
                if self._state.done.all():
                    self._lock.check()
                    finish(self._plan, self._store, self._record, self._state)
            if self._share is not None:
                self._outlook = self._describe_outlook(others)

    def _describe_outlook(self, others: list[Holder]) -> str:
        """What becomes of the store after this share."""
        if self._record.finished():
            return "the store is finished"
        if others:
            more = f", and {len(others) - 1} more" if others[1:] else ""
            return f"still at work: {others[0]}{more}; the last that ends finishes the store"
        left = int((~self._state.done).sum())
        return (
            f"{left} of {len(self._ours)} regions of the store are not done: extract their shares, "
            f"or without a share, to finish it"
        )

    def _on_outcome(self, outcome: Outcome) -> None:
        result = outcome.result
        if isinstance(result, Failure) and result.fatal:
            self._stopped = result.reason
        elif isinstance(result, Failure):
            self._on_failure(outcome, result.reason, result.trace)
        elif result.unreadable and self._stop_at_once:
            self._on_failure(outcome, ": ".join(result.unreadable[0][2:]))
        else:
            self._record.add(result)
            self._state.add(result)
            start, stop = self._plan.layout.bounds(outcome.region)
            regions, windows = self._reached.regions + 1, self._reached.windows + stop - start
            self._reached = replace(self._reached, regions=regions, windows=windows)
            self._progress(self._reached)

    def _on_failure(self, outcome: Outcome, reason: str, trace: str = "") -> None:
        self._record.add(Failed(outcome.region, reason, outcome.attempts, trace))
        tried = f" ({outcome.attempts} attempts)" if outcome.attempts > 1 else ""
        self._failed.append((outcome.region, reason + tried))

    def report(self) -> Report:
        """How it ended."""
        recordings, layout = self._plan.inputs.recordings, self._plan.layout
        whole = self._share is None
        first, last = (n * layout.region for n in self._bounds)
        masked = (
            (max(start, first), min(stop, last), f"{path}: {reason}")
            for start, stop, path, reason in self._state.masked()
        )
        return Report(
            out=self._plan.out,
            windows=self._reached.n_windows,
            regions=self._reached.n_regions,
            computed=self._reached.regions - self._regions_before,
            failed=tuple(sorted(self._failed)),
            # Recordings without windows are of no share: who does the whole job reports them.
            unreadable=recordings.unreadable if whole or self._stop_at_once else (),
            masked=tuple(run for run in masked if run[0] < run[1]),
            stopped=self._stopped,
            seconds=time.monotonic() - self._start_time,
            share=None if whole else str(self._share),
            outlook=self._outlook,
            passed_over=recordings.passed_over if whole else (),
            clipped=sum(n for r, n in self._state.clipped.items() if r in range(*self._bounds)),
        )


def _task(plan: Plan, store: Store, region: int) -> Task:
    start, stop = plan.layout.bounds(region)
    grid, used = plan.inputs.grid[start:stop].detached()
    return Task(
        region=region,
        shard=plan.layout.shard,
        encoding=plan.encoding,
        store=store,
        fingerprint=plan.fingerprint,
        recordings=plan.inputs.recordings[used],
        grid=grid,
        feature=plan.inputs.feature,
        code=plan.feature_identity.code,
        numerics=plan.numerics,
        flush=plan.settings.flush,
    )
