"""Relabelling: other labels for a finished store, of which no feature is computed again."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.grid import WindowGrid
from pipeline.inputs import FRAMES
from pipeline.job.label_variables import LABEL_NAMES, describe_labels, label_variables, told_of
from pipeline.job.plan import recorded
from pipeline.labels import Labelling, LabelsLike, LabelSource, find_labels
from pipeline.locks import locked
from pipeline.record import Record
from pipeline.recordings import NAT, Recordings, clock_of
from pipeline.settings import Settings
from pipeline.store import Attachment, Store, attach, coordinates_of, open_finished


def label(path: str | os.PathLike[str], labels: LabelsLike, **labelling: Any) -> dict[str, Any]:
    """Label a finished store anew, at once or not at all, without computing its features.

    Parameters
    ----------
    path : path
        A store that `extract` has finished.
    labels : path or array_like
        As for `extract`: label files, a folder or a glob of them, or one label a window.
    **labelling
        Parameters of `Labelling`, such as ``min_overlap`` or ``classes``.

    Returns
    -------
    dict
        What became of the events, and how many windows have each class.

    Raises
    ------
    FileNotFoundError
        If there is no store, or no label file.
    ValueError
        If it is not finished, or a packed copy, or another job has it, or a label file cannot be
        read or does not fit.
    OSError
        If it is damaged, or cannot be written to; it is as it was then.

    Notes
    -----
    Killed at any moment, the store has the old labels or the new ones; so has who reads it. A job
    that goes on, as after ``verify --repair``, makes the labels that it was given: run this again
    then.
    """
    chosen = Labelling(**labelling)
    store = open_finished(path)
    if store.packed:
        raise ValueError(
            f"{path} is a packed copy, of which nothing is changed; label the store it was made "
            f"of, and pack that again"
        )
    if labels is None:
        raise ValueError("there are no labels; pass label files, or one label for each window")
    made = _labels_of(store, labels, chosen)
    with locked(store.path) as lock:
        store.sweep()  # what one that was killed has left
        store = open_finished(path)  # another may have been at it until now
        lock.check()
        attach(store, _attachment(store, made, chosen))
    return describe_labels(made)


def _labels_of(store: Store, labels: LabelsLike, labelling: Labelling) -> LabelSource:
    """The labels of the windows of a store."""
    record, settings = Record(store.record_folder), _settings_of(store)
    items = [recorded(path, row, settings) for path, *row in record.inputs()]
    recordings = Recordings(items, [*record.job()["unreadable"].items()])
    grid = WindowGrid(recordings, settings.window, settings.hop, settings.tail)
    name, units = FRAMES
    times = store.coordinate(name) if store.axes().get(name) == units else None
    found = find_labels(labels, recordings, grid, times, labelling, _clock_of(store, grid))
    assert found is not None
    return found


def _clock_of(store: Store, grid: WindowGrid) -> npt.NDArray[np.float64] | None:
    """When each recording began, in seconds since 1970 in UTC; None if nothing is known of it."""
    stored, counts = store.get("datetime"), grid.counts
    if stored is None:
        return None
    found = np.full(len(counts), NAT)
    found[counts > 0] = stored[(np.cumsum(counts) - counts)[counts > 0]]
    return clock_of(found)


def _settings_of(store: Store) -> Settings:
    values: Mapping[str, Any] = json.loads(store.attrs()["settings"])
    known = Settings.names()
    return Settings(**{name: value for name, value in values.items() if name in known})


def _attachment(store: Store, labels: LabelSource, labelling: Labelling) -> Attachment:
    variables = label_variables(labels, filled=True)
    return Attachment(
        variables,
        [name for name in LABEL_NAMES if name not in variables],
        {"labels": told_of(labels, labelling)},
        coordinates_of(variables, dated=store.get("datetime", 0, 0) is not None),
    )
