"""Relabelling: other labels for a finished store, of which no feature is computed again."""

import os
from typing import Any

from pipeline.job.label_variables import LABEL_NAMES, describe_labels, label_variables, told_of
from pipeline.job.stored_windows import frame_times, stored_clock, stored_windows
from pipeline.labels import Labelling, LabelsLike, LabelSource, find_labels
from pipeline.locks import locked
from pipeline.steps import Steps, all_unseen
from pipeline.store import Attachment, Store, attach, coordinates_of, open_finished


def label(
    path: str | os.PathLike[str],
    labels: LabelsLike,
    *,
    progress: Steps = all_unseen,
    **labelling: Any,
) -> dict[str, Any]:
    """Label a finished store anew, at once or not at all, without computing its features.

    Parameters
    ----------
    path : path
        A store that `extract` has finished.
    labels : path or array_like
        As for `extract`: label files, a folder or a glob of them, or one label a window.
    progress : callable
        Called with what is counted, such as "label files read", it returns a function that is
        called with how many there were so far, and how many there are.
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
    made = _labels_of(store, labels, chosen, progress)
    with locked(store.path) as lock:
        store.sweep()  # what one that was killed has left
        store = open_finished(path)  # another may have been at it until now
        lock.check()
        attach(store, _attachment(store, made, chosen), progress("rows of labels written"))
    return describe_labels(made, progress=progress("windows counted"))


def _labels_of(
    store: Store, labels: LabelsLike, labelling: Labelling, progress: Steps
) -> LabelSource:
    """The labels of the windows of a store."""
    recordings, grid = stored_windows(store)
    clock = stored_clock(store, grid)
    times = frame_times(store)
    found = find_labels(labels, recordings, grid, times, labelling, clock, progress)
    assert found is not None
    return found


def _attachment(store: Store, labels: LabelSource, labelling: Labelling) -> Attachment:
    variables = label_variables(labels, filled=True)
    return Attachment(
        variables,
        [name for name in LABEL_NAMES if name not in variables],
        {"labels": told_of(labels, labelling)},
        coordinates_of(
            variables,
            dated=store.get("datetime", 0, 0) is not None,
            split=store.get("split", 0, 0) is not None,
        ),
    )
