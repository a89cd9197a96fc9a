"""The figure of a recording as a whole: averages of its windows along time."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.store import Store, open_finished
from pipeline.training import read_features
from pipeline.views.figures import (
    edges_of,
    labelled,
    panels,
    picture_file,
    save,
    scale_rows,
    show_clock,
    show_hertz,
    show_seconds,
)
from pipeline.views.sample import spread

COLUMNS = 1000  # at most
READ = 4000  # windows, at most
READ_BYTES = 1 << 28  # of decoded features, at most, but for one window in each of 100 columns
AT_ONCE = 1 << 25  # bytes of features in memory
DAY = 86400.0
NAT = int(np.iinfo(np.int64).min)  # of a time that is not known
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
    windows = np.flatnonzero(store.coordinate("recording") == number)
    if not len(windows):
        raise ValueError(f"recording {recording} of {path} has no window; choose another")
    _draw(store, file, number, _averages(store, windows), int(windows[0]))


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


def _row_axis(store: Store) -> int | None:
    """Which axis of the features is that of rows: the first, but for time."""
    units = [*store.axes().values()]
    if units == ["s"] or not units:
        return None
    return 1 if len(units) == 2 and units[0] == "s" != units[1] else 0


def _averages(store: Store, windows: Array) -> Columns:
    """The averages of windows, of which a bounded sample is read: evenly spread in each column."""
    shape = read_features(store, windows[:1]).shape[1:]
    window_bytes = 4 * max(1, int(np.prod(shape)))
    n_columns = min(COLUMNS, len(windows), max(100, READ_BYTES // window_bytes))
    most = max(1, min(READ, READ_BYTES // window_bytes) // n_columns)
    bounds = np.arange(n_columns + 1) * len(windows) // n_columns
    valid = store.coordinate("valid")[windows]
    sampled = [spread(windows[a:b][valid[a:b]], most) for a, b in itertools.pairwise(bounds)]
    axis = _row_axis(store)
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
    start = store.coordinate("start")[windows]
    last = start[-1] + float(store.attrs()["window"])
    edges = np.array([*start[bounds[:-1]], last])
    return Columns(mean, band, edges, sum(map(len, sampled)), int(valid.sum()))


def _draw(store: Store, file: Path, number: int, columns: Columns, first: int) -> None:
    figure, axes = panels({"features": 3.5})
    panel, edges = axes["features"], columns.edges
    clock = store.get("datetime", first, first + 1)
    if clock is not None and clock[0] != NAT:
        offset = int(store.coordinate("utc_offset")[number])
        begin = int(clock[0]) / 1e9 + offset - float(edges[0])
        edges = (begin + edges) / DAY
        show_clock(panel.xaxis, offset)
    else:
        show_seconds(panel.xaxis, float(edges[-1] - edges[0]))
    title = labelled(str(store.attrs()["title"]), store.units())
    axis = _row_axis(store)
    if axis is None:
        _draw_curve(panel, columns, edges)
        panel.set_ylabel(title, parse_math=False)
    else:
        mesh = _draw_rows(panel, columns, edges, store, axis)
        figure.colorbar(mesh, ax=panel, pad=0.01).set_label(title, parse_math=False)
    panel.set_facecolor("0.8")
    panel.set_xlim(edges[0], edges[-1])
    source = os.path.basename(str(store.coordinate("source")[number]))
    figure.suptitle(source, parse_math=False)
    figure.axes[0].set_title(_told(columns), fontsize=8)
    save(figure, file)


def _told(columns: Columns) -> str:
    """How many windows are averaged, and of how many."""
    n_columns = len(columns.edges) - 1
    sample = f"{columns.n_read} of {columns.n_valid}"
    read = "all" if columns.n_read == columns.n_valid else f"a sample of {sample}"
    missing = "; grey: no valid window" if np.isnan(columns.band[0]).any() else ""
    return f"averages of {read} valid windows, in {n_columns} columns{missing}"


def _draw_curve(panel: Any, columns: Columns, edges: Array) -> None:
    """The mean of each column as steps, in the band from 10 to 90 % of the values."""
    low, high = ([*values, values[-1]] for values in columns.band)
    known = ~np.isnan(columns.mean[0])
    panel.fill_between(edges, low, high, step="post", alpha=0.3, linewidth=0, label="10-90 %")
    panel.stairs(columns.mean[0], edges, baseline=None, label="mean")
    panel.broken_barh(
        [(a, b - a) for a, b in zip(edges[:-1][known], edges[1:][known], strict=True)],
        (0, 1), transform=panel.get_xaxis_transform(), color="white", zorder=0,
    )  # fmt: skip
    panel.legend(loc="upper right", fontsize=8)


def _draw_rows(panel: Any, columns: Columns, edges: Array, store: Store, axis: int) -> Any:
    name, units = [*store.axes().items()][axis]
    values, known = store.coordinate(name), columns.mean[np.isfinite(columns.mean)]
    low, high = np.percentile(known, [2, 99.5]) if len(known) else (0, 1)
    rows = edges_of(values) if len(values) > 1 else np.array([-0.5, 0.5])
    style = {"vmin": low, "vmax": high, "rasterized": True}
    mesh = panel.pcolormesh(edges, rows, np.ma.masked_invalid(columns.mean), **style)
    panel.set_ylabel(labelled(name, units), parse_math=False)
    scale_rows(panel, values)
    if units == "Hz":
        show_hertz(panel.yaxis, name, float(values.max()))
    return mesh
