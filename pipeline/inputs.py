"""The inputs of a job: recordings, cut into windows, with a feature and labels that fit them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from pipeline.features import Feature, axes_of, bind, shape_of
from pipeline.grid import WindowGrid
from pipeline.labels import LabelsLike, LabelSource, find_labels
from pipeline.layout import Layout, choose_layout
from pipeline.recordings import (
    PathLike,
    Recordings,
    Remembered,
    Starts,
    describe_timeline,
    find_starts,
    scan,
)
from pipeline.settings import Settings
from pipeline.steps import Steps, all_unseen
from pipeline.windows import held_samples

FRAMES = "time", "s"  # name and units of the axis that frames go along


@dataclass(frozen=True, eq=False)
class Inputs:
    """What features are computed of: recordings, cut into labelled windows."""

    recordings: Recordings
    grid: WindowGrid
    feature: Feature  # for the rate and window length of the grid
    labels: LabelSource | None
    starts: Starts

    @classmethod
    def find(
        cls,
        sources: PathLike | Iterable[PathLike],
        feature: Feature,
        labels: LabelsLike,
        settings: Settings,
        progress: Steps = all_unseen,
    ) -> Self:
        """Scan the sources, and fit grid, feature and labels to them."""
        recordings = scan_for(settings, sources, progress)
        return cls.of(recordings, feature, labels, settings, progress=progress)

    @classmethod
    def of(
        cls,
        recordings: Recordings,
        feature: Feature,
        labels: LabelsLike,
        settings: Settings,
        remembered: Remembered | None = None,
        progress: Steps = all_unseen,
    ) -> Self:
        """Fit grid, feature and labels to recordings; `remembered` as in `find_starts`."""
        grid = WindowGrid(recordings, settings.window, settings.hop, settings.tail)
        if not len(grid):
            raise ValueError(
                f"no recording is as long as a window of {settings.window} s; pass a shorter "
                f"window, or tail 'pad'"
            )
        feature = bind(
            feature, grid.samplerate, grid.window_samples / grid.samplerate, settings.dtype
        )
        templates = settings.datetime or ()
        said, zone = recordings.said, settings.timezone
        starts = find_starts(recordings.paths, said, templates, zone, remembered)
        times, labelling = _times_of(feature), settings.labelling
        found = find_labels(labels, recordings, grid, times, labelling, starts.clock, progress)
        return cls(recordings, grid, feature, found, starts)

    def layout(self, settings: Settings, *, region_is_file: bool) -> Layout:
        """How a store of these would be cut into regions, shards and chunks."""
        return choose_layout(
            len(self.grid),
            shape_of(self.feature),
            settings.dtype,
            4 * self.held_samples,
            region_is_file=region_is_file,
            compression=settings.compression,
        )

    def timeline(self) -> dict[str, Any] | None:
        """What is known of when the recordings are, as plain values."""
        recordings = self.recordings
        lengths = recordings.n_samples, self.grid.samplerate
        return describe_timeline(self.starts, recordings.paths, *lengths)

    @property
    def held_samples(self) -> int:
        """Samples that are held for each window: with its context, or what is not shared."""
        return held_samples(self.feature, self.grid)


def scan_for(
    settings: Settings, sources: PathLike | Iterable[PathLike], progress: Steps
) -> Recordings:
    """The recordings at the sources, as the settings take them."""
    return scan(
        sources,
        channel=settings.channel,
        samplerate=settings.samplerate,
        progress=progress("files looked at"),
        listing=progress("names listed"),
    )


def _times_of(feature: Feature) -> npt.NDArray[Any] | None:
    """The centres of the frames of a feature, in seconds from the window's start."""
    named = (axis for axis in axes_of(feature) if (axis.name, axis.units) == FRAMES)
    return next((axis.values for axis in named), None)
