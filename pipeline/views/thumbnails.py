"""Thumbnails: one small picture of the features of a window, without axes.

An 8-bit palette PNG: shades from the 2nd to the 99.5th percentile of the values, and a grey for
values that are not numbers. Few shades, as what is noise takes bytes in each of them.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.store import Store
from pipeline.views.figures import matplotlib_for
from pipeline.views.scales import are_in_order

SHADES = 48
MISSING, PAPER, INK = 48, 49, 50  # in the palette, behind the shades
PERCENTILES = (2, 99.5)
Array = npt.NDArray[Any]


def thumbnail(
    store: Store,
    X: npt.NDArray[np.float32],  # noqa: N803
    size: tuple[int, int] = (320, 180),
) -> bytes:
    """A picture of one window's features, frequency upwards, time to the right, as a PNG.

    Features with two axes or more are a picture, those along one axis with units, in order, a
    curve, and all others bars.
    """
    with matplotlib_for("a picture"):
        from matplotlib import colormaps
        from PIL import Image
    axes = [(units, store.coordinate(name)) for name, units in store.axes().items()]
    if len(axes) > 1:
        image = Image.fromarray(_shades(_rows(axes, X), size))
    else:
        is_curve = bool(axes) and axes[0][0] != "1" and are_in_order(axes[0][1])
        image = Image.fromarray(_curve(np.ravel(X), size, is_curve))
    colours = colormaps["viridis"](np.linspace(0, 1, SHADES))[:, :3]
    others = [[0.8] * 3, [1.0] * 3, colours[SHADES // 4].tolist()]
    palette = np.concatenate([colours, others])
    image.putpalette(np.rint(255 * palette).astype(np.uint8).tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _rows(axes: list[tuple[str, Array]], x: Array) -> Array:
    """Values with the highest row first, and what goes along time along the columns."""
    if len(axes) == 2 and axes[0][0] == "s" != axes[1][0]:
        axes, x = axes[::-1], x.T
    rows = x.reshape(len(x), -1)
    values = axes[0][1]
    return rows if len(values) > 1 and values[0] > values[-1] else rows[::-1]


def _shades(rows: Array, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The shade of each pixel: of the mean of the cells in it, or of the cell that it is in."""
    from PIL import Image

    is_number = np.isfinite(rows)
    low, high = _limits(rows[is_number])
    scaled = np.where(is_number, np.clip((rows - low) / (high - low), 0, 1), np.nan)
    image = Image.fromarray(scaled.astype(np.float32))
    values = np.asarray(image.resize(size, Image.Resampling.BOX))
    shades = np.minimum(np.nan_to_num(values) * SHADES, SHADES - 1).astype(np.uint8)
    return np.where(np.isnan(values), np.uint8(MISSING), shades)


def _limits(values: Array) -> tuple[float, float]:
    """What the darkest and the brightest shade stand for."""
    if not len(values):
        return 0, 1
    low, high = map(float, np.percentile(values.astype(np.float64), PERCENTILES))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _curve(x: Array, size: tuple[int, int], is_ordered: bool) -> npt.NDArray[np.uint8]:
    """A line through values in order, or else a bar from zero for each."""
    width, height = size
    values = x[np.isfinite(x)].astype(np.float64)
    if not len(values):
        return np.full((height, width), MISSING, np.uint8)
    low, high = float(values.min()), float(values.max())
    if not is_ordered:
        low, high = min(low, 0.0), max(high, 0.0)
    bottom, top = _spans(x.astype(np.float64), width, is_ordered)
    scale = (height - 3) / (high - low) if high > low else 0.0
    middle = 1.0 if scale else height / 2
    first, last = (middle + (edge - low) * scale for edge in (bottom, top))
    y = height - 1 - np.arange(height)[:, np.newaxis]
    drawn = (y >= np.floor(first)) & (y <= np.ceil(last))
    known = np.isfinite(first) & np.isfinite(last)
    shades = np.where(drawn, np.uint8(INK), np.uint8(PAPER))
    return np.where(known, shades, np.uint8(MISSING))


def _spans(x: Array, width: int, is_ordered: bool) -> tuple[Array, Array]:
    """The lowest and the highest value that is drawn in each column."""
    if not is_ordered:
        cells = x[np.arange(width) * len(x) // width]
        return np.minimum(cells, 0), np.maximum(cells, 0)
    edges = np.linspace(0, len(x) - 1, width + 1)
    ends = np.interp(edges, np.arange(len(x)), x)
    low, high = np.minimum(ends[:-1], ends[1:]), np.maximum(ends[:-1], ends[1:])
    column = np.minimum(np.searchsorted(edges, np.arange(len(x)), "right") - 1, width - 1)
    np.minimum.at(low, column, x)
    np.maximum.at(high, column, x)
    return low, high
