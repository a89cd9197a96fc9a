"""Pictures: a window for each class and each recording, with what is known of it."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.reports.coverage import local_times
from pipeline.reports.label_counts import LabelCounts, labels_at
from pipeline.reports.reading import Reader
from pipeline.reports.window_states import WindowStates
from pipeline.store import Store
from pipeline.views import spread, thumbnail

CLASSES, RECORDINGS = 40, 50  # pictures, at most
SIZE = 320, 180
KILO = 2000.0  # Hz, from which on they are told in kHz
Place = tuple[str, float, str | None]  # recording, seconds from its start, and time of day
Sound = Callable[[str, float], bytes | None]  # of a window of a recording, as FLAC


@dataclass(frozen=True, eq=False)
class Picture:
    """Which window is to be drawn, and of what it is the picture."""

    title: str
    window: int


def pictures_of(
    store: Store,
    reader: Reader,
    info: Mapping[str, Any],
    states: WindowStates,
    counts: LabelCounts | None,
    sound: Sound,
) -> dict[str, Any]:
    """A picture of each class and each recording, so many at most, as plain values."""
    classes = [] if counts is None else _of_classes(counts)
    recordings = _of_recordings(states, info["sources"])
    try:
        drawn, missing = _drawn(store, reader, [*classes, *recordings]), None
    except ImportError as error:
        drawn, missing = {}, str(error)
    places = _places(store, states, info["sources"], [*drawn])
    shown = [
        [
            _described(store, info, places[item.window], item, drawn[item.window], sound)
            for item in some
            if item.window in drawn
        ]
        for some in (classes, recordings)
    ]
    return {
        "classes": shown[0],
        "recordings": shown[1],
        "n_classes": 0 if counts is None else counts.n_classes,
        "n_recordings": len(info["sources"]),
        "axes": _axes(store),
        "missing": missing,
    }


def _of_classes(counts: LabelCounts) -> list[Picture]:
    found = zip(counts.classes, counts.examples.tolist(), strict=True)
    return [Picture(item.name, window) for item, window in found if window >= 0][:CLASSES]


def _of_recordings(states: WindowStates, sources: list[str]) -> list[Picture]:
    """The middle one of the readable windows of each recording that has any."""
    windows = np.flatnonzero(states.readable)
    numbers, first, counts = np.unique(
        states.recording[windows], return_index=True, return_counts=True
    )
    chosen = spread(np.arange(len(numbers)), RECORDINGS)
    middle = windows[(first + counts // 2)[chosen]]
    return [
        Picture(sources[number], window)
        for number, window in zip(numbers[chosen].tolist(), middle.tolist(), strict=True)
    ]


def _drawn(store: Store, reader: Reader, pictures: list[Picture]) -> dict[int, bytes]:
    """The pictures of windows, as far as these can be read."""
    windows = np.unique(np.array([picture.window for picture in pictures], np.int64))
    return {
        window: thumbnail(store, features, SIZE)
        for some, block in reader.blocks(windows)
        for window, features in zip(some.tolist(), block, strict=True)
    }


def _places(
    store: Store, states: WindowStates, sources: list[str], windows: list[int]
) -> dict[int, Place]:
    """Where windows are, and when."""
    start = store.coordinate("start")
    times = local_times(store, np.array(windows, np.int64))
    return {
        window: (sources[states.recording[window]], float(start[window]), time)
        for window, time in zip(windows, times, strict=True)
    }


def _described(
    store: Store, info: Mapping[str, Any], place: Place, picture: Picture, png: bytes, sound: Sound
) -> dict[str, Any]:
    window = picture.window
    path, at, time = place
    heard, title = sound(path, at), store.attrs()["title"]
    return {
        "title": picture.title,
        "png": f"data:image/png;base64,{b64encode(png).decode()}",
        "width": SIZE[0],
        "height": SIZE[1],
        "alt": f"{title} of window {window}, {os.path.basename(path)} at {at:g} s",
        "window": window,
        "path": path,
        "at": at,
        "datetime": time,
        "labels": [] if info["labels"] is None else labels_at(store, info, window),
        "sound": None if heard is None else f"data:audio/flac;base64,{b64encode(heard).decode()}",
    }


def _axes(store: Store) -> dict[str, str] | None:
    """What is drawn along both axes, of features that are a picture in time."""
    axes = [*store.axes().items()]
    if len(axes) != 2 or [units for _, units in axes].count("s") != 1:
        return None
    (x, x_units), (y, y_units) = sorted(axes, key=lambda axis: axis[1] != "s")
    values, length = store.coordinate(y), float(store.attrs()["window"])
    low, high = float(values.min()), float(values.max())
    if y_units == "Hz" and high > KILO:
        low, high, y_units = low / 1000, high / 1000, "kHz"
    unit = "" if y_units == "1" else f" {y_units}"
    return {"x": f"{x} 0 to {length:g} {x_units}", "y": f"{y} {low:.3g} to {high:.3g}{unit}"}
