"""The events that a store was labelled by, read again from their files."""

import json
from collections.abc import Sequence

import numpy as np

from pipeline.job.stored_windows import frame_times, stored_clock, stored_windows
from pipeline.labels import Heard, read_heard
from pipeline.settings import Settings
from pipeline.store import Store


def find_events(store: Store, runs: Sequence[tuple[int, int]]) -> list[Heard] | None:
    """The events in each run of windows a to b - 1 of one recording.

    None if their files are not known, no longer there or larger than 64 MB in all, or say now
    something else than the store does.
    """
    told = json.loads(store.attrs().get("labels", "{}"))
    # Of a packed copy it is not known which recordings there were.
    if store.packed or not told.get("source"):
        return None
    try:
        recordings, grid = stored_windows(store)
        labelling = Settings.from_mapping(told["settings"]).labelling
        times, clock = frame_times(store), stored_clock(store, grid)
        labels, heard = read_heard(told["source"], recordings, grid, times, labelling, clock)
    except (OSError, ValueError):
        return None
    if labels.told != told["events"] or [*labels.classes] != store.coordinate("class").tolist():
        return None
    found = []
    for a, b in runs:
        made = labels.block(a, b)
        if not all(np.array_equal(made[name], store.coordinate(name, a, b)) for name in made):
            return None
        (recording, _), start, n_samples = grid.locate(np.array([a, b - 1]))
        last = start[1] + max(int(n_samples[1]), grid.window_samples)
        first, last = start[0] / grid.samplerate, last / grid.samplerate
        found.append(heard.between(int(recording), first, last))
    return found
