"""Sounds: windows as they were recorded, while their recordings still are what they were."""

from __future__ import annotations

import io
import json

import numpy as np
import soundfile

from pipeline.record import Record
from pipeline.recordings import Recording, scan
from pipeline.store import Store

LONGEST_WINDOW = 10.0  # seconds
LONGEST_DECODED = 600.0  # seconds of a recording that must be decoded from its beginning
MOST_BYTES = 3 << 19  # of all sounds together
LOWEST, HIGHEST = 8000, 48000  # rates in Hz that browsers play
PEAK = 0.7  # of full scale, as much is too faint to be heard


class Sounds:
    """Gives the sounds of windows of a store, until they are too many bytes."""

    def __init__(self, store: Store) -> None:
        attrs = store.attrs()
        self._left = MOST_BYTES
        self._length = float(attrs["window"])
        self._rate = min(max(int(attrs["samplerate"]), LOWEST), HIGHEST)
        self._channel = json.loads(attrs["settings"])["channel"]
        # Of a packed copy it is not known what was read, and so not whether it is still there.
        rows = iter(()) if store.packed else Record(store.record_folder).inputs()
        self._scanned = {path: (size, modified) for path, size, modified, *_ in rows}

    def of(self, path: str, start: float) -> bytes | None:
        """The window at a second of a recording, as FLAC; None if not at hand, or too long."""
        if self._length > LONGEST_WINDOW or self._left <= 0 or path not in self._scanned:
            return None
        try:
            samples = self._read(path, start)
        except (OSError, ValueError):
            return None
        if samples is None or not np.isfinite(samples).all():
            return None
        found = _flac(samples, self._rate)
        self._left -= len(found)
        return found

    def _read(self, path: str, start: float) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
        found: Recording = scan(path, channel=self._channel, samplerate=self._rate)[0]
        is_long = found.n_samples / self._rate > LONGEST_DECODED and not found.header.seekable
        if is_long or (found.size, found.modified) != self._scanned[path]:
            return None
        first = round(start * self._rate)
        last = min(first + round(self._length * self._rate), found.n_samples)
        with found.open() as audio:
            return audio.read(first, last)


def _flac(samples: np.ndarray[tuple[int], np.dtype[np.float32]], rate: int) -> bytes:
    file = io.BytesIO()
    peak = float(np.abs(samples).max(initial=0))
    soundfile.write(file, samples * (PEAK / peak if peak else 1), rate, "PCM_16", format="FLAC")
    return file.getvalue()
