"""The recordings and windows of a store, from its record: no recording need be there."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.grid import WindowGrid
from pipeline.inputs import FRAMES
from pipeline.job.plan import recorded
from pipeline.record import Record
from pipeline.recordings import NAT, Recordings, clock_of
from pipeline.settings import Settings
from pipeline.store import Store


def stored_windows(store: Store) -> tuple[Recordings, WindowGrid]:
    """The recordings of a store that is not packed, and the grid of its windows."""
    record, settings = Record(store.record_folder), _settings_of(store)
    items = [recorded(path, row, settings) for path, *row in record.inputs()]
    recordings = Recordings(items, [*record.job()["unreadable"].items()])
    return recordings, WindowGrid(recordings, settings.window, settings.hop, settings.tail)


def _settings_of(store: Store) -> Settings:
    values: Mapping[str, Any] = json.loads(store.attrs()["settings"])
    known = Settings.names()
    return Settings(**{name: value for name, value in values.items() if name in known})


def frame_times(store: Store) -> npt.NDArray[Any] | None:
    """The centres of the frames, in seconds from the window's start, if there are any."""
    name, units = FRAMES
    return store.coordinate(name) if store.axes().get(name) == units else None


def stored_clock(store: Store, grid: WindowGrid) -> npt.NDArray[np.float64] | None:
    """When each recording began, in seconds since 1970 in UTC; None if nothing is known of it."""
    stored, counts = store.get("datetime"), grid.counts
    if stored is None:
        return None
    found = np.full(len(counts), NAT)
    found[counts > 0] = stored[(np.cumsum(counts) - counts)[counts > 0]]
    return clock_of(found)
