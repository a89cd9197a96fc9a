"""The schema: which variables a store has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.features import Feature, axes_of, feature_name
from pipeline.grid import WindowGrid
from pipeline.layout import Layout
from pipeline.store.encoding import Array, Encoding

FORMAT = 6  # of what is stored; another version of this package may have another
COORDINATE_CHUNK = 65536
STATISTICS = "mean", "std"  # attached to a store that is finished
# Variables that any store may have, beside the axes of its features.
NAMES = (
    *("features", "label", "class", "recording", "start", "n_samples", "valid", "source"),
    *("datetime", "utc_offset"),
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


@dataclass(frozen=True)
class Contents:
    """What a store is made with."""

    layout: Layout
    variables: Mapping[str, Variable]
    attrs: Mapping[str, Any]


def describe(
    layout: Layout,
    feature: Feature,
    sources: Sequence[str],
    label: Variable | None,
    classes: tuple[str, ...] | None,
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
                "coordinates": " ".join(
                    ["recording", "start", "n_samples", "valid"]
                    + ["label"] * (label is not None)
                    + ["datetime"] * (utc_offset is not None)
                ),
                **Encoding.of(layout.dtype, feature).attributes,
            },
        )
    }
    if label:
        variables["label"] = label
    if classes:
        variables["class"] = _strings("class", classes, "name of the class")
    for axis in axes:
        attrs, values = {"units": axis.units, "long_name": axis.long_name}, axis.values
        variables[axis.name] = Variable((axis.name,), values.shape, values.dtype, attrs, values)
    variables |= _of_windows(n)
    variables["source"] = _strings("recording", sources, "path as given")
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


def _strings(dim: str, values: Sequence[str], text: str) -> Variable:
    array = np.array(values, dtype=object)
    return Variable((dim,), array.shape, array.dtype, {"long_name": text}, array)
