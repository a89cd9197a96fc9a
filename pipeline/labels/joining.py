"""Joining labels to windows: which label of a file, an array or a recording belongs to which."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.audio import HDF5_SUFFIXES
from pipeline.grid import WindowGrid
from pipeline.labels.collecting import holds_events, is_single
from pipeline.labels.event_labels import EventLabels
from pipeline.labels.files import load_labels, read_label
from pipeline.labels.labelling import Labelling
from pipeline.labels.placing import Places
from pipeline.labels.values import Labels, LabelsByPath, LabelSource, check_count, make_labels
from pipeline.paths import as_path
from pipeline.recordings import FileNames, PathLike, Recordings
from pipeline.steps import Steps, all_unseen, told

OF_WINDOWS = "windows"  # in place of a format: one label a window
LabelsLike = PathLike | LabelSource | Sequence[Any] | npt.NDArray[Any] | None


class Labelled(NamedTuple):
    """A recording that may have labels."""

    path: str
    location: str
    n_windows: int


def find_labels(
    labels: LabelsLike,
    recordings: Recordings,
    grid: WindowGrid,
    times: npt.NDArray[Any] | None,
    labelling: Labelling,
    clock: npt.NDArray[Any] | None = None,
    progress: Steps = all_unseen,
) -> LabelSource | None:
    """The labels of the windows of a grid: those that are passed, or stored with the recordings.

    `times` are the centres of the feature's frames, in seconds from the window's start; `clock`
    says when each recording began, in seconds since 1970 in UTC, or NaN.
    """
    unread = [path for path, _ in recordings.unreadable]
    if isinstance(labels, str | os.PathLike) and _are_events(os.fspath(labels), labelling):
        places = Places.of(recordings, unread, clock)
        return EventLabels.read(os.fspath(labels), places, grid, labelling, times, progress)
    allowed = ("label_column", labelling.label_column), ("label_format", OF_WINDOWS)
    for name in labelling.passed:
        if labels is None or (name, labelling.passed[name]) not in allowed:
            what = "there are no labels" if labels is None else "the labels are of windows"
            raise ValueError(f"{name} is passed, but {what}; it goes with files of events")
    labelled = (
        Labelled(item.path, item.location, int(count))
        for item, count in zip(recordings, grid.counts, strict=True)
    )
    if labels is None:
        return stored_labels(told(labelled, progress("files asked for labels"), len(recordings)))
    return passed_labels(labels, labelled, len(grid), unread, labelling.label_column)


def _are_events(labels: str, labelling: Labelling) -> bool:
    """Whether a path, a folder or a glob names label files, or a file of one label a window."""
    if labelling.label_format == OF_WINDOWS:
        return False
    if labelling.label_format is not None or not is_single(labels):
        return True
    path = as_path(labels)
    if path.suffix.lower() in (".npy", *HDF5_SUFFIXES) or not path.exists():
        return False
    return holds_events(path)


def passed_labels(
    labels: LabelsLike,
    recordings: Iterable[Labelled],
    n_windows: int,
    unread: Sequence[str],
    column: str | None = None,
) -> LabelSource:
    """The labels of a file, or of an array, if they are those of the windows."""
    values: Any = labels
    what = "labels"
    if isinstance(labels, str | os.PathLike):
        what, values = os.fspath(labels), load_labels(as_path(labels), column)
    if isinstance(values, LabelsByPath):
        return _joined_by_path(values, recordings, unread)
    made: LabelSource = values if _is_source(values) else make_labels(values)
    without = f" without {_some(unread)}, which cannot be read" if unread else ""
    check_count(made.shape[0], n_windows, what, "the audio", without)
    return made


def _is_source(values: Any) -> bool:
    return isinstance(values, Labels | EventLabels)


def _joined_by_path(
    labels: LabelsByPath, recordings: Iterable[Labelled], unread: Sequence[str]
) -> Labels:
    """The labels of a table that names the recordings, in the order of the windows.

    A table that names each recording once has labels of whole recordings.
    """
    table, text, missing = labels.table, list[str](), list[str]()
    once = all(len(found) == 1 for found in labels.labels.values())
    file = FileNames()
    left: dict[str, str] = {}  # what the table calls a file
    for path in labels.labels:
        other = left.setdefault(file.of(path), path)
        if other != path:
            raise ValueError(f"{table} names {other} also as {path}; name it in one way")
    for item in recordings:
        found = labels.labels.get(left.pop(file.of(item.location), ""), ())
        if found and once:
            found = [*found] * item.n_windows
        elif found:
            check_count(len(found), item.n_windows, f"{table}, for {item.path},", "its audio")
        elif item.n_windows:
            missing.append(item.path)
        text += found
    if missing:
        raise ValueError(f"{table} has no label for {_some(missing)}; give one for each window")
    for path in unread:
        left.pop(file.of(path), None)
    if left:
        raise ValueError(
            f"{table} has labels for {_some([*left.values()])}, not among the recordings; leave "
            f"out their rows, or pass the files as sources, too"
        )
    return make_labels(text)


def _some(paths: Sequence[str]) -> str:
    return f"{paths[0]} and {len(paths) - 1} more" if paths[1:] else paths[0]


def stored_labels(recordings: Iterable[Labelled]) -> Labels | None:
    """The labels stored with the recordings, if they have any."""
    values: list[npt.NDArray[Any]] = []
    without: str | None = None
    for item in recordings:
        try:
            array = read_label(as_path(item.path))
            if array is not None:
                _check_alike(array, values[0] if values else array)
                make_labels(array)
        except (OSError, ValueError) as error:
            raise ValueError(f"the labels of {item.path} cannot be used: {error}") from error
        if array is None:
            without = without or item.path
            continue
        check_count(len(array), item.n_windows, f"the label of {item.path}", "its audio")
        values.append(array)
    if values and without:
        raise ValueError(
            f"{without} has no labels, but others of the recordings have; pass labels for all, "
            f"or for none"
        )
    return make_labels(np.concatenate(values)) if values else None


def _check_alike(array: npt.NDArray[Any], first: npt.NDArray[Any]) -> None:
    text = [labels.dtype.kind in "UOT" for labels in (array, first)]
    if array.shape[1:] != first.shape[1:] or text[0] != text[1]:
        raise ValueError(f"they have shape {array.shape} and dtype {array.dtype}, unlike others")
