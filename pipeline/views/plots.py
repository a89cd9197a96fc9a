"""Plots: the figure of labels, waveform and features around a window."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.job import find_events
from pipeline.labels import Heard
from pipeline.record import Record
from pipeline.recordings import scan
from pipeline.store import Store, open_finished
from pipeline.views.class_rows import ClassRows, clipped
from pipeline.views.event_marks import draw_boxes, draw_lines, in_range, longest
from pipeline.views.feature_panels import Features, show_shades, values_at
from pipeline.views.figures import lay_out, names_in_any_script, panels, picture_file, save
from pipeline.views.scales import edges_of, outline
from pipeline.views.time_axis import Clock, show_time

AROUND = 4  # windows shown either side
TITLE = 80  # letters of the name of a recording
Array = npt.NDArray[Any]


def plot_window(
    path: str | os.PathLike[str], window: int, png: Path | None = None, svg: Path | None = None
) -> None:
    """Draw labels, waveform and features of a window, and of up to 4 at either side.

    The waveform is left out if the recording is no longer what it was.
    """
    file, store = picture_file(png, svg), open_finished(path)
    (n,) = store.variables()["valid"].shape
    if not 0 <= window < n:
        raise ValueError(f"window is {window}; {path} has windows 0 to {n - 1}")
    near = np.arange(max(0, window - AROUND), min(n, window + AROUND + 1))
    recording = values_at(store, "recording", near)
    number = int(recording[near == window][0])
    source = str(store.coordinate("source", number, number + 1)[0])
    _draw(store, file, near[recording == number], window, source)


def _draw(store: Store, file: Path, near: Array, window: int, source: str) -> None:
    attrs, start = store.attrs(), values_at(store, "start", near)
    edges = [*start.tolist(), float(start[-1]) + float(attrs["window"])]
    first, last = edges[0], edges[-1]
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
    if labels is not None:
        _draw_labels(axes["label"], store, edges, labels, rows)
    if waveform is not None:
        samples, values = outline(waveform)
        seconds = first + samples / float(attrs["samplerate"])
        axes["waveform"].plot(seconds, values, linewidth=0.4)
        axes["waveform"].set_ylabel("amplitude")
    features = Features.of(store, near)
    mesh = _draw_features(axes["features"], features, start)
    if mesh is not None and features.rows is not None:
        show_shades(figure, mesh, [*axes.values()], features.title, features.rows)
    place = window - int(near[0])
    _draw_edges(axes, edges, (edges[place], edges[place] + features.length))
    show_time(axes["features"].xaxis, first, last, Clock.of(store, window))
    if features.within is not None:
        label = f"{axes['features'].get_xlabel()}, and {features.within} within each window"
        axes["features"].set_xlabel(label, parse_math=False)
    figure.suptitle(
        f"{clipped(os.path.basename(source), TITLE)}, window {window}", parse_math=False
    )
    if rows is None or events is None or not len(events):
        lay_out(figure)
    else:
        _draw_events(figure, axes, store, events, rows, features.have_frequencies)
    save(figure, file)


def _draw_features(panel: Any, features: Features, start: Array) -> Any:
    """Draw the windows side by side; the last picture, if they are pictures."""
    mesh = None
    for place, first in enumerate(start.tolist()):
        mesh = features.draw(panel, place, first)
    features.show_rows(panel)
    if not features.valid.all():
        panel.set_title("grey: could not be read", loc="right", fontsize=7)
    return mesh


def _draw_edges(axes: dict[str, Any], edges: list[float], window: tuple[float, float]) -> None:
    """Draw where windows begin and, but in the features, which of them is asked for."""
    for name, panel in axes.items():
        panel.set_xlim(edges[0], edges[-1])
        for edge in edges:
            panel.axvline(edge, color="black", linewidth=0.5, alpha=0.6)
        if name != "features":
            panel.axvspan(*window, color="C1", alpha=0.12)


def _labels(store: Store, near: Array) -> tuple[Array | None, ClassRows | None, Heard | None]:
    """Labels of windows; in rows, if they are of several classes; and events, if they are known."""
    a, b = int(near[0]), int(near[-1]) + 1
    labels, annotated, names = store.together(
        lambda: (store.get("label", a, b), store.get("annotated", a, b), store.get("class"))
    )
    if labels is None or labels.ndim == 1:
        return labels, None, None
    found = None if annotated is None else find_events(store, [(a, b)])
    events = None if found is None else found[0]
    marked = np.zeros(0, np.int64) if events is None else events.label
    texts = None if names is None else [*map(str, names)]
    return labels, ClassRows.of(labels, annotated, texts, marked), events


def _draw_labels(
    panel: Any, store: Store, edges: list[float], y: Array, rows: ClassRows | None
) -> None:
    """A line of one label a window, or a row for each of several classes."""
    panel.set_ylabel("label")
    if rows is None:
        panel.step(edges, [*y, y[-1]], where="post", color="C1")
        names, values = store.get("class"), np.unique(y)
        if len(values) <= AROUND * 2 + 1:
            texts = [f"{value:g}" if names is None else clipped(names[value]) for value in values]
            panel.set_yticks(values, texts, parse_math=False)
        return
    times = store.coordinate("time") if y.ndim > 2 else np.zeros(0)
    length = float(store.attrs()["window"])
    rows.draw(panel, edges, edges_of(times) if len(times) > 1 else np.array([0, length]))
    if rows.unknown.any():
        panel.set_title("hatched: not annotated", loc="right", fontsize=7)


def _draw_events(
    figure: Any,
    axes: dict[str, Any],
    store: Store,
    events: Heard,
    rows: ClassRows,
    have_boxes: bool,
) -> None:
    """Draw events in the features where these are of frequencies, and else in the rows."""
    shown, frames = longest(events), axes["features"]
    is_boxed = np.zeros(len(shown), np.bool_)
    if have_boxes:
        is_boxed = in_range(shown, *frames.get_ylim())
    rows.draw_colours(axes["label"])
    draw_lines(axes["label"], shown.where(~is_boxed), rows)
    if len(shown) < len(events):
        text = f"the {len(shown)} longest of {len(events)} events"
        axes["label"].set_title(text, loc="left", fontsize=7)
    lay_out(figure)
    with names_in_any_script():
        draw_boxes(frames, shown.where(is_boxed), rows, store.coordinate("class").tolist())


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
