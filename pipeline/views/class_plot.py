"""The figure of a class: windows in which it is heard, side by side."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.job import find_events
from pipeline.store import Store, open_finished
from pipeline.views.class_rows import ClassRows, clipped
from pipeline.views.event_marks import draw_boxes, in_range, longest
from pipeline.views.feature_panels import Features, show_shades, values_at
from pipeline.views.figures import lay_out, names_in_any_script, picture_file, save, subplots
from pipeline.views.sample import over_recordings
from pipeline.views.time_axis import Clock, moment, show_time

SHOWN = 12  # windows, at most
ACROSS = 4
AT_ONCE = 1 << 14  # windows whose labels are in memory
NAMED = 20  # classes in an error
Array = npt.NDArray[Any]


def plot_class(
    path: str | os.PathLike[str], name: str, png: Path | None = None, svg: Path | None = None
) -> None:
    """Draw up to 12 valid windows of a class side by side, spread over the recordings.

    Of labels that are one value a window, each value is a class.
    """
    file, store = picture_file(png, svg), open_finished(path)
    windows = np.flatnonzero(_heard(store, name) & store.coordinate("valid"))
    if not len(windows):
        raise ValueError(f"class {name!r} of {path} is in no valid window; choose another")
    shown = over_recordings(windows, store.coordinate("recording")[windows], SHOWN)
    _draw(store, file, name, shown, len(windows))


def _heard(store: Store, name: str) -> npt.NDArray[np.bool_]:
    """In which windows a class is heard."""
    first, texts, n = store.get("label", 0, 0), store.get("class"), len(store.coordinate("valid"))
    if first is None:
        raise ValueError(f"{store.path} has no labels, and so no classes; run label first")
    if first.ndim == 1:
        labels = store.coordinate("label")
        values = np.unique(labels) if texts is None else np.arange(len(texts))
        names = [f"{value:g}" for value in values.tolist()] if texts is None else [*map(str, texts)]
        found = labels == values[names.index(name)] if name in names else np.zeros(n, np.bool_)
    else:
        names = [*map(str, range(first.shape[1]) if texts is None else texts)]
        found = np.zeros(n, np.bool_)
        for a in range(0, n if name in names else 0, AT_ONCE):
            block = store.coordinate("label", a, min(a + AT_ONCE, n))[:, names.index(name)]
            found[a : a + len(block)] = (block > 0).reshape(len(block), -1).any(axis=1)
    if name not in names:
        some = ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)
        raise ValueError(f"class is {name!r}; {store.path} has the classes {some}")
    return np.asarray(found)


def _draw(store: Store, file: Path, name: str, shown: Array, n_windows: int) -> None:
    features, start = Features.of(store, shown), values_at(store, "start", shown)
    figure, panels = subplots(len(shown), ACROSS)
    mesh = None
    for place, panel in enumerate(panels):
        panel.tick_params(labelsize=7)
        if features.are_profiles:
            features.draw_profile(panel, place)
        else:
            mesh = features.draw(panel, place, 0.0)
    _name_axes(figure, panels[0], features)
    _name_windows(panels, store, shown, start)
    if mesh is not None and features.rows is not None:
        show_shades(figure, mesh, panels, features.title, features.rows)
    figure.suptitle(f"{clipped(name)}: {len(shown)} of {n_windows} windows", parse_math=False)
    lay_out(figure)
    if mesh is not None and features.have_frequencies:
        _draw_events(panels, store, shown, start)
    save(figure, file)


def _name_axes(figure: Any, panel: Any, features: Features) -> None:
    """Label the axes, which all panels share, once for all."""
    if features.are_profiles:
        features.show_profile(panel)
    else:
        features.show_rows(panel)
        panel.set_xlim(0, features.length)
        show_time(panel.xaxis, 0.0, features.length)
        within = "" if features.within is None else f", and {features.within} within it"
        panel.set_xlabel(f"{panel.get_xlabel()} in the window{within}")
    figure.supxlabel(panel.get_xlabel(), fontsize=9, parse_math=False)
    figure.supylabel(panel.get_ylabel(), fontsize=9, parse_math=False)
    panel.set(xlabel="", ylabel="")


def _name_windows(panels: list[Any], store: Store, shown: Array, start: Array) -> None:
    """Say above each panel of which recording it is, and of when: by clocks, if all are known."""
    sources, numbers = store.coordinate("source"), values_at(store, "recording", shown)
    clocks = [Clock.of(store, window) for window in shown.tolist()]
    for panel, number, seconds, clock in zip(panels, numbers, start.tolist(), clocks, strict=True):
        source = clipped(os.path.basename(str(sources[number])))
        when = moment(seconds, None if None in clocks else clock, max(start))
        panel.set_title(f"{source}\n{when}", fontsize=7, parse_math=False)


def _draw_events(panels: list[Any], store: Store, shown: Array, start: Array) -> None:
    """Draw the boxes of events, if they are known, in the colours of their classes."""
    events = find_events(store, [(window, window + 1) for window in shown.tolist()])
    if events is None:
        return
    texts = [*map(str, store.coordinate("class"))]
    labels, annotated = (values_at(store, name, shown) for name in ("label", "annotated"))
    marked = np.concatenate([some.label for some in events])
    rows = ClassRows.of(labels, annotated, texts, marked)
    with names_in_any_script():
        for panel, some, first in zip(panels, events, start.tolist(), strict=True):
            moved = longest(replace(some, start=some.start - first, end=some.end - first))
            draw_boxes(panel, moved.where(in_range(moved, *panel.get_ylim())), rows, texts)
