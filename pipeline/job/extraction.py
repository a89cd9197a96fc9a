"""The job: a plan run region by region, each recorded when its data is in place."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.cluster import Cluster, capacity_of, load_cluster, started
from pipeline.features import Feature, Spectrogram
from pipeline.job.begun import find_begun
from pipeline.job.execution import Execution
from pipeline.job.plan import Plan
from pipeline.job.projection import check_fits
from pipeline.job.report import Progress, Report
from pipeline.labels import LabelsLike
from pipeline.locks import locked, shared
from pipeline.recordings import PathLike
from pipeline.settings import Settings
from pipeline.share import Share
from pipeline.store import Store, new_store


def extract(
    sources: PathLike | Iterable[PathLike],
    out: PathLike,
    features: Feature = Spectrogram(),  # noqa: B008 - it is frozen
    labels: LabelsLike = None,
    cluster: PathLike | None = None,
    *,
    overwrite: bool = False,
    share: str | None = None,
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
        Remove the store of another job that is in the way. One of this very job goes on where
        it was; to have it computed anew, remove it.
    share : str, optional
        ``"I/N"``: do one of N parts of the job, I from 0 to N-1. Others may be
        done at the same time, on any host, in any order, any number of times;
        the last that ends finishes the store.
    progress : callable
        Called with a `Progress` at the start and after each region.
    **settings
        As of `Settings`: ``window``, ``hop``, ``channel``, ``samplerate``,
        ``tail``, ``dtype``, ``limits``, ``compression``, ``on_error``, ``on_lost``,
        ``retries``, ``numerics``, ``flush``.

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
    check_fits(plan, capacity_of(where))
    part = Share.parse(share) if share is not None else None
    return run(plan, where, overwrite=overwrite, share=part, progress=progress)


def run(
    plan: Plan,
    cluster: Cluster,
    *,
    overwrite: bool = False,
    share: Share | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
    performance_report: Path | None = None,
) -> Report:
    """Do what is still to be done of a plan, as `extract` does.

    `notice` is called with a sentence for people, where there is something to say meanwhile.
    """
    if overwrite and share is not None:
        raise ValueError(
            "a share cannot overwrite, for it would remove what others have done; pass overwrite "
            "without share once, or another path"
        )
    store = new_store(plan.out)
    begun = find_begun(plan, overwrite)  # refused before anything is touched
    right = locked(store.path) if share is None else shared(store.path, str(share))
    with _naming(store), right as lock:
        if begun and overwrite:
            notice(
                f"{plan.out} is of this very job, so nothing is removed, and it goes on where it "
                f"was; remove it to have all of it computed anew"
            )
        execution = Execution(plan, store, lock, share, progress)
        execution.find_state(overwrite)
        if execution.drops_attached:
            notice(
                f"{plan.out} is made without what was added to it when it was finished; run "
                f"label, split and statistics again where they were run"
            )
        execution.run(started(cluster, notice, performance_report), overwrite)
        return execution.report()


@contextmanager
def _naming(store: Store) -> Iterator[None]:
    """Name the store in what the operating system says of it before anything is computed."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a sentence of our own
            raise
        raise OSError(
            f"{store.path} cannot be written to: {os.strerror(error.errno)}; fix that, and "
            f"run the same command again"
        ) from error
