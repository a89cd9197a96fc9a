"""The figure of a class: windows in which it is heard, side by side."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.job import find_events
from pipeline.store import Store, open_finished
from pipeline.views.class_rows import ClassRows, clipped
from pipeline.views.event_marks import draw_boxes, in_range, longest
from pipeline.views.figures import labelled, picture_file, save, subplots
from pipeline.views.plots import draw_features, has_frequencies
from pipeline.views.sample import over_recordings

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
        values = np.array([f"{value:g}" for value in store.coordinate("label").tolist()])
        names = sorted({*values.tolist()})
        found = values == name
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
    start, recording = store.coordinate("start"), store.coordinate("recording")
    sources, length = store.coordinate("source"), float(store.attrs()["window"])
    figure, panels = subplots(len(shown), ACROSS)
    meshes = []
    for panel, window in zip(panels, shown.tolist(), strict=True):
        mesh = draw_features(panel, store, np.array([window]), start, length)
        panel.set_xlim(start[window], start[window] + length)
        panel.tick_params(labelsize=7)
        source = clipped(os.path.basename(str(sources[recording[window]])))
        panel.set_title(f"{source}\nat {start[window]:g} s", fontsize=7, parse_math=False)
        meshes += [] if mesh is None else [mesh]
    if meshes:
        low, high = np.percentile([mesh.get_clim() for mesh in meshes], [0, 100])
        for mesh in meshes:
            mesh.set_clim(low, high)
        title = labelled(str(store.attrs()["title"]), store.units())
        figure.colorbar(meshes[0], ax=panels, pad=0.01).set_label(title, parse_math=False)
    figure.suptitle(f"{clipped(name)}: {len(shown)} of {n_windows} windows", parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name may be in any script
        for panel, window in zip(panels if meshes else [], shown.tolist(), strict=False):
            _draw_events(panel, store, window)
    save(figure, file)


def _draw_events(panel: Any, store: Store, window: int) -> None:
    """Draw the boxes of events in a window, if they are known."""
    labels, annotated = (store.get(name, window, window + 1) for name in ("label", "annotated"))
    if annotated is None or labels is None or not has_frequencies(store):
        return
    events = find_events(store, window, window + 1)
    if events is None:
        return
    names = [*map(str, store.coordinate("class"))]
    rows = ClassRows.of(labels, annotated, names, events.label)
    shown = longest(events)
    draw_boxes(panel, shown.where(in_range(shown, *panel.get_ylim())), rows, names)
