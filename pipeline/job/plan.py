"""The plan: what a job will do, as a value that can be printed, compared and refused."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.cluster import Capacity
from pipeline.features import (
    Feature,
    FeatureIdentity,
    array_digest,
    identify,
    shape_of,
    without_defaults,
)
from pipeline.inputs import Inputs, LabelsLike
from pipeline.job.lost import find_again, labels_of
from pipeline.layout import Layout, choose_layout
from pipeline.paths import KEPT_BYTES, is_remote
from pipeline.process import numerics_class
from pipeline.record import Record, digest_lines, fingerprint
from pipeline.recordings import PathLike
from pipeline.settings import Settings
from pipeline.share import Share
from pipeline.store import COORDINATE_CHUNK, FORMAT, check_axes, new_store

# Measured by scripts/measure/bounds: what Python and the libraries take; how often a
# thread holds a block of features while it is computed, encoded and written (Zarr
# encodes one block while the next is computed); and what a kernel works in, at least,
# or for one window: so many times its features, and bytes for each of its samples.
BASE_BYTES = 200 * 1024**2
COPIES = {".zarr": 2.5, ".h5": 3.0, ".hdf5": 3.0}
COPIES_COMPRESSED = 4.5
SCRATCH_BYTES = 12 * 1024**2
SCRATCH_WINDOWS, SCRATCH_SAMPLE = 8, 20
PER_WINDOW = 4  # small variables: recording, start, n_samples, valid
RECORD_FILES = 5  # job, inputs, two logs, finished
SMALLEST = 2  # times smaller, by compression: features of sound were 1.2 to 1.6 times


@dataclass(frozen=True, eq=False)
class Plan(Inputs):
    """What a job will do; made without reading any audio.

    Parameters
    ----------
    recordings, grid, feature, labels
        As of `Inputs`.
    out : str
        Path of the store.
    settings : Settings
        How recordings are cut, read and stored.
    layout : Layout
        How the store is cut into files.
    known : FeatureIdentity
        By what the feature is known again.
    """

    out: str
    settings: Settings
    layout: Layout
    known: FeatureIdentity

    @classmethod
    def make(
        cls,
        sources: PathLike | Iterable[PathLike],
        out: PathLike,
        feature: Feature,
        labels: LabelsLike = None,
        settings: Settings = Settings(),  # noqa: B008 - it is frozen
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Plan:
        """Plan a job.

        Raises
        ------
        ValueError, OSError
            If the sources, the labels, the settings or `out` will not do.
        """
        store = new_store(out)  # its ending is checked before anything is read
        own, record = store.path, Record(store.record_folder)
        if own.suffix != ".zarr" and settings.compression != "none":
            raise ValueError(
                f"compression is {settings.compression!r}, but {os.fspath(out)} is HDF5, which is "
                f"not compressed; leave it out, or give a path ending in .zarr"
            )
        if isinstance(sources, str | os.PathLike):
            sources = [sources]
        # A glob of the shell may name what an earlier run has stored.
        stored = {os.path.realpath(own), os.path.realpath(f"{own}.parts")}
        sources = [source for source in sources if os.path.realpath(source) not in stored]
        if settings.on_lost == "mask" and record.begun():
            recordings = find_again(sources, record, settings, progress)
            labels = labels_of(store) if labels is None else labels
            found = Inputs.of(recordings, feature, labels, settings)
        else:
            found = Inputs.find(sources, feature, labels, settings, progress)
        check_axes(found.feature)
        audio_bytes = found.recordings.bytes_a_sample * found.grid.window_samples
        layout = choose_layout(
            len(found.grid),
            shape_of(found.feature),
            settings.dtype,
            int(audio_bytes),
            region_is_file=own.suffix != ".zarr",
            compression=settings.compression,
        )
        return cls(
            found.recordings,
            found.grid,
            found.feature,
            found.labels,
            os.fspath(out),
            settings,
            layout,
            identify(found.feature),
        )

    @property
    def numerics(self) -> str | None:
        """The numerics class that must compute it, that of this process; None if any may."""
        return numerics_class() if self.settings.numerics == "same" else None

    @property
    def n_bytes(self) -> int:
        """Bytes of the features, before compression."""
        return self.layout.n_windows * self.layout.window_bytes

    @property
    def n_files(self) -> int:
        """Files of the store when one run has made it, its record included."""
        if Path(self.out).suffix != ".zarr":
            return RECORD_FILES + self.layout.n_regions + 1
        lengths = [self.layout.n_windows] * PER_WINDOW + [len(self.recordings)]
        lengths += self.layout.shape  # for each axis has a coordinate
        if self.labels is not None:
            lengths += [self.layout.n_windows] + [1] * (self.labels.classes is not None)
        small = sum(1 + -(-length // COORDINATE_CHUNK) for length in lengths)
        return RECORD_FILES + self.layout.n_shards + 2 + small

    def memory_bytes(self, threads: int) -> int:
        """Projected peak memory of a worker with so many threads, in bytes."""
        audio = (self.recordings.bytes_a_sample + 4) * self.grid.window_samples
        copies = COPIES[new_store(self.out).path.suffix]
        if self.layout.compression != "none":
            copies = COPIES_COMPRESSED
        block = self.layout.shard * (copies * self.layout.window_bytes + audio)
        single = 4 * math.prod(self.layout.shape)  # a kernel works in float32
        window = SCRATCH_WINDOWS * single
        scratch = max(SCRATCH_BYTES, window + SCRATCH_SAMPLE * self.grid.window_samples)
        kept = KEPT_BYTES if self.recordings.remote else 0
        return int(BASE_BYTES + kept + threads * (block + scratch))

    def check_fits(self, worker: Capacity) -> None:
        """Refuse a job that cannot end well on such workers, before it begins.

        Raises
        ------
        MemoryError
            If a worker would need more memory than it has.
        OSError
            If the store cannot be written, or the disk has no room for it.
        """
        worker.check(self.memory_bytes(worker.threads))
        if is_remote(self.out):  # a bucket has room; whether it can be reached is seen by looking
            return
        folder = Path(self.out).absolute().parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise PermissionError(
                f"{self.out} cannot be made, for {folder} is not a folder that may be written to; "
                f"give another path"
            )
        compressed = self.layout.compression != "none"
        room, least = (
            shutil.disk_usage(folder).free,
            self.n_bytes // (SMALLEST if compressed else 1),
        )
        if not Path(self.out).exists() and least > room:
            smaller = ", or --dtype float16" if self.layout.dtype == "float32" else ""
            if Path(self.out).suffix == ".zarr" and not compressed:
                smaller += ", or --compression lz4"
            raise OSError(
                f"{self.out} needs {least / 1e9:.1f} GB at least, but {folder} has "
                f"{room / 1e9:.1f} GB free; free some, or give another path{smaller}"
            )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines the stored bytes, as plain values."""
        # A setting that is added later leaves those as they are that do not give it.
        defaults = {**deciding(Settings()), "hop": self.settings.window}
        labels = self.labels and [array_digest(self.labels.values), self.labels.classes]
        return {
            "format": FORMAT,
            "settings": without_defaults(deciding(self.settings), defaults),
            "feature": self.known.as_dict(),
            "labels": labels,
            "inputs": digest_lines(self.inputs()),
            "unreadable": [path for path, _ in self.recordings.unreadable],
            "layout": dataclasses.asdict(self.layout),
        }

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the identity."""
        return fingerprint(self.identity)

    def inputs(self) -> Iterator[list[Any]]:
        """By what each recording is known again, and what its header said."""
        for file in self.recordings.files():
            yield [*file]

    def as_dict(self, threads: int, share: Share | None = None) -> dict[str, Any]:
        """The plan as plain values, for a worker with so many threads, or for a share."""
        layout = self.layout
        values = {
            "out": self.out,
            "recordings": len(self.recordings),
            "unreadable": dict(self.recordings.unreadable),
            "passed_over": dict(self.recordings.passed_over),
            "seconds": self.recordings.seconds,
            "samplerate": self.grid.samplerate,
            "window": self.grid.window_samples / self.grid.samplerate,
            "hop": self.grid.hop_samples / self.grid.samplerate,
            "windows": layout.n_windows,
            "regions": layout.n_regions,
            "shape": [layout.n_windows, *layout.shape],
            "dtype": layout.dtype,
            "compression": layout.compression,
            "bytes": self.n_bytes,
            "files": self.n_files,
            "memory_bytes": self.memory_bytes(threads),
            "threads": threads,
            "labelled": self.labels is not None,
            "feature": self.known.description(),
        }
        if share is not None:
            first, last = share.bounds(layout.n_regions)
            windows = [min(n * layout.region, layout.n_windows) for n in (first, last)]
            values["share"] = {"regions": [first, last], "windows": windows}
        return values


def deciding(settings: Settings) -> dict[str, Any]:
    """The settings that change the stored bits, all of them, as plain values."""
    values = {**dataclasses.asdict(settings), "hop": settings.hop or settings.window}
    others = ("on_error", "on_lost", "retries", "numerics", "flush")
    return {name: value for name, value in values.items() if name not in others}
