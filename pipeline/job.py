"""The job: a plan run region by region, each recorded when its data is in place."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain, islice
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.local import get_sync

from pipeline.cluster import Cluster, Engine, load_cluster, started
from pipeline.config import Settings, fingerprint
from pipeline.features import Feature, Spectrogram, feature_name
from pipeline.grid import WindowGrid
from pipeline.layout import COORDINATE_CHUNK, Variable, coordinate_values, describe
from pipeline.plan import LabelsLike, Plan
from pipeline.record import Done, Record
from pipeline.recordings import PathLike, Recordings
from pipeline.store import Store, new_store, open_store
from pipeline.windows import map_windows, open_windows, read_windows, why_unreadable

__all__ = ["Progress", "Report", "extract", "find_begun", "run"]

SHOWN = 20
PACKAGES = ("dask-audio-pipeline", "numpy", "scipy", "soundfile", "soxr", "h5py", "zarr")


@dataclass(frozen=True)
class Report:
    """How a job ended.

    Attributes
    ----------
    out : str
        Path of the store.
    windows, regions : int
        In the store.
    computed : int
        Regions computed by this run; others were done before.
    failed : tuple of (int, str)
        Regions that could not be computed, and why.
    unreadable : tuple of (str, str)
        Files that have no windows, and why.
    masked : tuple of (int, int, str)
        First window, the one after the last, and why they could not be read.
    seconds : float
        How long the run took.
    """

    out: str
    windows: int
    regions: int
    computed: int
    failed: tuple[tuple[int, str], ...]
    unreadable: tuple[tuple[str, str], ...]
    masked: tuple[tuple[int, int, str], ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything was read, computed and stored."""
        return not (self.failed or self.unreadable or self.masked)

    def __str__(self) -> str:
        lines = [
            f"{self.out}: {self.windows} windows in {self.regions} regions, "
            f"{self.computed} computed now in {self.seconds:.1f} s"
        ]
        for path, reason in self.unreadable[:SHOWN]:
            lines.append(f"not read: {path}: {reason}")
        for start, stop, reason in self.masked[:SHOWN]:
            lines.append(f"masked: windows {start} to {stop - 1}: {reason}")
        for region, reason in self.failed[:SHOWN]:
            lines.append(f"failed: region {region}: {reason}")
        hidden = sum(
            max(0, len(found) - SHOWN) for found in (self.unreadable, self.masked, self.failed)
        )
        return "\n".join([*lines, *([f"and {hidden} more"] if hidden else [])])


@dataclass(frozen=True)
class Progress:
    """How far a job is: told at its start, and whenever a region ends."""

    regions: int
    n_regions: int
    windows: int
    n_windows: int


@dataclass(frozen=True)
class _Task:
    """One region's work, with no more of the job than it needs."""

    region: int
    shard: int
    dtype: str
    store: Store
    recordings: Recordings
    grid: WindowGrid
    feature: Feature


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
        If something else is at the plan's path.
    """
    began = time.monotonic()
    store = new_store(plan.out)
    begun = find_begun(plan, overwrite)
    record = Record(store.record_folder)
    done = (
        {region: it for region, it in record.done().items() if record.in_place(it)} if begun else {}
    )
    failed: list[tuple[int, str]] = []
    pending = [region for region in range(plan.layout.n_regions) if region not in done]
    before = len(done)
    n_windows = sum(plan.layout.length(region) for region in done)

    def tell() -> None:
        progress(Progress(len(done), plan.layout.n_regions, n_windows, plan.layout.n_windows))

    tell()
    stop = plan.settings.on_error == "stop"
    if pending and not (stop and plan.recordings.unreadable):
        with started(cluster) as engine:
            # Only now, when nothing else can be refused; another job may have come first.
            if not begun and not find_begun(plan, overwrite):
                _create(plan, store, overwrite)
            for region, result in _compute(engine, (_task(plan, store, r) for r in pending)):
                if isinstance(result, Done) and not (stop and result.unreadable):
                    record.add(result)
                    done[region] = result
                    n_windows += plan.layout.length(region)
                    tell()
                    continue
                failed.append((region, _reason(result)))
                if stop:
                    break
    complete = len(done) == plan.layout.n_regions
    if complete and (pending or not record.finished()):
        store.finish(_valid(plan.layout.n_windows, done))
        record.finish()
    return Report(
        plan.out,
        plan.layout.n_windows,
        plan.layout.n_regions,
        len(done) - before,
        tuple(sorted(failed)),
        plan.recordings.unreadable,
        tuple(_masked(plan.grid, done)),
        time.monotonic() - began,
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
    if not new_store(plan.out).path.exists():
        return False
    theirs = Record(open_store(plan.out).record_folder).job()
    if overwrite:
        return False
    if theirs["fingerprint"] == fingerprint(plan.identity):
        return True
    raise ValueError(
        f"{plan.out} holds another job: {_difference(theirs, plan.identity)}; give the same "
        f"again, another path, or --overwrite"
    )


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The first setting or file in which two jobs differ."""
    for group in ("format", "settings", "feature", "labels", "inputs", "unreadable", "layout"):
        old, new = theirs.get(group), json.loads(json.dumps(ours[group]))
        if old == new:
            continue
        if group == "unreadable":
            old, new = dict.fromkeys(old or []), dict.fromkeys(new)
        elif group == "inputs":
            old, new = ({path: rest for path, *rest in items} for items in (old or [], new))
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
    identity = plan.identity
    label = classes = None
    if plan.labels is not None:
        values = plan.labels.values
        dims = ("window", "class")[: values.ndim]
        label = Variable(dims, values.shape, values.dtype, {"long_name": "label", "units": "1"})
        classes = plan.labels.classes
    sources = [item.path for item in plan.recordings]
    variables = describe(plan.layout, plan.feature, sources, label, classes)
    attrs = {
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
    if store.path.exists() and overwrite:
        store.remove()
    store.path.parent.mkdir(parents=True, exist_ok=True)
    with store.creating(plan.layout, variables, attrs) as aside:
        for a in range(0, plan.layout.n_windows, COORDINATE_CHUNK):
            for name, part in coordinate_values(plan.grid[a : a + COORDINATE_CHUNK]).items():
                aside.fill(name, a, part)
            if plan.labels is not None:
                aside.fill("label", a, plan.labels.values[a : a + COORDINATE_CHUNK])
        Record(aside.record_folder).begin(
            {"fingerprint": fingerprint(identity), "regions": plan.layout.n_regions, **identity}
        )


def _task(plan: Plan, store: Store, region: int) -> _Task:
    start, stop = plan.layout.bounds(region)
    grid, used = plan.grid[start:stop].detached()
    return _Task(
        region,
        plan.layout.shard,
        plan.layout.dtype,
        store,
        plan.recordings[used],
        grid,
        plan.feature,
    )


def _compute(engine: Engine, tasks: Iterator[_Task]) -> Iterator[tuple[int, Done | BaseException]]:
    """Run tasks, a few in flight at a time; their results as they come."""
    running: dict[Future[Done], int] = {}
    try:
        while True:
            for task in islice(tasks, max(0, engine.slots() - len(running))):
                running[engine.submit(run_region, task)] = task.region
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.exception() or future.result()
    finally:
        for future in running:
            future.cancel()


def run_region(task: _Task) -> Done:
    """Compute and store one region, on whatever worker this is."""
    start, stop = task.grid.offset, task.grid.offset + len(task.grid)
    valid = np.zeros(len(task.grid), np.bool_)

    def read(recordings: Recordings, grid: WindowGrid) -> npt.NDArray[np.float32]:
        block = read_windows(recordings, grid)
        row = grid.offset - start
        valid[row : row + len(block)] = ~np.isnan(block[:, 0])
        return block

    audio = open_windows(task.recordings, task.grid, block=task.shard, reader=read)
    features = map_windows(task.feature, audio, task.grid, task.dtype)
    with task.store.region(start, stop) as region:

        def store_block(block: npt.NDArray[Any], block_info: Any = None) -> npt.NDArray[Any]:
            region.write(start + block_info[0]["array-location"][0][0], block)
            return np.zeros((1,) * block.ndim, np.bool_)

        stored = da.map_blocks(
            store_block,
            features,
            name=f"store-{task.region}",
            chunks=(1,) * features.ndim,
            dtype=np.bool_,
            meta=np.empty((0,) * features.ndim, np.bool_),
        )
        stored.compute(scheduler=get_sync)  # named "synchronous", it loads distributed first
    return Done(task.region, tuple(region.files), tuple(_unreadable(task, valid)))


def _unreadable(task: _Task, valid: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, str]]:
    """Runs of windows of one recording that could not be read, and why."""
    recording = task.grid.locate()[0]
    bad = np.flatnonzero(~valid)
    breaks = np.flatnonzero((np.diff(bad) > 1) | (np.diff(recording[bad]) > 0)) + 1
    for run_ in np.split(bad, breaks):
        if len(run_):
            reason = why_unreadable(task.recordings, task.grid, int(run_[0]))
            yield task.grid.offset + int(run_[0]), task.grid.offset + int(run_[-1]) + 1, reason


def _masked(grid: WindowGrid, done: dict[int, Done]) -> list[tuple[int, int, str]]:
    """Runs of windows of one recording that could not be read, over all regions."""
    masked: list[tuple[int, int, str]] = []
    for start, stop, reason in chain.from_iterable(done[i].unreadable for i in sorted(done)):
        follows = masked and masked[-1][1] == start
        if follows and grid[start - 1].recording == grid[start].recording:
            masked[-1] = masked[-1][0], stop, masked[-1][2]
        else:
            masked.append((start, stop, reason))
    return masked


def _valid(n_windows: int, done: dict[int, Done]) -> npt.NDArray[np.bool_]:
    valid = np.ones(n_windows, np.bool_)
    for region in done.values():
        for start, stop, _ in region.unreadable:
            valid[start:stop] = False
    return valid


def _reason(result: Done | BaseException) -> str:
    if isinstance(result, Done):
        return result.unreadable[0][2]
    return f"{type(result).__name__}: {result}"
