"""Labels that are made of events, a block of windows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import array_digest
from pipeline.grid import WindowGrid
from pipeline.labels.collecting import label_files, read_events
from pipeline.labels.events import Events
from pipeline.labels.labelling import Labelling
from pipeline.labels.placing import Placement, Places, place
from pipeline.labels.windows import WindowLabels
from pipeline.steps import Step, Steps, all_unseen, told, unseen

Array = npt.NDArray[Any]
COUNTED_BYTES = 1 << 24  # of labels that are made at a time


class EventLabels:
    """The labels that events make of the windows of a grid.

    Parameters
    ----------
    placement : Placement
        The events, in the recordings of the grid.
    grid : WindowGrid
        The windows.
    labelling : Labelling
        What of the events becomes y.
    times : array, shape (frame,), optional
        Centres of the feature's frames, in seconds from the window's start.
    source : str, optional
        The path, the folder or the glob that names the label files.
    """

    def __init__(
        self,
        placement: Placement,
        grid: WindowGrid,
        labelling: Labelling,
        times: Array | None = None,
        source: str = "",
    ) -> None:
        self.classes, self.account, self.source = placement.classes, placement.account, source
        frames = None
        if labelling.label_kind == "frame":
            assert times is not None
            frames = edges_of(times) * grid.samplerate
        self._labelling, self._n_windows = labelling, len(grid)
        events = placement.events, placement.state, placement.spans
        self._identity = [
            *(array_digest(np.ascontiguousarray(c)) for c in (*events[0], events[1], *events[2])),
            *([] if frames is None else [array_digest(frames)]),
        ]
        self._windows = WindowLabels(
            grid, *events, len(self.classes), labelling.rule, labelling.label_kind, frames
        )

    @classmethod
    def read(
        cls,
        labels: str,
        places: Places,
        grid: WindowGrid,
        labelling: Labelling,
        times: Array | None,
        progress: Steps = all_unseen,
    ) -> EventLabels:
        """Those of the label files that a path, a folder or a glob names."""
        if labelling.label_kind == "frame" and times is None:
            raise ValueError(
                "label_kind is 'frame', but the feature has no frames; pass label_kind 'window' or "
                "'fraction'"
            )
        _, placement = read_placed(labels, places, grid, labelling, progress)
        return cls(placement, grid, labelling, times, labels)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of the labels."""
        return ("window", "class", "time")[: len(self.shape)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all labels."""
        return (self._n_windows, *self._windows.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels."""
        return self._windows.dtype

    @property
    def told(self) -> Mapping[str, Any]:
        """What became of the events, as plain values."""
        return self.account.counts

    def block(self, start: int, stop: int) -> dict[str, Array]:
        """Labels of some windows, and what was annotated."""
        label, annotated = self._windows.block(start, stop)
        return {"label": label, "annotated": annotated}

    def identity(self) -> list[Any]:
        """What the labels are known by again."""
        rule = self._labelling.rule
        return [
            *("events", self._labelling.label_kind, self.classes),
            *(rule.min_overlap, rule.min_fraction_of_event, rule.min_fraction_of_window),
            *self._identity,
        ]

    def by_class(self, progress: Step = unseen) -> dict[str, dict[str, int]]:
        """How many windows have each class, have it not, and are not known to."""
        n = len(self.classes)
        present, known = np.zeros(n, np.int64), np.zeros(n, np.int64)
        step = max(1, COUNTED_BYTES // max(1, int(np.prod(self._windows.shape))))
        for a in range(0, self._n_windows, step):
            block = self.block(a, min(a + step, self._n_windows))
            label = block["label"].reshape(len(block["label"]), n, -1)
            present += (label > 0).any(axis=2).sum(axis=0)
            known += block["annotated"].sum(axis=0)
            progress(min(a + step, self._n_windows), self._n_windows)
        return {
            name: {"present": p, "absent": k - p, "unknown": self._n_windows - k}
            for name, p, k in zip(self.classes, present.tolist(), known.tolist(), strict=True)
        }


def read_placed(
    labels: str,
    places: Places,
    grid: WindowGrid,
    labelling: Labelling,
    progress: Steps = all_unseen,
) -> tuple[Events, Placement]:
    """The events of the label files that a path, a folder or a glob names, and their places."""
    files = label_files(labels)
    if not files:
        raise FileNotFoundError(f"{labels} names no label file; pass a file, a folder or a glob")
    step = progress("label files read")
    events = read_events(told(files, step, len(files)), labelling)
    return events, place(events, places, grid, labelling)


def edges_of(times: Sequence[float] | Array) -> Array:
    """The edges of frames, half-way between their centres."""
    centres = np.asarray(times, np.float64)
    if len(centres) == 1:
        return np.array([0.0, 2 * centres[0]])
    between = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - between[0], 2 * centres[-1] - between[-1]
    return np.concatenate([[first], between, [last]])
