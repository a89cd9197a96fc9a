"""Scales: the ticks, units and cells of an axis of features, and the shades of their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import Axis
from pipeline.views.sample import spread

NAMED = 10  # places of an axis in no order, at most, whose values there is room for
KILO = 2000.0  # Hz, from which on an axis is in kHz
STEEP = 50.0  # times their median, from which on values are shown by their logarithm
FAINTEST = 1e-6  # of the greatest value, where they are
SPANS = 4000  # of a long curve, whose lowest and highest values are drawn: more than it has pixels
Array = npt.NDArray[Any]


def labelled(name: str, units: str) -> str:
    """A name with its units, if it has any."""
    return name if units == "1" else f"{name} ({units})"


def are_in_order(values: Array) -> bool:
    """Whether values only rise, or only fall."""
    steps = np.diff(values)
    return bool(len(steps) and ((steps > 0).all() or (steps < 0).all()))


def edges_of(values: Array) -> Array:
    """The edges of cells around values, or around their places where they are in no order."""
    steps = np.diff(values)
    if not are_in_order(values):
        return np.arange(len(values) + 1) - 0.5
    first, last = values[0] - steps[0] / 2, values[-1] + steps[-1] / 2
    return np.array([first, *(values[:-1] + steps / 2), last])


def places_of(values: Array) -> Array:
    """Values, or their places where they are in no order."""
    return values if are_in_order(values) else np.arange(len(values))


def show_axis(panel: Any, way: str, axis: Axis) -> None:
    """Label the "x" or "y" axis of a panel: bands as people draw them, from 2 kHz on in kHz."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    side, values, units = getattr(panel, f"{way}axis"), axis.values, axis.units
    if _are_of_one_ratio(values):
        getattr(panel, f"set_{way}scale")("log")
        side.set_major_locator(LogLocator(subs=(1, 2, 5)))
        side.set_minor_formatter(NullFormatter())
    scale = 1.0
    if not are_in_order(values):
        places = spread(np.arange(len(values)), NAMED)
        side.set_ticks(places, [f"{value:g}" for value in values[places].tolist()])
    else:
        if units == "Hz" and values.max() > KILO:
            scale, units = 1000.0, "kHz"
        elif units == "1" and (values % 1 == 0).all():
            side.set_major_locator(MaxNLocator(integer=True))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale:g}"))
    side.set_label_text(labelled(axis.name, units), parse_math=False)


def _are_of_one_ratio(values: Array) -> bool:
    """Whether values are those of bands as parts of an octave or a decade, but for the last."""
    if len(values) < 4 or not (values > 0).all():
        return False
    ratios = values[1:-1] / values[:-2]
    return bool(1 < ratios[0] < 3 and np.allclose(ratios, ratios[0], rtol=0.01))


def in_own_ranges(values: Array) -> Array:
    """Values (window, row, ...), each row from 0, its lowest of all windows, to 1, its highest."""
    rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    known = rows[:, np.isfinite(rows).all(axis=0)]
    if not known.size:
        return values
    shape = (-1, *(1 for _ in values.shape[2:]))
    low, high = (found.reshape(shape) for found in np.percentile(known, [2, 99.5], axis=1))
    return np.asarray((values - low) / np.where(high > low, high - low, 1))


def shades(values: Array) -> Any:
    """Which value has which shade, for all pictures of one figure: of a few peaks, logarithms."""
    from matplotlib.colors import LogNorm, Normalize

    known = values[np.isfinite(values)]
    if not len(known):
        return Normalize(0, 1)
    low, middle, high = np.percentile(known, [2, 50, 99.5]).tolist()
    if low >= 0 and high > STEEP * middle:
        return LogNorm(max(low, FAINTEST * high), high, clip=True)
    return Normalize(low, high)


def outline(curve: Array) -> tuple[Array, Array]:
    """The places and values of a curve that are drawn: of a long one, the extremes of each span."""
    if len(curve) <= 4 * SPANS:
        return np.arange(len(curve)), curve
    first = np.arange(SPANS) * len(curve) // SPANS
    extremes = [extreme.reduceat(curve, first) for extreme in (np.minimum, np.maximum)]
    return np.repeat(first, 2), np.stack(extremes, axis=1).ravel()
