"""The inputs of a job: recordings, cut into windows, with a feature and labels that fit them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import Feature
from pipeline.grid import WindowGrid
from pipeline.labels import Labels, LabelsByPath, check_count, load_labels, make_labels, read_label
from pipeline.paths import as_path
from pipeline.recordings import FileNames, PathLike, Recordings, scan
from pipeline.settings import Settings
from pipeline.windows import bind_to_grid

LabelsLike = PathLike | Labels | Sequence[Any] | npt.NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class Inputs:
    """What features are computed of: recordings, cut into labelled windows.

    Parameters
    ----------
    recordings : Recordings
        Where the audio is.
    grid : WindowGrid
        The windows of the recordings.
    feature : Feature
        For the rate and window length of the grid.
    labels : Labels or None
        One for each window.
    """

    recordings: Recordings
    grid: WindowGrid
    feature: Feature
    labels: Labels | None

    @classmethod
    def find(
        cls,
        sources: PathLike | Iterable[PathLike],
        feature: Feature,
        labels: LabelsLike,
        settings: Settings,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Inputs:
        """Scan the sources and fit grid, feature and labels to them.

        Raises
        ------
        ValueError, OSError
            If sources, labels and settings do not fit each other.
        """
        recordings = scan(
            sources,
            channel=settings.channel,
            samplerate=settings.samplerate,
            progress=progress,
        )
        return cls.of(recordings, feature, labels, settings)

    @classmethod
    def of(
        cls, recordings: Recordings, feature: Feature, labels: LabelsLike, settings: Settings
    ) -> Inputs:
        """Fit grid, feature and labels to recordings; see `find`."""
        grid = WindowGrid(recordings, settings.window, settings.hop, settings.tail)
        if not len(grid):
            raise ValueError(
                f"no recording is as long as a window of {settings.window} s; give a shorter "
                f"window, or tail 'pad'"
            )
        feature = bind_to_grid(feature, grid, settings.dtype)
        if labels is None:
            found = _stored_labels(recordings, grid)
        else:
            found = _given_labels(labels, recordings, grid)
        return cls(recordings, grid, feature, found)


def _given_labels(labels: LabelsLike, recordings: Recordings, grid: WindowGrid) -> Labels:
    """The labels of a file, or of an array, if they are those of the windows."""
    values: Any = labels
    what = "labels"
    if isinstance(labels, str | os.PathLike):
        what, values = os.fspath(labels), load_labels(as_path(labels))
    if isinstance(values, LabelsByPath):
        return _joined(values, recordings, grid)
    made = values if isinstance(values, Labels) else make_labels(values)
    unread = [path for path, _ in recordings.unreadable]
    without = f" without {_some(unread)}, which cannot be read" if unread else ""
    check_count(len(made.values), len(grid), what, "the audio", without)
    return made


def _joined(labels: LabelsByPath, recordings: Recordings, grid: WindowGrid) -> Labels:
    """The labels of a table that names the recordings, in the order of the windows."""
    table, text, missing = labels.table, list[str](), list[str]()
    file = FileNames()
    left: dict[str, str] = {}  # what the table calls a file
    for path in labels.labels:
        other = left.setdefault(file.of(path), path)
        if other != path:
            raise ValueError(f"{table} names {other} also as {path}; name it in one way")
    for item, count in zip(recordings, grid.counts, strict=True):
        found = labels.labels.get(left.pop(file.of(item.location), ""), ())
        if found:
            check_count(len(found), int(count), f"{table}, for {item.path},", "its audio")
        elif count:
            missing.append(item.path)
        text += found
    if missing:
        raise ValueError(f"{table} has no label for {_some(missing)}; give one for each window")
    for path, _ in recordings.unreadable:
        left.pop(file.of(path), None)
    if left:
        raise ValueError(
            f"{table} has labels for {_some([*left.values()])}, not among the recordings; leave "
            f"out their rows, or pass the files as sources, too"
        )
    return make_labels(text)


def _some(paths: Sequence[str]) -> str:
    return f"{paths[0]} and {len(paths) - 1} more" if paths[1:] else paths[0]


def _stored_labels(recordings: Recordings, grid: WindowGrid) -> Labels | None:
    """The labels stored with the recordings, if they have any."""
    values: list[npt.NDArray[Any]] = []
    without: str | None = None
    for item, count in zip(recordings, grid.counts, strict=True):
        try:
            array = read_label(as_path(item.path))
            first = values[0] if values else array
            if array is not None and first is not None:
                text = [labels.dtype.kind in "UOT" for labels in (array, first)]
                if array.shape[1:] != first.shape[1:] or text[0] != text[1]:
                    raise ValueError(
                        f"they have shape {array.shape} and dtype {array.dtype}, unlike others"
                    )
            if array is not None:
                make_labels(array)
        except (OSError, ValueError) as error:
            raise ValueError(f"the labels of {item.path} cannot be used: {error}") from error
        if array is None:
            without = without or item.path
            continue
        check_count(len(array), int(count), f"the label of {item.path}", "its audio")
        values.append(array)
    if values and without:
        raise ValueError(
            f"{without} has no labels, but others of the recordings have; give labels for all, "
            f"or for none"
        )
    return make_labels(np.concatenate(values)) if values else None
