"""The layout: how many windows a chunk, a shard and a region of a store have."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# Measured with scripts/measure/choices: chunks under some 64 kB pay more for
# the codec than for the bytes; shards under 8 MB take longer, and beyond 16 MB
# only cost memory.
CHUNK_BYTES = 64 * 1024
SHARD_BYTES = 16 * 1024**2
SHARD_WINDOWS = 1024
# What has little of features and much of audio takes long to compute: shards of more audio than
# the bytes of a shard are for jobs that have so many of them, to be shared out among workers.
ENOUGH_SHARDS = 1024
REGION_SHARDS = 4, 1024  # at least, at most
MOST_PARTS = 512  # a virtual dataset keeps each open, of the 1024 files a process may have


@dataclass(frozen=True)
class Layout:
    """How the windows of a store are cut into units, each of which divides the next."""

    n_windows: int
    shape: tuple[int, ...]  # of one window's features
    dtype: str
    chunk: int  # windows in what is compressed,
    shard: int  # in one stored file,
    region: int  # and in what is computed, recorded and tried again as one
    compression: str = "none"

    def __post_init__(self) -> None:
        if self.shard % self.chunk or self.region % self.shard:
            raise ValueError(
                f"chunk {self.chunk}, shard {self.shard} and region {self.region} windows; "
                f"each must be a multiple of the one before"
            )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The layout of the values in a record."""
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
        """Number of windows in the regions that are marked."""
        lacking = self.n_regions * self.region - self.n_windows  # in the last region
        marked = int(regions.sum())
        return marked * self.region - (lacking if marked and regions[-1] else 0)


def choose_layout(
    n_windows: int,
    shape: tuple[int, ...],
    dtype: str,
    audio_window_bytes: int,
    region_is_file: bool = False,
    compression: str = "none",
) -> Layout:
    """The layout for so many windows of features of a shape.

    A worker holds the features of a shard at once, and of its audio a few windows; a
    shuffled read decodes a chunk for each window. Regions grow with the
    square root of the job: a small job loses little when it is killed, and a large
    one has no more of them than a client and a scheduler can count. Where a region
    is a file, there are no more than `MOST_PARTS`. `audio_window_bytes` are those of
    a window as features are computed of it, at the rate of the job.
    """
    window_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    short = max(SHARD_BYTES / audio_window_bytes, n_windows / ENOUGH_SHARDS)
    shard = _power_of_two(min(SHARD_BYTES / window_bytes, SHARD_WINDOWS, short))
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
