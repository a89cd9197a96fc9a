"""Axes: what lies along the dimensions of a window's features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NAME = r"[A-Za-z][A-Za-z0-9_]*"


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of the features of a window.

    Parameters
    ----------
    name : str
        Of the dimension and of the coordinate in the store, such as "coefficient":
        letters, digits and underscores.
    values : array_like of float, shape (place,)
        The coordinate of each place.
    units : str
        Of the values; "1" if they have none.
    long_name : str
        What the values are, for people; the name if not given.

    Raises
    ------
    ValueError
        If the name is none, or the values are no numbers.
    """

    name: str
    values: npt.NDArray[np.float64]
    units: str = "1"
    long_name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(NAME, self.name):
            raise ValueError(
                f"the name of an axis is {self.name!r}; it must be of letters, digits and "
                f"underscores, and begin with a letter"
            )
        object.__setattr__(self, "values", np.asarray(self.values, np.float64))
        object.__setattr__(self, "long_name", self.long_name or self.name)


def frequency_axis(values: Any) -> Axis:
    """The axis of frequencies in Hz."""
    return Axis("frequency", values, "Hz", "frequency")


def time_axis(values: Any) -> Axis:
    """The axis of frames, at seconds from the window's start."""
    return Axis("time", values, "s", "centre of the frame, from the window's start")


def axes_of(feature: Any) -> tuple[Axis, ...]:
    """The axes of a feature: its `axes`, or those that its `frequencies` and `times` make."""
    if (axes := getattr(feature, "axes", None)) is not None:
        if not all(isinstance(axis, Axis) for axis in axes):
            raise ValueError(f"its axes are {axes!r:.80}; give a pipeline.Axis for each dimension")
        return tuple(axes)
    frequencies, times = feature.frequencies, feature.times
    found = [] if frequencies is None else [frequency_axis(frequencies)]
    return (*found, *([] if times is None else [time_axis(times)]))
