"""Plots: the figure of labels, waveform and features around a window."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.record import Record
from pipeline.recordings import scan
from pipeline.store import Store, open_finished
from pipeline.training import read_features

AROUND = 4  # windows shown either side
NAMED = 24  # classes, at most, whose names there is room for
MARKED = 400  # points of a curve in a window, at most, that are to be told apart


def plot_window(path: str | os.PathLike[str], window: int, png: Path) -> None:
    """Draw labels, waveform and features of a window, and of up to 4 at either side.

    The waveform is left out if the recording is no longer what it was.
    """
    if png.suffix.lower() != ".png" or not png.absolute().parent.is_dir():
        raise ValueError(f"png is {str(png)!r}; it must be a file name ending in .png in a folder")
    store = open_finished(path)
    recording = store.coordinate("recording")  # of each window
    if not 0 <= window < len(recording):
        raise ValueError(f"window is {window}; {path} has windows 0 to {len(recording) - 1}")
    near = np.arange(max(0, window - AROUND), min(len(recording), window + AROUND + 1))
    near = near[recording[near] == recording[window]]
    source = str(store.coordinate("source")[recording[window]])
    _draw(store, png, near, window, source)


def _draw(store: Store, png: Path, near: npt.NDArray[np.int64], window: int, source: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plot needs matplotlib, which is not installed; install dask-audio-pipeline[plot]"
        ) from error
    attrs, start = store.attrs(), store.coordinate("start")
    length = float(attrs["window"])
    first, last = start[near[0]], start[near[-1]] + length
    # Of a packed copy it is not known what was read, and so not whether it is still there.
    inputs = iter(()) if store.packed else Record(store.record_folder).inputs()
    scanned = next((item for item in inputs if item[0] == source), None)
    waveform = _waveform(source, scanned, attrs, first, last)
    labels = store.get("label")
    panels = ["label"] * (labels is not None) + ["waveform"] * (waveform is not None) + ["features"]
    figure = Figure(figsize=(10, 1.5 + 2.2 * len(panels)), layout="constrained")
    subplots = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    axes = dict(zip(panels, subplots, strict=True))
    if labels is not None:
        _draw_labels(axes["label"], [*start[near], last], labels[near], store.get("class"))
    if waveform is not None:
        seconds = first + np.arange(len(waveform)) / float(attrs["samplerate"])
        axes["waveform"].plot(seconds, waveform, linewidth=0.4)
        axes["waveform"].set_ylabel("amplitude")
    frames, title = axes["features"], _labelled(str(attrs["title"]), store.units())
    mesh = _draw_features(frames, store, near, start, length)
    if mesh is None:
        frames.set_ylabel(title, parse_math=False)
    else:
        bar = figure.colorbar(mesh, ax=list(axes.values()), pad=0.01)
        bar.set_label(title, parse_math=False)
    for panel in axes.values():
        panel.set_xlim(first, last)
        for edge in [*start[near], last]:
            panel.axvline(edge, color="black", linewidth=0.5, alpha=0.6)
        if panel is not frames:
            panel.axvspan(start[window], start[window] + length, color="C1", alpha=0.12)
    figure.suptitle(f"{os.path.basename(source)}, window {window}", parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name may be in any script
        figure.savefig(png, dpi=110)


def _draw_features(
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
    across, rows = np.linspace(0, length, columns.shape[2] + 1), _edges(values)
    if timed and len(times) > 1:
        across = _edges(times)
    elif len(axes) == 2 and not timed:
        panel.set_xlabel(f"time (s), and {axes[-1][0]} within each window", parse_math=False)
    for t, x in zip(near, columns, strict=True):
        mesh = panel.pcolormesh(start[t] + across, rows, x, vmin=low, vmax=high, rasterized=True)
    panel.set_ylabel(_labelled(name, units), parse_math=False)
    _scale_rows(panel, values)
    return mesh


def _labelled(name: str, units: str) -> str:
    return name if units == "1" else f"{name} ({units})"


def _edges(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The edges of cells around values, or around their places where they are in no order."""
    steps = np.diff(values)
    if not _are_in_order(values):
        return np.arange(len(values) + 1) - 0.5
    first, last = values[0] - steps[0] / 2, values[-1] + steps[-1] / 2
    return np.array([first, *(values[:-1] + steps / 2), last])


def _are_in_order(values: npt.NDArray[Any]) -> bool:
    steps = np.diff(values)
    return bool(len(steps) and ((steps > 0).all() or (steps < 0).all()))


def _scale_rows(panel: Any, values: npt.NDArray[Any]) -> None:
    """Show bands as people draw them, and values in no order at the places that they have."""
    if _are_of_one_ratio(values):
        panel.set_yscale("log")
    if not _are_in_order(values) and len(values) <= NAMED:
        panel.set_yticks(range(len(values)), [f"{value:g}" for value in values])


def _are_of_one_ratio(values: npt.NDArray[Any]) -> bool:
    """Whether values are those of bands as parts of an octave or a decade, but for the last."""
    if len(values) < 4 or not (values > 0).all():
        return False
    ratios = values[1:-1] / values[:-2]
    return bool(1 < ratios[0] < 3 and np.allclose(ratios, ratios[0], rtol=0.01))


def _draw_labels(
    panel: Any, edges: list[float], y: npt.NDArray[Any], names: npt.NDArray[Any] | None
) -> None:
    """A line of one label a window, or a row for each of several classes."""
    panel.set_ylabel("label")
    if y.ndim == 1:
        panel.step(edges, [*y, y[-1]], where="post", color="C1")
        return
    rows = np.arange(y.shape[1] + 1)
    top = max(1.0, float(y.max(initial=0)))
    panel.pcolormesh(edges, rows, y.T.astype(float), vmin=0, vmax=top, cmap="Greys")
    if len(rows) <= NAMED + 1:
        texts = [str(name) for name in (rows[:-1] if names is None else names)]
        size = min(9.0, 110 / len(texts))
        panel.set_yticks(rows[:-1] + 0.5, texts, fontsize=size, parse_math=False)
    panel.invert_yaxis()


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
