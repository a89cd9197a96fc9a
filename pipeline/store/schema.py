"""The schema: which variables a store has."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.features import Feature, axes_of, feature_name
from pipeline.grid import WindowGrid
from pipeline.layout import Layout
from pipeline.store.encoding import Array, Encoding

FORMAT = 6  # of what is stored; another version of this package may have another
COORDINATE_CHUNK = 65536
CHUNK_BYTES = 1 << 22  # of labels of frames, at most, as their rows are large
STATISTICS = "mean", "std"  # attached to a store that is finished
# Variables that any store may have, beside the axes of its features.
NAMES = (
    *("features", "label", "annotated", "class", "recording", "start", "n_samples", "valid"),
    *("source", "datetime", "utc_offset", "split"),
    *STATISTICS,
)


@dataclass(frozen=True)
class Variable:
    """One stored array: its named dimensions, shape, dtype and attributes."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    values: Array | None = None  # of the small ones, known from the start
    # Or these, some at a time, with the place of the first.
    parts: Callable[[], Iterable[tuple[int, Array]]] | None = None

    @property
    def rows_of_chunk(self) -> int:
        """How many rows of it are stored together, unless it is of features."""
        return rows_of_chunk(self.shape, self.dtype)


def rows_of_chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """How many rows of an array, that is not of features, are stored together."""
    most = (
        shape[0] if len(shape) < 3 else CHUNK_BYTES // max(1, dtype.itemsize * math.prod(shape[1:]))
    )
    return max(1, min(COORDINATE_CHUNK, shape[0], most))


@dataclass(frozen=True)
class Contents:
    """What a store is made with."""

    layout: Layout
    variables: Mapping[str, Variable]
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class Attachment:
    """What comes to a finished store: variables, with their values, and what goes with them.

    Variables and attributes take the place of those of their names; those that are `dropped` go.
    The features have the `coordinates` from then on, if these are given.
    """

    variables: Mapping[str, Variable]
    dropped: Collection[str] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    coordinates: str | None = None


def describe(
    layout: Layout,
    feature: Feature,
    encoding: Encoding,
    sources: Sequence[str],
    labels: Mapping[str, Variable],
    utc_offset: Array | None = None,
) -> dict[str, Variable]:
    """Every variable of a store, by name, in the order of the contract.

    With the offset from UTC of each recording, it has the times of windows, too.
    """
    axes = axes_of(feature)
    n = (layout.n_windows,)
    variables = {
        "features": Variable(
            ("window", *(axis.name for axis in axes)),
            (*n, *layout.shape),
            np.dtype(layout.dtype),
            {
                "long_name": feature_name(feature),
                "units": str(getattr(feature, "units", "1")),
                "coordinates": coordinates_of(labels, dated=utc_offset is not None),
                **encoding.attributes,
            },
        )
    }
    variables.update(labels)
    for axis in axes:
        attrs, values = {"units": axis.units, "long_name": axis.long_name}, axis.values
        variables[axis.name] = Variable((axis.name,), values.shape, values.dtype, attrs, values)
    variables |= _of_windows(n)
    variables["source"] = strings("recording", sources, "path as given")
    if utc_offset is not None:
        variables |= _times(n, utc_offset)
    return variables


def _of_windows(n: tuple[int]) -> dict[str, Variable]:
    variables = {}
    for name, dtype, units, text in (
        ("recording", np.int32, "1", "index into source"),
        ("start", np.float64, "s", "start of the window, from the recording's start"),
        ("n_samples", np.int32, "1", "samples that the window really has"),
        ("valid", np.bool_, "1", "false where the audio could not be read"),
    ):
        attrs = {"units": units, "long_name": text}
        variables[name] = Variable(("window",), n, np.dtype(dtype), attrs)
    return variables


def _times(n: tuple[int], utc_offset: Array) -> dict[str, Variable]:
    times = {
        "units": "nanoseconds since 1970-01-01",  # whole numbers: floats are off by some
        "calendar": "proleptic_gregorian",
        "long_name": "start of the window, in UTC",
    }
    text = "how far local time is ahead of UTC; 0 where datetime is missing"
    offset = {"units": "s", "long_name": text}
    return {
        "datetime": Variable(("window",), n, np.dtype(np.int64), times),
        "utc_offset": Variable(
            ("recording",), utc_offset.shape, utc_offset.dtype, offset, utc_offset
        ),
    }


def check_axes(feature: Feature) -> None:
    """Refuse axes that have the name of another variable."""
    taken = ("window", *NAMES)
    for axis in axes_of(feature):
        if axis.name in taken:
            raise ValueError(
                f"{type(feature).__name__} has an axis of the name {axis.name}, which a store has "
                f"for something else; name it otherwise than {', '.join(taken)}"
            )


def coordinate_values(grid: WindowGrid) -> dict[str, Array]:
    """The values of the variables that follow from the grid."""
    recording, start, n_samples = grid.locate()
    return {
        "recording": recording.astype(np.int32),
        "start": start / grid.samplerate,
        "n_samples": n_samples.astype(np.int32),
    }


def coordinates_of(labels: Iterable[str], dated: bool, split: bool = False) -> str:
    """Names of the variables that go along the windows, as netCDF has them; `class` does not."""
    labels = [name for name in labels if name != "class"]
    others = [*labels, *["datetime"] * dated, *["split"] * split]
    return " ".join(["recording", "start", "n_samples", "valid", *others])


def strings(dim: str, values: Sequence[str], text: str) -> Variable:
    """A variable of text."""
    array = np.array(values, dtype=object)
    return Variable((dim,), array.shape, array.dtype, {"long_name": text}, array)
