"""The job: a plan run region by region, each recorded when its data is in place."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np

from pipeline.attempts import Outcome, attempt_all
from pipeline.cluster import Cluster, load_cluster, started
from pipeline.config import Settings
from pipeline.features import Feature, Spectrogram, feature_name
from pipeline.layout import COORDINATE_CHUNK, Layout, Variable, coordinate_values, describe
from pipeline.lock import Lock, locked
from pipeline.plan import LabelsLike, Plan
from pipeline.record import (
    Failed,
    Made,
    Record,
    Standing,
    StoredFile,
    fingerprint,
    stored_file,
)
from pipeline.recordings import PathLike
from pipeline.regions import Failure, Task
from pipeline.report import Progress, Report
from pipeline.store import Store, new_store, open_store

__all__ = ["extract", "find_begun", "run"]

PACKAGES = ("dask-audio-pipeline", "numpy", "scipy", "soundfile", "soxr", "h5py", "zarr")


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
    with locked(store.path) as lock:
        store.sweep()
        begun = find_begun(plan, overwrite)
        record = Record(store.record_folder)
        in_place = partial(_in_place, store)
        standing = record.standing(plan.layout.n_regions, in_place)
        if not begun:
            standing = Standing.of(plan.layout.n_regions)
        elif record.damaged():
            standing.made = None  # what mends it mends the record, too
        job = _Job(plan, store, record, standing, lock, progress)
        job.tell()
        if not (job.stop_at_once and plan.recordings.unreadable):
            job.do(cluster, begun, overwrite)
        return job.report()


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
        self._windows = sum(map(plan.layout.length, np.flatnonzero(standing.done).tolist()))
        self._failed: list[tuple[int, str]] = []
        self._stopped: str | None = None
        self.stop_at_once = plan.settings.on_error == "stop"

    def tell(self) -> None:
        """Say how far the job is."""
        layout = self._plan.layout
        self._progress(Progress(self._regions, layout.n_regions, self._windows, layout.n_windows))

    def do(self, cluster: Cluster, begun: bool, overwrite: bool) -> None:
        """Compute what is not recorded, and finish the store when all is."""
        pending = np.flatnonzero(~self._standing.done)
        if len(pending) or self._standing.made is None or not begun:
            with started(cluster) as engine:
                if not begun:
                    _create(self._plan, self._store, overwrite)
                elif self._standing.made is None:
                    _remake(self._plan, self._store, self._record)
                try:
                    self._record.reopen()
                    task = partial(_task, self._plan, self._store)
                    regions, retries = iter(pending.tolist()), self._plan.settings.retries
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
        self._record.add(Made(_files_of_no_region(self._store, layout)))
        self._record.finish()

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


def find_begun(plan: Plan, overwrite: bool = False) -> bool:
    """Whether the store of a plan is there, to go on with.

    Parameters
    ----------
    plan : Plan
        What to do.
    overwrite : bool
        Start anew, whatever job the store is of.

    Raises
    ------
    ValueError
        If something else is at the plan's path.
    """
    store = new_store(plan.out)
    record = Record(store.record_folder)
    if not store.exists():
        return False
    open_store(plan.out)
    if overwrite:
        return False
    if not record.begun():
        raise ValueError(f"{plan.out} is a packed copy; give another path, or --overwrite")
    ours = fingerprint(plan.identity)
    try:
        theirs = record.job()
    except (OSError, ValueError):
        if _fingerprint_in(store) == ours:
            return True
        raise
    if theirs["fingerprint"] == ours:
        return True
    raise ValueError(
        f"{plan.out} holds another job: {_difference(theirs['identity'], record, plan)}; give the "
        f"same again, another path, or --overwrite"
    )


def _fingerprint_in(store: Store) -> str | None:
    """The fingerprint in the attributes of the store, if they can be read."""
    try:
        return str(store.attrs()["fingerprint"])
    except Exception:  # whatever the library makes of a damaged file
        return None


def _difference(theirs: dict[str, Any], record: Record, plan: Plan) -> str:
    """The first setting or file in which two jobs differ."""
    ours: dict[str, Any] = json.loads(json.dumps(plan.identity))
    for group in ("format", "settings", "feature", "labels", "inputs", "unreadable", "layout"):
        old, new = theirs.get(group), ours[group]
        if old == new:
            continue
        if group == "unreadable":
            old, new = dict.fromkeys(old or []), dict.fromkeys(new)
        elif group == "inputs":
            old, new = (
                {path: rest for path, *rest in items} for items in (record.inputs(), plan.inputs())
            )
            if old == new:
                return "the order of the sources differs"
        if not isinstance(old, dict) or not isinstance(new, dict):
            return f"other {group}" if group == "labels" else f"{group} {old}, not {new}"
        if group == "feature" and old["name"] == new["name"]:
            old, new = old["parameters"], new["parameters"]
        for key in chain(new, old):
            if not (isinstance(old, dict) and isinstance(new, dict)):
                return f"{group} {old}, not {new}"
            if old.get(key, ...) == new.get(key, ...):
                continue
            if group in ("inputs", "unreadable"):
                if key not in old:
                    return f"{key} is new among the sources"
                return f"{key} " + ("was changed" if key in new else "is no longer there")
            return f"{key} was {old.get(key)}, and is now {new.get(key)}"
    return "it was made by another version"


def _create(plan: Plan, store: Store, overwrite: bool) -> None:
    """Make the store, with all but the features and `valid`."""
    if overwrite and store.exists():
        store.remove()
    store.path.parent.mkdir(parents=True, exist_ok=True)
    attrs = _attrs(plan)
    with store.creating(plan.layout, _variables(plan), attrs) as aside:
        _fill(plan, aside)
        record = Record(aside.record_folder)
        record.begin(plan.identity, _more(plan, attrs), plan.inputs())
        record.add(Made(_files_of_no_region(aside, plan.layout)))


def _remake(plan: Plan, store: Store, record: Record) -> None:
    """Make again what `_create` made, to the same bits."""
    try:
        attrs = record.job()["attrs"]
    except (OSError, ValueError):
        attrs = store.attrs()
    with store.remaking(plan.layout, _variables(plan), attrs) as aside:
        _fill(plan, aside)
    record.begin(plan.identity, _more(plan, attrs), plan.inputs())
    record.reopen()
    record.add(Made(_files_of_no_region(store, plan.layout)))


def _variables(plan: Plan) -> dict[str, Variable]:
    label = classes = None
    if plan.labels is not None:
        values = plan.labels.values
        dims = ("window", "class")[: values.ndim]
        label = Variable(dims, values.shape, values.dtype, {"long_name": "label", "units": "1"})
        classes = plan.labels.classes
    sources = [item.path for item in plan.recordings]
    return describe(plan.layout, plan.feature, sources, label, classes)


def _attrs(plan: Plan) -> dict[str, Any]:
    identity = plan.identity
    return {
        "Conventions": "CF-1.11",
        "title": feature_name(plan.feature),
        "samplerate": plan.grid.samplerate,
        "window": plan.grid.window_samples / plan.grid.samplerate,
        "hop": plan.grid.hop_samples / plan.grid.samplerate,
        "settings": json.dumps(identity["settings"]),
        "feature": json.dumps(identity["feature"]),
        "fingerprint": fingerprint(identity),
        "versions": json.dumps({name: version(name) for name in PACKAGES}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _more(plan: Plan, attrs: dict[str, Any]) -> dict[str, Any]:
    unreadable = dict(plan.recordings.unreadable)
    return {"regions": plan.layout.n_regions, "unreadable": unreadable, "attrs": attrs}


def _fill(plan: Plan, store: Store) -> None:
    for a in range(0, plan.layout.n_windows, COORDINATE_CHUNK):
        for name, part in coordinate_values(plan.grid[a : a + COORDINATE_CHUNK]).items():
            store.fill(name, a, part)
        if plan.labels is not None:
            store.fill("label", a, plan.labels.values[a : a + COORDINATE_CHUNK])


def _files_of_no_region(store: Store, layout: Layout) -> tuple[StoredFile, ...]:
    return tuple(stored_file(store.locate(name), name) for name in sorted(store.small_files()))


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
        fingerprint(plan.identity),
        plan.recordings[used],
        grid,
        plan.feature,
    )
