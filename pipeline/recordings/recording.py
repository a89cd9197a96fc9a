"""A recording: one readable file, opened as mono samples at one rate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from threading import Lock

import numpy as np

from pipeline.audio import (
    MARGIN,
    Channel,
    Header,
    PlainReader,
    Reader,
    Samples,
    open_reader,
    resample_part,
    segment,
)
from pipeline.paths import as_path, open_binary

READ_BYTES = READ_SAMPLES = 1 << 20  # at a time, where a whole file is read
# Of all channels, at the rate of the file, that are held at once. Ogg is decoded from 10 s before
# each part that is resampled, which must be little beside the part.
NATIVE_BYTES = 1 << 24
MIXED_SAMPLES = 1 << 16


@dataclass(frozen=True, slots=True)
class Recording:
    """One readable file, as the job uses it.

    Parameters
    ----------
    path : str
        As given.
    header : Header
        What the file says of itself.
    channel : int or "mix"
        The channel that is used, or the mean of all.
    samplerate : int
        Rate in Hz that samples are delivered at.
    size, modified : int
        Bytes, and modification time in ns, when it was scanned; in place of
        the time, a number of the version of a remote file.
    location : str
        The absolute path, for workers that run in another folder, or the URL.
    lost : bool
        Whether it is no longer there, and the job goes on without it.
    """

    path: str
    header: Header
    channel: Channel
    samplerate: int
    size: int
    modified: int
    location: str
    lost: bool = False

    @property
    def n_samples(self) -> int:
        """Number of samples at `samplerate`."""
        native = self.header.samplerate
        # As soxr: rounded, halves up.
        return (2 * self.header.n_samples * self.samplerate + native) // (2 * native)

    @property
    def is_resampled(self) -> bool:
        """Whether the samples of the file have another rate."""
        return self.header.samplerate != self.samplerate

    @property
    def parts(self) -> tuple[int, int]:
        """Samples in the parts that are read one after another, and in their margins.

        The first are at `samplerate`, and whole segments where it is another than that of the
        file; margins at that of the file.
        """
        native, rate = self.header.samplerate, self.samplerate
        length, margin = segment(native, rate) if self.is_resampled else (1, 0)
        n_bytes = 4 * self.header.channels * native * length // rate
        return max(1, NATIVE_BYTES // n_bytes) * length, margin

    def held_bytes(self, n_samples: int) -> int:
        """The most bytes in memory while so many samples are read."""
        header, (part, margin) = self.header, self.parts
        length = segment(header.samplerate, self.samplerate)[0] if self.is_resampled else 0
        n_native = min(n_samples + 2 * length, part) * header.samplerate // self.samplerate
        native = 4 * header.channels * (n_native + 2 * margin)
        if header.channels == 1 and not self.is_resampled:
            native = 0  # they are what is read
        kept = 0 if header.seekable else native or 4 * n_samples
        return 4 * n_samples + native + kept

    @contextmanager
    def open(self) -> Iterator[OpenRecording]:
        """Open the file; OSError if it cannot be opened, or has changed since it was scanned."""
        self.check_unchanged()
        audio = self.opened()
        try:
            yield audio
        finally:
            audio.close()

    def opened(self) -> OpenRecording:
        """The file, open until it is closed; OSError if it cannot be opened."""
        with self._named_in_errors():
            return OpenRecording(self, open_reader(as_path(self.location)))

    def check_unchanged(self) -> None:
        """OSError if the file has changed since it was scanned."""
        with self._named_in_errors():
            self._check_unchanged()

    def check_bytes(self) -> None:
        """Read all bytes of the file, once a process; OSError if it has changed, or they fail.

        Readers give NaN for damage, which stays, and for errors of the disk or
        the network, which pass. What is NaN after this was called is damage.
        """
        with self._named_in_errors():
            self._check_unchanged()
            with _lock_of(self):
                _read_through(self)

    def decodable(self) -> int:
        """Number of samples before the first that cannot be read; found once a process.

        For files that are decoded from their beginning.
        """
        with _lock_of(self), ThreadPoolExecutor(1) as fresh:  # a reader is kept by its thread
            return fresh.submit(_count_decodable, self).result()

    def _check_unchanged(self) -> None:
        status = as_path(self.location).stat()
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
            raise OSError("it has changed since it was scanned")

    @contextmanager
    def _named_in_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # How a class that a library derives from it is made, nobody knows.
            kind = type(error) if type(error).__module__ == "builtins" else OSError
            named = kind(f"{self.path}: {error.strerror or error}")
            named.errno = error.errno
            raise named from error


# Threads that need the same of a file wait for the first, which remembers it for all.
_locks: list[Lock] = []


def _renew_locks() -> None:
    _locks[:] = [Lock() for _ in range(64)]


_renew_locks()
if hasattr(os, "register_at_fork"):  # in a child, the thread that holds one does not exist
    os.register_at_fork(after_in_child=_renew_locks)


def _lock_of(recording: Recording) -> Lock:
    return _locks[hash(recording) % len(_locks)]


@lru_cache(maxsize=1024)
def _read_through(recording: Recording) -> None:
    """Read all bytes of a file; an error is not remembered."""
    n_bytes = 0
    with open_binary(as_path(recording.location)) as file:
        while piece := file.read(READ_BYTES):
            n_bytes += len(piece)
    if n_bytes != recording.size:
        raise OSError("it has changed since it was scanned")


@lru_cache(maxsize=1024)
def _count_decodable(recording: Recording) -> int:
    with recording.open() as audio:
        for start in range(0, recording.n_samples, READ_SAMPLES):
            samples = audio.read(start, min(start + READ_SAMPLES, recording.n_samples))
            bad = np.flatnonzero(~np.isfinite(samples))
            if len(bad):
                return start + int(bad[0])
    return recording.n_samples


class OpenRecording:
    """A recording that is open for reading, forwards."""

    def __init__(self, recording: Recording, reader: Reader) -> None:
        self.recording, self._reader = recording, reader

    def close(self) -> None:
        """Close the file, or leave it open for its thread."""
        self._reader.close()

    def read(self, start: int, stop: int) -> Samples:
        """Mono samples start to stop - 1, at the rate of the recording; NaN where there is damage.

        They are the same numbers whatever is read with them, also where they are resampled. Many
        channels, or a higher rate, are read in parts, of which no more than one is held.
        """
        recording = self.recording
        if recording.header.channels == 1 and not recording.is_resampled:
            return self._read_native(start, stop)
        parts = list(_cut(start, stop, recording))
        if len(parts) == 1:
            return self._read_part(start, stop)
        samples = np.empty(stop - start, np.float32)
        for low, high in parts:
            samples[low - start : high - start] = self._read_part(low, high)
        return samples

    def _read_part(self, start: int, stop: int) -> Samples:
        if not self.recording.is_resampled:
            return self._read_native(start, stop)
        native, rate = self.recording.header.samplerate, self.recording.samplerate
        ends = self.recording.header.n_samples, self.recording.n_samples
        return resample_part(self._read_native, start, stop, (native, rate), ends)

    def read_apart(self, firsts: Sequence[int], length: int) -> Samples | None:
        """Rows of so many samples, each from a first sample on; None where `read` is as fast."""
        if not isinstance(self._reader, PlainReader) or self.recording.is_resampled:
            return None
        return self._used(self._reader.read_apart(firsts, length))

    def why(self, start: int, stop: int) -> str:
        """Which of these samples is the first that is not finite, and why; empty if all are."""
        bad = np.flatnonzero(~np.isfinite(self.read(start, stop)))
        if not len(bad):
            return ""
        first, rate = start + int(bad[0]), self.recording.samplerate
        place = f"sample {first} ({first / rate:.3f} s)"
        sample = self._first_bad(first, stop)
        if sample is None or not self._reader.has(sample):
            remark = self._reader.remark
            return f"it cannot be read from {place} on" + (f": {remark}" if remark else "")
        beyond = np.isinf(self._reader.read(sample, sample + 1)).any()
        return f"{place} is {'beyond float32' if beyond else 'not a number'}"

    def _first_bad(self, start: int, stop: int) -> int | None:
        """The first sample of the file that is not finite, about those at another rate."""
        native, rate = self.recording.header.samplerate, self.recording.samplerate
        reach = 0 if native == rate else 2 * MARGIN * max(native, rate) // rate
        begin = max(0, start * native // rate - reach)
        end = min(self.recording.header.n_samples, -(-stop * native // rate) + reach)
        for low in range(begin, end, READ_SAMPLES):
            samples = self._read_native(low, min(low + READ_SAMPLES, end))
            bad = np.flatnonzero(~np.isfinite(samples))
            if len(bad):
                return low + int(bad[0])
        return None

    def _read_native(self, start: int, stop: int) -> Samples:
        return self._used(self._reader.read(start, stop))

    def _used(self, samples: Samples) -> Samples:
        """Of all channels the one that is used, or their mean."""
        if samples.shape[-1] != self.recording.header.channels:
            return np.full(samples.shape[:-1], np.nan, np.float32)
        if self.recording.channel == "mix":
            return _mixed(samples)
        return samples[..., self.recording.channel]


def _cut(start: int, stop: int, recording: Recording) -> Iterator[tuple[int, int]]:
    """The parts of what is read; those that are resampled end where segments do."""
    part, _ = recording.parts
    first = start
    if recording.is_resampled:
        length, _ = segment(recording.header.samplerate, recording.samplerate)
        first = start // length * length
    return pairwise([start, *range(first + part, stop, part), stop])


def _mixed(samples: Samples) -> Samples:
    """The mean of all channels, in double precision of a few samples at a time."""
    mixed = np.empty(samples.shape[:-1], np.float32)
    flat, means = samples.reshape(-1, samples.shape[-1]), mixed.reshape(-1)
    for low in range(0, len(flat), MIXED_SAMPLES):
        rows = slice(low, low + MIXED_SAMPLES)
        means[rows] = flat[rows].mean(axis=-1, dtype=np.float64)
    return mixed
