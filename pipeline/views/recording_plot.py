"""The figure of a recording as a whole: averages of its windows along time."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features import Axis
from pipeline.store import Store, open_finished
from pipeline.training import read_features
from pipeline.views.class_rows import clipped
from pipeline.views.feature_panels import axes_in, row_axis, show_shades, title_of
from pipeline.views.figures import GREY, lay_out, panels, picture_file, save
from pipeline.views.sample import spread
from pipeline.views.scales import edges_of, in_own_ranges, shades, show_axis
from pipeline.views.time_axis import Clock, show_time

COLUMNS = 1000  # at most
READ = 4000  # windows, at most
READ_BYTES = 1 << 28  # of decoded features, at most, but for one window in each of 100 columns
AT_ONCE = 1 << 25  # bytes of features in memory
LOOKED_AT = 1 << 20  # windows, at most, of which it is looked at once whether they are valid
TITLE = 80  # letters of the name of a recording
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Columns:
    """Stretches of the windows of one recording: averages, and how they were taken."""

    mean: Array  # (row, column), NaN where no window is valid
    band: Array  # (2, column): 10 and 90 % of the values of features without rows, NaN as above
    edges: Array  # seconds from the start of the recording
    n_read: int
    n_valid: int


def plot_recording(
    path: str | os.PathLike[str],
    recording: str | int,
    png: Path | None = None,
    svg: Path | None = None,
) -> None:
    """Draw a recording, by name or number, as a whole: the averages of its windows along time.

    A name is a source as stored, or its file name where no other has that.
    """
    file, store = picture_file(png, svg), open_finished(path)
    number = _number(store, recording)
    (n,) = store.variables()["valid"].shape
    # Those of one recording stand together, in the order of the recordings.
    first, last = (
        bisect_left(range(n), k, key=lambda t: int(store.coordinate("recording", t, t + 1)[0]))
        for k in (number, number + 1)
    )
    if first == last:
        raise ValueError(f"recording {recording} of {path} has no window; choose another")
    _draw(store, file, number, _averages(store, first, last), first)


def _number(store: Store, recording: str | int) -> int:
    """The number of the one recording that is meant."""
    sources = [*map(str, store.coordinate("source"))]
    names = [os.path.basename(source) for source in sources]
    found = [i for i, source in enumerate(sources) if source == recording]
    found = found or [i for i, name in enumerate(names) if name == recording]
    if not found and str(recording).isdecimal() and int(recording) < len(sources):
        found = [int(recording)]
    if len(found) == 1:
        return found[0]
    what = f"recording is {recording!r}"
    if found:
        several = ", ".join(map(str, found[:5])) + ", ..." * (len(found) > 5)
        raise ValueError(f"{what}, the file name of several; pass a number of these: {several}")
    raise ValueError(
        f"{what}; {store.path} has recordings 0 to {len(sources) - 1}, or their names, "
        f"as {names[0]!r}"
    )


def _averages(store: Store, first: int, last: int) -> Columns:
    """The averages of windows, of which a bounded sample is read: evenly spread in each column."""
    axes = axes_in(store)
    shape, axis = tuple(len(axis.values) for axis in axes), row_axis(axes)
    window_bytes = 4 * max(1, int(np.prod(shape)))
    n_columns = min(COLUMNS, last - first, max(100, READ_BYTES // window_bytes))
    most = max(1, min(READ, READ_BYTES // window_bytes) // n_columns)
    bounds = first + np.arange(n_columns + 1) * (last - first) // n_columns
    sampled, n_valid = _sampled(store, bounds, most)
    n_rows = 1 if axis is None else shape[axis]
    mean, band = np.full((n_rows, n_columns), np.nan), np.full((2, n_columns), np.nan)
    at_once = max(1, AT_ONCE // window_bytes // most)
    for a in range(0, n_columns, at_once):
        some = sampled[a : a + at_once]
        X = read_features(store, np.concatenate(some)).astype(np.float32)
        rows = X.reshape(len(X), 1, -1) if axis is None else np.moveaxis(X, 1 + axis, 1)
        ends = np.cumsum([len(part) for part in some])
        for column, values in enumerate(np.split(rows, ends[:-1]), a):
            if len(values):
                mean[:, column] = values.mean(axis=(0, *range(2, values.ndim)), dtype=np.float64)
                band[:, column] = np.percentile(values, [10, 90]) if axis is None else 0
    attrs = store.attrs()
    begin = float(store.coordinate("start", first, first + 1)[0])
    edges = begin + (bounds - first) * float(attrs["hop"])
    edges[-1] += float(attrs["window"]) - float(attrs["hop"])
    return Columns(mean, band, edges, sum(map(len, sampled)), n_valid)


def _sampled(store: Store, bounds: Array, most: int) -> tuple[list[Array], int]:
    """Valid windows of each column, so many at most, and how many there are in all."""
    sampled, n_valid = [], 0
    step = max(1, LOOKED_AT // int(np.diff(bounds).max()))
    for a in range(0, len(bounds) - 1, step):
        ends = bounds[a : a + step + 1]
        valid = store.coordinate("valid", int(ends[0]), int(ends[-1]))
        for b, c in itertools.pairwise(ends.tolist()):
            windows = b + np.flatnonzero(valid[b - ends[0] : c - ends[0]])
            sampled.append(spread(windows, most))
            n_valid += len(windows)
    return sampled, n_valid


def _draw(store: Store, file: Path, number: int, columns: Columns, first: int) -> None:
    figure, axes = panels({"features": 3.5})
    panel, edges = axes["features"], columns.edges
    shown, title = axes_in(store), title_of(store)
    axis = row_axis(shown)
    if axis is None:
        _draw_curve(panel, columns)
        panel.set_ylabel(title, parse_math=False)
    else:
        show_shades(figure, _draw_rows(panel, columns, shown[axis]), [panel], title, shown[axis])
    panel.set_facecolor(GREY)
    show_time(panel.xaxis, float(edges[0]), float(edges[-1]), Clock.of(store, first))
    panel.set_xlim(edges[0], edges[-1])
    source = os.path.basename(str(store.coordinate("source", number, number + 1)[0]))
    figure.suptitle(clipped(source, TITLE), parse_math=False)
    panel.set_title(_told(columns), fontsize=8)
    lay_out(figure)
    save(figure, file)


def _told(columns: Columns) -> str:
    """How many windows are averaged, and of how many."""
    n_columns = len(columns.edges) - 1
    sample = f"{columns.n_read} of {columns.n_valid}"
    read = "all" if columns.n_read == columns.n_valid else f"a sample of {sample}"
    missing = "; grey: no valid window" if np.isnan(columns.band[0]).any() else ""
    return f"averages of {read} valid windows, in {n_columns} columns{missing}"


def _draw_curve(panel: Any, columns: Columns) -> None:
    """The mean of each column as steps, in the band from 10 to 90 % of the values."""
    low, high = ([*values, values[-1]] for values in columns.band)
    edges, known = columns.edges, ~np.isnan(columns.mean[0])
    panel.fill_between(edges, low, high, step="post", alpha=0.3, linewidth=0, label="10-90 %")
    panel.stairs(columns.mean[0], edges, baseline=None, label="mean")
    panel.broken_barh(
        [(a, b - a) for a, b in zip(edges[:-1][known], edges[1:][known], strict=True)],
        (0, 1), transform=panel.get_xaxis_transform(), color="white", zorder=0,
    )  # fmt: skip
    panel.legend(loc="upper right", fontsize=8)


def _draw_rows(panel: Any, columns: Columns, axis: Axis) -> Any:
    mean = columns.mean
    if axis.units == "1":
        mean = in_own_ranges(mean.T[..., np.newaxis])[..., 0].T
    mesh = panel.pcolormesh(
        columns.edges, edges_of(axis.values), np.ma.masked_invalid(mean),
        norm=shades(mean), rasterized=True,
    )  # fmt: skip
    show_axis(panel, "y", axis)
    return mesh
