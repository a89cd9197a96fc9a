"""The plan: what a job will do, as a value that can be printed, compared and refused."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.capacity import Capacity
from pipeline.config import Settings, digest
from pipeline.features import Feature
from pipeline.grid import WindowGrid
from pipeline.label_files import load_labels, read_label
from pipeline.labels import Labels, check_count, make_labels
from pipeline.layout import Layout, choose_layout
from pipeline.record import digest_lines, fingerprint
from pipeline.recordings import PathLike, Recordings, scan
from pipeline.remote import as_path, is_remote
from pipeline.remote_file import KEPT_BYTES
from pipeline.share import Share
from pipeline.store import new_store
from pipeline.windows import bind_to_grid

__all__ = ["FORMAT", "Inputs", "LabelsLike", "Plan"]

LabelsLike = PathLike | Labels | Sequence[Any] | npt.NDArray[Any] | None
FORMAT = 5
# Measured by scripts/benchmark-bounds: what Python and the libraries take; how often a
# thread holds a block of features while it is computed, encoded and written (Zarr
# encodes one block while the next is computed); and what a kernel works in, at least,
# or for one window: so many times its features, and bytes for each of its samples.
BASE_BYTES = 200 * 1024**2
COPIES = {".zarr": 2.5, ".h5": 3.0, ".hdf5": 3.0}
COPIES_COMPRESSED = 4.5
SCRATCH_BYTES = 12 * 1024**2
SCRATCH_WINDOWS, SCRATCH_SAMPLE = 8, 20
SMALLEST = 2  # times smaller, by compression: features of sound were 1.2 to 1.6 times


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
    ) -> Inputs:
        """Scan the sources and fit grid, feature and labels to them.

        Raises
        ------
        ValueError, OSError
            If sources, labels and settings do not fit each other.
        """
        recordings = scan(sources, channel=settings.channel, samplerate=settings.samplerate)
        grid = WindowGrid(recordings, settings.window, settings.hop, settings.tail)
        if not len(grid):
            raise ValueError(
                f"no recording is as long as a window of {settings.window} s; give a shorter "
                f"window, or tail 'pad'"
            )
        feature = bind_to_grid(feature, grid)
        if labels is None:
            return cls(recordings, grid, feature, _stored_labels(recordings, grid))
        what = "labels"
        if isinstance(labels, str | os.PathLike):
            what, labels = os.fspath(labels), load_labels(as_path(labels))
        if not isinstance(labels, Labels):
            labels = make_labels(labels)
        check_count(len(labels.values), len(grid), what, "the audio")
        return cls(recordings, grid, feature, labels)


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
    """

    out: str
    settings: Settings
    layout: Layout

    @classmethod
    def make(
        cls,
        sources: PathLike | Iterable[PathLike],
        out: PathLike,
        feature: Feature,
        labels: LabelsLike = None,
        settings: Settings = Settings(),  # noqa: B008 - it is frozen
    ) -> Plan:
        """Plan a job.

        Raises
        ------
        ValueError, OSError
            If the sources, the labels, the settings or `out` will not do.
        """
        own = new_store(out).path  # its ending is checked before anything is read
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
        found = Inputs.find(sources, feature, labels, settings)
        audio_bytes = found.recordings.bytes_a_sample * found.grid.window_samples
        layout = choose_layout(
            len(found.grid),
            found.feature.shape,
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
        )

    @property
    def n_bytes(self) -> int:
        """Bytes of the features, before compression."""
        return self.layout.n_windows * self.layout.window_bytes

    @property
    def n_files(self) -> int:
        """Files that will hold the features."""
        zarr = Path(self.out).suffix == ".zarr"
        return self.layout.n_shards if zarr else self.layout.n_regions + 1

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
        settings = dataclasses.asdict(self.settings)
        settings["hop"] = self.settings.hop or self.settings.window
        for name in ("on_error", "retries"):  # they change no bits
            del settings[name]
        labels = self.labels and [digest(self.labels.values), self.labels.classes]
        return {
            "format": FORMAT,
            "settings": settings,
            "feature": describe_feature(self.feature),
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
        """Path, size and modification time of each recording."""
        for file in self.recordings.files():
            yield [*file]

    def as_dict(self, threads: int, share: Share | None = None) -> dict[str, Any]:
        """The plan as plain values, for a worker with so many threads, or for a share."""
        layout = self.layout
        values = {
            "out": self.out,
            "recordings": len(self.recordings),
            "unreadable": dict(self.recordings.unreadable),
            "seconds": self.recordings.seconds,
            "samplerate": self.grid.samplerate,
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
            "feature": describe_feature(self.feature),
        }
        if share is not None:
            first, last = share.bounds(layout.n_regions)
            windows = [min(n * layout.region, layout.n_windows) for n in (first, last)]
            values["share"] = {"regions": [first, last], "windows": windows}
        return values


def describe_feature(feature: Feature) -> dict[str, Any]:
    """Name and parameters of a feature, as plain values."""
    kind = feature if isinstance(feature, type | FunctionType) else type(feature)
    name = f"{kind.__module__}:{kind.__qualname__}"
    if not dataclasses.is_dataclass(feature) or isinstance(feature, type):
        return {"name": name, "parameters": {"pickle": digest(feature)}}
    fields = [field.name for field in dataclasses.fields(feature)]
    return {"name": name, "parameters": {key: _plain(getattr(feature, key)) for key in fields}}


def _plain(value: Any) -> Any:
    """The value itself if JSON knows it, a digest of it otherwise."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else digest(value)


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
            raise ValueError(f"the labels of {item.path} cannot be used: {error}") from None
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
