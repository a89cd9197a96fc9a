"""The states of windows: what became of each, one state a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.record import Record
from pipeline.store import Store

STATES = "whole", "partial", "masked", "failed", "pending"
WHOLE, PARTIAL, MASKED, FAILED, PENDING = range(len(STATES))


@dataclass(frozen=True, eq=False)
class WindowStates:
    """The state of each window, and its recording."""

    state: npt.NDArray[np.uint8]
    recording: npt.NDArray[np.int32]
    n_recordings: int

    @classmethod
    def of(cls, store: Store, status: Mapping[str, Any] | None) -> Self:
        """Those of a store, finished or not, of which `status` said this; None of a packed copy."""
        attrs = store.attrs()
        full = round(float(attrs["window"]) * int(attrs["samplerate"]))
        state = (store.coordinate("n_samples") < full).astype(np.uint8)
        if status is None:
            state[~store.coordinate("valid")] = MASKED
        else:
            _add_progress(state, store, status)
        sources = store.coordinate("source")
        return cls(state, store.coordinate("recording"), len(sources))

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """Which windows have features of what was recorded."""
        return self.state <= PARTIAL

    @property
    def usual(self) -> npt.NDArray[np.int64]:
        """Numbers of the windows that are whole; where none is, of those that are readable."""
        whole = np.flatnonzero(self.state == WHOLE)
        return whole if len(whole) else np.flatnonzero(self.readable)

    def counts(self) -> dict[str, int]:
        """How many windows there are, and how many in each state."""
        found = np.bincount(self.state, minlength=len(STATES))
        return {"total": len(self.state), **dict(zip(STATES, found.tolist(), strict=True))}

    def by_recording(self) -> npt.NDArray[np.int64]:
        """How many windows of each recording are in each state: (recording, state)."""
        n, cell = len(STATES), self.recording.astype(np.int64) * len(STATES) + self.state
        return np.bincount(cell, minlength=self.n_recordings * n).reshape(-1, n)


def _add_progress(state: npt.NDArray[np.uint8], store: Store, status: Mapping[str, Any]) -> None:
    """Mark what is not there, and what could not be read."""
    for item in status["masked"]:
        state[slice(*item["windows"])] = MASKED
    if status["pending"]:
        record = Record(store.record_folder)
        layout = Layout.from_json(record.job()["identity"]["layout"])
        done = record.state(layout.n_regions).done
        state[~np.repeat(done, layout.region)[: len(state)]] = PENDING
    for item in status["failed"]:
        state[slice(*item["windows"])] = FAILED
