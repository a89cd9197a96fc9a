"""The plan: what a job will do, as a value; recordings lost since it began are included."""

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.audio import Header
from pipeline.features import Feature, FeatureIdentity, identify
from pipeline.grid import WindowGrid
from pipeline.html import Section, Shown
from pipeline.inputs import Inputs, scan_for
from pipeline.job.identity import codes_of, identity_of
from pipeline.job.projection import describe_plan
from pipeline.job.summary import line_of, sections_of
from pipeline.labels import Labels, LabelsLike, countable
from pipeline.layout import Layout
from pipeline.paths import is_remote
from pipeline.process import cores, numerics_class
from pipeline.record import Record, fingerprint
from pipeline.recordings import NAT, PathLike, Recording, Recordings, Remembered, no_stamps
from pipeline.settings import Settings
from pipeline.steps import Steps, all_unseen
from pipeline.store import Encoding, Store, check_axes, new_store

LOST = -1  # in place of the number of a recording among those that are there


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Shown):
    """What a job will do; made without reading any audio."""

    inputs: Inputs
    feature_identity: FeatureIdentity
    settings: Settings
    encoding: Encoding
    layout: Layout
    out: str

    @classmethod
    def make(
        cls,
        sources: PathLike | Iterable[PathLike],
        out: PathLike,
        feature: Feature,
        labels: LabelsLike = None,
        settings: Settings = Settings(),  # noqa: B008 - it is frozen
        *,
        progress: Steps = all_unseen,
    ) -> Self:
        """Plan a job; a ValueError or OSError says what of it will not do."""
        store = new_store(out)  # its ending is checked before anything is read
        is_zarr = store.path.suffix == ".zarr"
        if settings.compression != "none" and not is_zarr:
            raise ValueError(
                f"compression is {settings.compression!r}, but {os.fspath(out)} is HDF5, which is "
                f"not compressed; leave it out, or pass a path ending in .zarr"
            )
        inputs = _find_inputs(store, sources, feature, labels, settings, progress)
        plan = cls.of(inputs, settings, os.fspath(out), region_is_file=not is_zarr)
        return plan._as_begun(Record(store.record_folder))

    @classmethod
    def of(cls, inputs: Inputs, settings: Settings, out: str, *, region_is_file: bool) -> Self:
        """The plan of inputs that were found."""
        check_axes(inputs.feature)
        encoding = Encoding.of(settings.dtype, inputs.feature, settings.limits)
        layout = inputs.layout(settings, region_is_file=region_is_file)
        return cls(inputs, identify(inputs.feature), settings, encoding, layout, out)

    def _as_begun(self, record: Record) -> Self:
        """The same plan, but cut as its job was where another version began it."""
        if record.begun():
            with suppress(OSError, ValueError, KeyError, TypeError):
                job = record.job()
                begun = replace(self, layout=Layout.from_json(job["identity"]["layout"]))
                if begun.layout != self.layout and begun.fingerprint == job["fingerprint"]:
                    return begun
        return self

    @property
    def numerics(self) -> str | None:
        """The numerics class that must compute it, that of this process; None if any may."""
        return numerics_class() if self.settings.numerics == "same" else None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines the stored bytes, as plain values."""
        inputs, settings = self.inputs, self.settings
        return {
            **identity_of(inputs, self.feature_identity, settings, self.layout),
            **codes_of(self.encoding, inputs.feature, settings),
        }

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the identity."""
        return fingerprint(self.identity)

    @cached_property
    def _described(self) -> dict[str, Any]:
        labels = self.inputs.labels
        counted = labels is not None and countable(labels.shape)
        return describe_plan(self, cores(), counted=counted)

    def _line(self) -> str:
        return line_of(self._described)

    def _sections(self) -> Iterator[Section]:
        return sections_of(self._described)


def _find_inputs(
    store: Store,
    sources: PathLike | Iterable[PathLike],
    feature: Feature,
    labels: LabelsLike,
    settings: Settings,
    progress: Steps,
) -> Inputs:
    """The inputs of a new job, or of one that was begun, with those that are lost."""
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    # A glob of the shell may name what an earlier run has stored.
    stored = {os.path.realpath(store.path), os.path.realpath(f"{store.path}.parts")}
    sources = [source for source in sources if os.path.realpath(source) not in stored]
    record = Record(store.record_folder)
    if settings.on_lost == "stop" or not record.begun():
        return Inputs.find(sources, feature, labels, settings, progress)
    recordings = _find_again(sources, record, settings, progress)
    labels = _labels_of(store) if labels is None else labels
    remembered = _starts_of(store, recordings, settings)
    return Inputs.of(recordings, feature, labels, settings, remembered, progress)


def _find_again(
    sources: Iterable[PathLike], record: Record, settings: Settings, progress: Steps
) -> Recordings:
    """The recordings of a job that was begun, in its order, those included that are lost.

    Sources that are gone are passed over; the record says how long each recording was.
    """
    there = [
        s for s in sources if is_remote(s) or glob.has_magic(os.fspath(s)) or os.path.exists(s)
    ]
    scanned = scan_for(settings, there, progress) if there else Recordings([])
    found = {item.path: (number, item) for number, item in enumerate(scanned)}
    known = {path: row for path, *row in record.inputs()}
    items = [
        found.pop(path) if path in found else (LOST, recorded(path, row, settings))
        for path, row in known.items()
    ]
    items += found.values()
    unreadable = [item for item in scanned.unreadable if item[0] not in known]
    recordings = Recordings([item for _, item in items], unreadable)
    recordings.said = scanned.said.of(np.array([number for number, _ in items], np.int64))
    if scanned.said.given is None and _was_dated(record):
        recordings.said = replace(recordings.said, given=no_stamps(len(items)))
    return recordings


def recorded(path: str, row: list[int], settings: Settings) -> Recording:
    """A recording as the record has it, whether or not it is still there."""
    size, modified, native, channels, n_samples, seekable = row
    header = Header(native, channels, n_samples, bool(seekable))
    rate = settings.samplerate or native
    return Recording(path, header, settings.channel, rate, size, modified, path, lost=True)


def _was_dated(record: Record) -> bool:
    """Whether a manifest said the times of a job, which may be gone with what it named."""
    with suppress(OSError, ValueError):
        return "datetime" in record.job()["identity"]
    return False


def _starts_of(store: Store, recordings: Recordings, settings: Settings) -> Remembered | None:
    """Start and offset of the recordings that are lost, as the store has them, if it is whole."""
    with suppress(OSError):
        offsets = store.get("utc_offset")
        return None if offsets is None else _starts_of_lost(store, offsets, recordings, settings)
    return None


def _starts_of_lost(
    store: Store, offsets: npt.NDArray[Any], recordings: Recordings, settings: Settings
) -> Remembered:
    counts = WindowGrid(recordings, settings.window, settings.hop, settings.tail).counts
    first = np.cumsum(counts) - counts
    start, offset = np.full(len(recordings), NAT), np.zeros(len(recordings), np.int32)
    for i, item in enumerate(recordings):
        if item.lost and counts[i] and i < len(offsets):
            stored = store.coordinate("datetime", int(first[i]), int(first[i]) + 1)
            if len(stored):
                start[i], offset[i] = stored[0], offsets[i]
    return start, offset


def _labels_of(store: Store) -> Labels | None:
    """The labels that a store has: those stored with lost recordings are lost with them."""
    values, classes = store.get("label"), store.get("class")
    if values is None or store.get("annotated") is not None:  # which events have made
        return None
    return Labels(values, None if classes is None else tuple(map(str, classes)))
