"""The stored layout: which variables there are, and how they are cut into files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import Feature, feature_name
from pipeline.grid import WindowGrid

__all__ = [
    "FORMAT",
    "NAMES",
    "Layout",
    "Variable",
    "choose_layout",
    "coordinate_values",
    "describe",
]

Array = npt.NDArray[Any]

FORMAT = 6  # of what is stored; another version of this package may have another
# Measured with scripts/measure/choices: chunks under some 64 kB pay more for
# the codec than for the bytes; shards under 8 MB take longer, and beyond 16 MB
# only cost memory.
CHUNK_BYTES = 64 * 1024
SHARD_BYTES = 16 * 1024**2
SHARD_WINDOWS = 1024
REGION_SHARDS = 4, 1024  # at least, at most
MOST_PARTS = 512  # a virtual dataset keeps each open, of the 1024 files a process may have
COORDINATE_CHUNK = 65536
NAMES = (
    *("features", "label", "class", "frequency", "time"),
    *("recording", "start", "n_samples", "valid", "source"),
)


@dataclass(frozen=True)
class Layout:
    """How the windows of `features` are cut, each unit dividing the next.

    Parameters
    ----------
    n_windows : int
        Windows in the store.
    shape : tuple of int
        Shape of one window's features.
    dtype : str
        "float32" or "float16".
    chunk, shard, region : int
        Windows in a chunk (what is compressed), a shard (one stored file),
        and a region (what is worked on, recorded and retried).
    compression : {"none", "lz4", "zstd"}
        Of the chunks.
    """

    n_windows: int
    shape: tuple[int, ...]
    dtype: str
    chunk: int
    shard: int
    region: int
    compression: str = "none"

    def __post_init__(self) -> None:
        if self.shard % self.chunk or self.region % self.shard:
            raise ValueError(
                f"chunk {self.chunk}, shard {self.shard} and region {self.region} windows; "
                f"each must be a multiple of the one before"
            )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layout:
        """The layout of such values, as a record has them."""
        return cls(**{**values, "shape": tuple(values["shape"])})

    @property
    def window_bytes(self) -> int:
        """Bytes of one window's features, uncompressed."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def n_regions(self) -> int:
        """Regions in the store."""
        return -(-self.n_windows // self.region)

    @property
    def n_shards(self) -> int:
        """Shards in the store."""
        return -(-self.n_windows // self.shard)

    def bounds(self, region: int) -> tuple[int, int]:
        """First window of a region, and the one after its last."""
        return region * self.region, min((region + 1) * self.region, self.n_windows)

    def length_of(self, regions: npt.NDArray[np.bool_]) -> int:
        """Number of windows in all regions that are marked."""
        lacking = self.n_regions * self.region - self.n_windows  # in the last region
        marked = int(regions.sum())
        return marked * self.region - (lacking if marked and regions[-1] else 0)

    def length(self, region: int) -> int:
        """Number of windows in a region."""
        start, stop = self.bounds(region)
        return stop - start


def choose_layout(
    n_windows: int,
    shape: tuple[int, ...],
    dtype: str,
    audio_window_bytes: int,
    region_is_file: bool = False,
    compression: str = "none",
) -> Layout:
    """Chunk, shard and region for features of a shape.

    A shard is as much as a worker holds at once, so neither its features nor
    its audio may be large; a chunk is what a shuffled read must decode. Regions
    grow with the square root of the job: a small one loses little when it is
    killed, and the largest are still no more than a client and a scheduler can
    count. Where a region is a file, there are no more than `MOST_PARTS`.
    """
    window_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    fits = SHARD_BYTES / max(window_bytes, audio_window_bytes)
    shard = _power_of_two(min(fits, SHARD_WINDOWS))
    chunk = min(shard, _power_of_two(CHUNK_BYTES / window_bytes))
    n_shards = -(-n_windows // shard)
    low, high = REGION_SHARDS
    shards = min(high, max(low, _power_of_two(math.sqrt(n_shards) / 16)))
    if region_is_file:
        while -(-n_shards // shards) > MOST_PARTS:
            shards *= 2
    return Layout(n_windows, shape, dtype, chunk, shard, shard * shards, compression)


def _power_of_two(number: float) -> int:
    """The largest power of two that is not above `number`, at least 1."""
    return 1 << max(0, math.floor(math.log2(number))) if number >= 1 else 1


@dataclass(frozen=True)
class Variable:
    """One stored array: its named dimensions, shape, dtype and attributes."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, str] = field(default_factory=dict)
    values: Array | None = None  # of the small ones, known from the start


def describe(
    layout: Layout,
    feature: Feature,
    sources: Sequence[str],
    label: Variable | None,
    classes: tuple[str, ...] | None,
) -> dict[str, Variable]:
    """Every variable of a store, by name, in the order of the contract."""
    axes = {"frequency": feature.frequencies, "time": feature.times}
    dims = ("window", *(name for name, values in axes.items() if values is not None))
    n = (layout.n_windows,)
    variables = {
        "features": Variable(
            dims,
            (*n, *layout.shape),
            np.dtype(layout.dtype),
            {
                "long_name": feature_name(feature),
                "units": str(getattr(feature, "units", "1")),
                "coordinates": "recording start n_samples valid" + (" label" if label else ""),
            },
        )
    }
    if label:
        variables["label"] = label
    if classes:
        variables["class"] = _strings("class", classes, "name of the class")
    for name, units, text in (
        ("frequency", "Hz", "frequency"),
        ("time", "s", "centre of the frame, from the window's start"),
    ):
        values = axes[name]
        if values is not None:
            values = np.asarray(values, np.float64)
            variables[name] = Variable(
                (name,), values.shape, values.dtype, {"units": units, "long_name": text}, values
            )
    for name, dtype, units, text in (
        ("recording", np.int32, "1", "index into source"),
        ("start", np.float64, "s", "start of the window, from the recording's start"),
        ("n_samples", np.int32, "1", "samples that the window really has"),
        ("valid", np.bool_, "1", "false where the audio could not be read"),
    ):
        variables[name] = Variable(
            ("window",), n, np.dtype(dtype), {"units": units, "long_name": text}
        )
    variables["source"] = _strings("recording", sources, "path as given")
    return variables


def coordinate_values(grid: WindowGrid) -> dict[str, Array]:
    """The values of the variables that follow from the grid."""
    recording, start, n_samples = grid.locate()
    return {
        "recording": recording.astype(np.int32),
        "start": start / grid.samplerate,
        "n_samples": n_samples.astype(np.int32),
    }


def _strings(dim: str, values: Sequence[str], text: str) -> Variable:
    array = np.array(values, dtype=object)
    return Variable((dim,), array.shape, array.dtype, {"long_name": text}, array)
