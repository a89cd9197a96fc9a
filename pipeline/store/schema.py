"""The schema: which variables a store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import Feature, feature_name
from pipeline.grid import WindowGrid
from pipeline.layout import Layout

Array = npt.NDArray[Any]

FORMAT = 6  # of what is stored; another version of this package may have another
COORDINATE_CHUNK = 65536
NAMES = (
    *("features", "label", "class", "frequency", "time"),
    *("recording", "start", "n_samples", "valid", "source"),
)


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
