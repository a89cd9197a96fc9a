"""The events that a store was labelled by, read again from their files."""

import json
from typing import Any

import numpy as np

from pipeline.job.stored_windows import frame_times, stored_clock, stored_windows
from pipeline.labels import Heard, read_heard
from pipeline.settings import Settings
from pipeline.store import Store


def find_events(store: Store, a: int, b: int) -> Heard | None:
    """The events in windows a to b - 1, which are of one recording.

    None if their files are not known, no longer there or larger than 64 MB in all, or say now
    something else than the store does.
    """
    told = json.loads(store.attrs().get("labels", "{}"))
    # Of a packed copy it is not known which recordings there were.
    if store.packed or not told.get("source"):
        return None
    label, annotated = store.get("label", a, b), store.get("annotated", a, b)
    classes, times = store.coordinate("class").tolist(), frame_times(store)
    try:
        recordings, grid = stored_windows(store)
        labelling = Settings.from_mapping(told["settings"]).labelling
        labels, heard = read_heard(
            told["source"], recordings, grid, times, labelling, stored_clock(store, grid)
        )
    except (OSError, ValueError):
        return None
    made = labels.block(a, b)
    same = labels.told == told["events"] and [*(labels.classes)] == classes
    if not same or not _are_equal(made, {"label": label, "annotated": annotated}):
        return None
    recording, start, n_samples = grid.locate(np.array([a, b - 1]))
    last = start[1] + max(int(n_samples[1]), grid.window_samples)
    return heard.between(int(recording[0]), start[0] / grid.samplerate, last / grid.samplerate)


def _are_equal(made: dict[str, Any], stored: dict[str, Any]) -> bool:
    return all(np.array_equal(made[name], stored[name]) for name in made)
