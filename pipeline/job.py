"""The job: a plan run region by region, each recorded when its data is in place."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.attempts import Outcome, attempt_all
from pipeline.cluster import Cluster, load_cluster
from pipeline.config import Settings
from pipeline.connection import StartError
from pipeline.creation import create, find_begun, made, remake
from pipeline.engine import Engine, started
from pipeline.features import Feature, Spectrogram
from pipeline.files import StoredFile, stored_file
from pipeline.layout import COORDINATE_CHUNK
from pipeline.lock import Lock, locked
from pipeline.needs import check_workers
from pipeline.plan import LabelsLike, Plan
from pipeline.record import Failed, Record, Standing
from pipeline.recordings import PathLike
from pipeline.regions import Failure, Task
from pipeline.report import Progress, Report
from pipeline.store import Store, new_store

__all__ = ["extract", "run"]


def extract(
    sources: PathLike | Iterable[PathLike],
    out: PathLike,
    features: Feature = Spectrogram(),  # noqa: B008 - it is frozen
    labels: LabelsLike = None,
    cluster: PathLike | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    **settings: Any,
) -> Report:
    """Compute the features of recordings and store them, or go on doing so.

    Parameters
    ----------
    sources : path or iterable of paths
        Files, folders, globs or manifests, as for `scan`.
    out : path
        The store: ``.zarr``, ``.h5`` or ``.hdf5``.
    features : Feature
        What is computed of each window.
    labels : path or array_like, optional
        One label for each window. Those stored with the recordings, if any,
        where not given.
    cluster : path, optional
        ``cluster.yaml`` or ``cluster.yaml:NAME``; threads of this process if
        not given.
    overwrite : bool
        Start anew, and remove the store that is in the way.
    progress : callable
        Called with a `Progress` at the start and after each region.
    **settings
        As of `Settings`: ``window``, ``hop``, ``channel``, ``samplerate``,
        ``tail``, ``dtype``, ``on_error``.

    Returns
    -------
    Report
        ``report.ok`` tells whether everything was read and stored.

    Raises
    ------
    ValueError, OSError, MemoryError
        If the inputs or the settings will not do; nothing was touched then.
    """
    plan = Plan.make(sources, out, features, labels, Settings.from_mapping(settings))
    where = load_cluster(cluster)
    plan.check_fits(where.threads_per_worker)
    return run(plan, where, overwrite=overwrite, progress=progress)


def run(
    plan: Plan,
    cluster: Cluster,
    *,
    overwrite: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
    performance_report: Path | None = None,
) -> Report:
    """Do what is still to be done of a plan.

    Parameters
    ----------
    plan : Plan
        What to do.
    cluster : Cluster
        Where to do it.
    overwrite : bool
        Start anew, and remove the store that is in the way.
    progress : callable
        Called with a `Progress` at the start and after each region.
    notice : callable
        Called with a sentence for people, where a cluster has something to say.
    performance_report : path, optional
        File that Dask's own report of the run is written to.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If something else is at the plan's path, or another job is writing there.
    OSError
        If the store cannot be made.
    """
    store = new_store(plan.out)
    find_begun(plan, overwrite)  # refused before anything is touched
    with _named(store), locked(store.path) as lock:
        store.sweep()
        begun = find_begun(plan, overwrite)
        record = Record(store.record_folder)
        standing = Standing.of(plan.layout.n_regions)
        if begun:
            standing = record.standing(plan.layout.n_regions, partial(_in_place, store))
            if record.damaged():
                standing.made = None  # what mends it mends the record, too
        job = _Job(plan, store, record, standing, lock, progress)
        job.tell()
        if not (job.stop_at_once and plan.recordings.unreadable):
            try:
                job.do(started(cluster, notice, performance_report), begun, overwrite)
            except StartError as error:
                job.stop(str(error))
        return job.report()


@contextmanager
def _named(store: Store) -> Iterator[None]:
    """Name the store in what the operating system says of it before anything is computed."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a sentence of our own
            raise
        raise OSError(
            f"{store.path} cannot be written to: {os.strerror(error.errno)}; mend that, and give "
            f"the same command again"
        ) from None


class _Job:
    """One run of a plan, while the lock is held."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        record: Record,
        standing: Standing,
        lock: Lock,
        progress: Callable[[Progress], None],
    ) -> None:
        self._plan, self._store, self._record = plan, store, record
        self._standing, self._lock, self._progress = standing, lock, progress
        self._began, self._before = time.monotonic(), int(standing.done.sum())
        self._regions = self._before
        self._windows = plan.layout.length_of(standing.done)
        self._failed: list[tuple[int, str]] = []
        self._stopped: str | None = None
        self.stop_at_once = plan.settings.on_error == "stop"

    def tell(self) -> None:
        """Say how far the job is."""
        layout = self._plan.layout
        self._progress(Progress(self._regions, layout.n_regions, self._windows, layout.n_windows))

    def do(self, starting: AbstractContextManager[Engine], begun: bool, overwrite: bool) -> None:
        """Compute what is not recorded, and finish the store when all is."""
        pending = np.flatnonzero(~self._standing.done)
        if len(pending) or self._standing.made is None or not begun:
            with starting as engine:
                check_workers(engine, self._plan)
                if not begun:
                    create(self._plan, self._store, overwrite)
                elif self._standing.made is None:
                    remake(self._plan, self._store, self._record)
                try:
                    self._record.reopen()
                    task = partial(_task, self._plan, self._store)
                    regions, retries = map(int, pending), self._plan.settings.retries
                    for outcome in attempt_all(engine, regions, task, retries):
                        self._lock.check()
                        self._take(outcome)
                        if self._stopped or (self._failed and self.stop_at_once):
                            break
                except OSError as error:
                    self._stopped = self._why(error)
        if self._standing.done.all() and not (self._stopped or self._record.finished()):
            try:
                self._finish()
            except OSError as error:
                self._stopped = self._why(error)

    def stop(self, reason: str) -> None:
        """Take note of why no more is done."""
        self._stopped = reason

    def _take(self, outcome: Outcome) -> None:
        region, result = outcome.region, outcome.result
        if isinstance(result, Failure) and result.fatal:
            self._stopped = result.reason
        elif isinstance(result, Failure):
            self._fail(outcome, result.reason)
        elif result.unreadable and self.stop_at_once:
            self._fail(outcome, ": ".join(result.unreadable[0][2:]))
        else:
            self._record.add(result)
            self._standing.add(result)
            self._regions += 1
            self._windows += self._plan.layout.length(region)
            self.tell()

    def _fail(self, outcome: Outcome, reason: str) -> None:
        self._record.add(Failed(outcome.region, reason, outcome.attempts))
        tried = f" ({outcome.attempts} attempts)" if outcome.attempts > 1 else ""
        self._failed.append((outcome.region, reason + tried))

    def _why(self, error: OSError) -> str:
        return f"{self._store.path}: {os.strerror(error.errno) if error.errno else error}"

    def _finish(self) -> None:
        layout, runs = self._plan.layout, list(self._standing.masked())
        self._lock.check()
        self._store.sweep()  # what workers that were killed have left
        if not self._made_holds():  # what will be recorded anew must not be damaged
            remake(self._plan, self._store, self._record)
        with self._store.finishing() as aside:
            for a in range(0, layout.n_windows, COORDINATE_CHUNK):
                b = min(a + COORDINATE_CHUNK, layout.n_windows)
                valid = np.ones(b - a, np.bool_)
                while runs and runs[0][1] <= a:
                    del runs[0]
                for start, stop, *_ in runs:
                    if start >= b:
                        break
                    valid[max(0, start - a) : stop - a] = False
                aside.fill("valid", a, valid)
        self._record.add(made(self._store))
        self._record.finish()

    def _made_holds(self) -> bool:
        """Whether the files of no region are, to the last byte, as they were made."""
        locate = self._store.locate
        files = self._standing.made or ()
        return all(stored_file(locate(file.name), file.name) == file for file in files)

    def report(self) -> Report:
        """How it ended."""
        return Report(
            self._plan.out,
            self._plan.layout.n_windows,
            self._plan.layout.n_regions,
            self._regions - self._before,
            tuple(sorted(self._failed)),
            self._plan.recordings.unreadable,
            tuple((*run[:2], f"{run[2]}: {run[3]}") for run in self._standing.masked()),
            self._stopped,
            time.monotonic() - self._began,
        )


def _in_place(store: Store, files: tuple[StoredFile, ...]) -> bool:
    """Whether files are where, and as long as, they were when they were recorded.

    A machine that lost its power may keep a line of the record and lose data
    that was written before it.
    """
    try:
        return all(os.stat(store.locate(file.name)).st_size == file.size for file in files)
    except OSError:
        return False


def _task(plan: Plan, store: Store, region: int) -> Task:
    start, stop = plan.layout.bounds(region)
    grid, used = plan.grid[start:stop].detached()
    return Task(
        region,
        plan.layout.shard,
        plan.layout.dtype,
        store,
        plan.fingerprint,
        plan.recordings[used],
        grid,
        plan.feature,
    )
