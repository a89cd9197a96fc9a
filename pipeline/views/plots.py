"""Plots: the figure of labels, waveform and features around a window."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.job import find_events
from pipeline.labels import Heard
from pipeline.record import Record
from pipeline.recordings import scan
from pipeline.store import Store, open_finished
from pipeline.training import read_features
from pipeline.views.class_rows import ClassRows
from pipeline.views.event_marks import draw_boxes, draw_lines, in_range, longest
from pipeline.views.figures import (
    are_in_order,
    edges_of,
    labelled,
    panels,
    picture_file,
    save,
    scale_rows,
)

AROUND = 4  # windows shown either side
MARKED = 400  # points of a curve in a window, at most, that are to be told apart


def plot_window(
    path: str | os.PathLike[str], window: int, png: Path | None = None, svg: Path | None = None
) -> None:
    """Draw labels, waveform and features of a window, and of up to 4 at either side.

    The waveform is left out if the recording is no longer what it was.
    """
    file = picture_file(png, svg)
    store = open_finished(path)
    recording = store.coordinate("recording")  # of each window
    if not 0 <= window < len(recording):
        raise ValueError(f"window is {window}; {path} has windows 0 to {len(recording) - 1}")
    near = np.arange(max(0, window - AROUND), min(len(recording), window + AROUND + 1))
    near = near[recording[near] == recording[window]]
    source = str(store.coordinate("source")[recording[window]])
    _draw(store, file, near, window, source)


def _draw(store: Store, file: Path, near: npt.NDArray[np.int64], window: int, source: str) -> None:
    attrs, start = store.attrs(), store.coordinate("start")
    length = float(attrs["window"])
    first, last = start[near[0]], start[near[-1]] + length
    # Of a packed copy it is not known what was read, and so not whether it is still there.
    inputs = iter(()) if store.packed else Record(store.record_folder).inputs()
    scanned = next((item for item in inputs if item[0] == source), None)
    waveform = _waveform(source, scanned, attrs, first, last)
    labels, rows, events = _labels(store, near)
    heights = {
        "label": 0 if labels is None else 2.2 if rows is None else rows.height,
        "waveform": 0 if waveform is None else 2.2,
        "features": 2.2,
    }
    figure, axes = panels(heights)
    edges = [*start[near], last]
    if labels is not None:
        _draw_labels(axes["label"], store, edges, labels, rows)
    if waveform is not None:
        seconds = first + np.arange(len(waveform)) / float(attrs["samplerate"])
        axes["waveform"].plot(seconds, waveform, linewidth=0.4)
        axes["waveform"].set_ylabel("amplitude")
    frames, title = axes["features"], labelled(str(attrs["title"]), store.units())
    mesh = draw_features(frames, store, near, start, length)
    if mesh is None:
        frames.set_ylabel(title, parse_math=False)
    else:
        bar = figure.colorbar(mesh, ax=list(axes.values()), pad=0.01)
        bar.set_label(title, parse_math=False)
    _draw_edges(axes, edges, (start[window], start[window] + length))
    figure.suptitle(f"{os.path.basename(source)}, window {window}", parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name may be in any script
        if rows is not None and events is not None and len(events):
            _draw_events(axes, store, events, rows, mesh is not None)
    save(figure, file)


def _draw_edges(axes: dict[str, Any], edges: list[float], window: tuple[float, float]) -> None:
    """Draw where windows begin and, but in the features, which of them is asked for."""
    for name, panel in axes.items():
        panel.set_xlim(edges[0], edges[-1])
        for edge in edges:
            panel.axvline(edge, color="black", linewidth=0.5, alpha=0.6)
        if name != "features":
            panel.axvspan(*window, color="C1", alpha=0.12)


def draw_features(
    panel: Any, store: Store, near: npt.NDArray[np.int64], start: npt.NDArray[Any], length: float
) -> Any:
    """A curve of what goes along time or is one value, and None; a picture of all else."""
    X = read_features(store, near).astype(np.float32)
    axes = [*store.axes().items()]
    if len(axes) == 2 and axes[0][1] == "s" != axes[1][1]:
        axes, X = axes[::-1], X.swapaxes(1, 2)
    timed = bool(axes) and axes[-1][1] == "s"
    times = store.coordinate(axes[-1][0]) if timed else np.array([length / 2])
    panel.set_xlabel("time (s)")
    if not axes or (timed and len(axes) == 1):
        style = ".-" if len(times) <= MARKED else "-"
        for t, x in zip(near, X, strict=True):
            panel.plot(start[t] + times, np.ravel(x), style, color="C0", linewidth=0.6)
        return None
    name, units = axes[0]
    values, (low, high) = store.coordinate(name), np.percentile(X, [2, 99.5])
    columns = X.reshape(len(X), len(values), -1)
    across, rows = np.linspace(0, length, columns.shape[2] + 1), edges_of(values)
    if timed and len(times) > 1:
        across = edges_of(times)
    elif len(axes) == 2 and not timed:
        panel.set_xlabel(f"time (s), and {axes[-1][0]} within each window", parse_math=False)
    for t, x in zip(near, columns, strict=True):
        mesh = panel.pcolormesh(start[t] + across, rows, x, vmin=low, vmax=high, rasterized=True)
    panel.set_ylabel(labelled(name, units), parse_math=False)
    scale_rows(panel, values)
    return mesh


def _labels(
    store: Store, near: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any] | None, ClassRows | None, Heard | None]:
    """Labels of windows; in rows, if they are of several classes; and events, if they are known."""
    a, b = int(near[0]), int(near[-1]) + 1
    labels, annotated, names = store.together(
        lambda: (store.get("label", a, b), store.get("annotated", a, b), store.get("class"))
    )
    if labels is None or labels.ndim == 1:
        return labels, None, None
    events = None if annotated is None else find_events(store, a, b)
    marked = np.zeros(0, np.int64) if events is None else events.label
    texts = None if names is None else [*map(str, names)]
    return labels, ClassRows.of(labels, annotated, texts, marked), events


def _draw_labels(
    panel: Any, store: Store, edges: list[float], y: npt.NDArray[Any], rows: ClassRows | None
) -> None:
    """A line of one label a window, or a row for each of several classes."""
    panel.set_ylabel("label")
    if rows is None:
        panel.step(edges, [*y, y[-1]], where="post", color="C1")
        return
    times = store.coordinate("time") if y.ndim > 2 else np.zeros(0)
    length = float(store.attrs()["window"])
    rows.draw(panel, edges, edges_of(times) if len(times) > 1 else np.array([0, length]))
    if rows.unknown.any():
        panel.set_title("hatched: not annotated", loc="right", fontsize=7)


def _draw_events(
    axes: dict[str, Any], store: Store, events: Heard, rows: ClassRows, is_picture: bool
) -> None:
    """Draw events in the features where these are of frequencies, and else in the rows."""
    shown, frames = longest(events), axes["features"]
    is_boxed = np.zeros(len(shown), np.bool_)
    if is_picture and has_frequencies(store):
        is_boxed = in_range(shown, *frames.get_ylim())
    rows.draw_colours(axes["label"])
    draw_lines(axes["label"], shown.where(~is_boxed), rows)
    if len(shown) < len(events):
        text = f"the {len(shown)} longest of {len(events)} events"
        axes["label"].set_title(text, loc="left", fontsize=7)
    draw_boxes(frames, shown.where(is_boxed), rows, store.coordinate("class").tolist())


def has_frequencies(store: Store) -> bool:
    """Whether the rows of the features are frequencies, in order."""
    name = next((name for name, units in store.axes().items() if units == "Hz"), None)
    timed = all(units in ("Hz", "s") for units in store.axes().values())
    return name is not None and timed and are_in_order(store.coordinate(name))


def _waveform(
    source: str, scanned: list[Any] | None, attrs: dict[str, Any], first: float, last: float
) -> npt.NDArray[np.float32] | None:
    """The samples that the windows were cut from; None if they are no longer there."""
    settings = json.loads(attrs["settings"])
    try:
        found = scan(source, channel=settings["channel"], samplerate=settings["samplerate"])[0]
    except (OSError, ValueError):
        return None
    if scanned is None or [found.size, found.modified] != scanned[1:3]:
        return None
    rate = found.samplerate
    with found.open() as audio:
        return audio.read(round(first * rate), min(round(last * rate), found.n_samples))
