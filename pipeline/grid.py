"""Window arithmetic: which samples of which recording belong to window t."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol, get_args, overload

import numpy as np
import numpy.typing as npt

from pipeline.checks import one_of
from pipeline.html import LISTED, Section, Shown, Table
from pipeline.text import counted

Tail = Literal["pad", "drop"]
LONGEST = 2**31  # samples in a window
Indices = npt.NDArray[np.int64]


class Window(NamedTuple):
    """One window: samples ``start`` to ``stop`` (exclusive) of a recording."""

    recording: int
    start: int
    stop: int


class Lengths(Protocol):
    """Recordings, as far as a grid knows them: one rate, and the length of each."""

    @property
    def samplerate(self) -> int: ...

    @property
    def n_samples(self) -> Indices: ...


def count_windows(n_samples: npt.ArrayLike, window: int, hop: int, tail: Tail = "pad") -> Indices:
    """Number of windows of each recording; all lengths are in samples.

    With ``tail="pad"`` they are the fewest that reach the recording's end, each
    starting inside it: ``ceil(n / window)`` where ``hop == window``. With
    ``"drop"`` they are those that lie wholly inside.
    """
    n = np.asarray(n_samples, dtype=np.int64)
    if tail == "drop":
        return np.where(n >= window, (n - window) // hop + 1, 0)
    reach_end = -((window - n) // hop) + 1
    start_inside = -(-n // hop)
    return np.where(n > 0, np.minimum(np.maximum(reach_end, 1), start_inside), 0)


class WindowGrid(Shown):
    """All windows of a list of recordings, numbered 0 to ``len(grid) - 1``.

    The windows of the first recording come first, in order of time, then
    those of the second. Memory is a few numbers a recording, none a window.

    Parameters
    ----------
    recordings : Recordings or any object with ``samplerate`` and ``n_samples``
        What the windows are laid over.
    window : float
        Length of a window in seconds; rounded to whole samples.
    hop : float, optional
        Distance between window starts in seconds; `window` if not given.
    tail : {"pad", "drop"}
        Keep the last, partial window of a recording, or leave it out.

    Attributes
    ----------
    samplerate : int
        Of all recordings, in Hz.
    window_samples, hop_samples : int
        `window` and `hop` in samples.
    offset : int
        Number that the first window had in the grid that this was cut from.

    Raises
    ------
    ValueError
        If `window` or `hop` is not at least one sample long, or `tail` is
        not one of the two words.

    Examples
    --------
    ``grid[t]`` gives ``Window(recording, start, stop)`` in samples, and
    ``grid[a:b]`` the grid of windows a to b - 1, on the same recordings.
    """

    def __init__(
        self, recordings: Lengths, window: float = 1.0, hop: float | None = None, tail: Tail = "pad"
    ) -> None:
        one_of("tail", tail, get_args(Tail))
        self.samplerate = recordings.samplerate
        self.window_samples = _whole_samples("window", window, self.samplerate)
        self.hop_samples = _whole_samples("hop", window if hop is None else hop, self.samplerate)
        self.tail, self.offset = tail, 0
        # A run is windows of one recording that follow each other; here, all of them.
        self._n_samples = np.asarray(recordings.n_samples, dtype=np.int64)
        self._recording = np.arange(len(self._n_samples))
        self._start = np.zeros_like(self._n_samples)  # the run's first sample
        self._stop = np.cumsum(  # the number of windows up to the run's end
            count_windows(self._n_samples, self.window_samples, self.hop_samples, tail)
        )
        self._first = _shifted(self._stop)  # and up to its beginning

    def __len__(self) -> int:
        return int(self._stop[-1]) if len(self._stop) else 0

    def __iter__(self) -> Iterator[Window]:
        ends = self._n_samples
        for (recording, first, count), end in zip(self.runs(), ends[self.counts > 0], strict=True):
            for start in range(first, first + count * self.hop_samples, self.hop_samples):
                yield Window(recording, start, min(start + self.window_samples, int(end)))

    @overload
    def __getitem__(self, t: int) -> Window: ...

    @overload
    def __getitem__(self, t: slice) -> WindowGrid: ...

    def __getitem__(self, t: int | slice) -> Window | WindowGrid:
        if isinstance(t, slice):
            return self._cut(t)
        if not -len(self) <= t < len(self):
            raise IndexError(f"window {t} of a grid of {len(self)} windows")
        recording, start, n_samples = self.locate(np.array([t % len(self)]))
        return Window(int(recording[0]), int(start[0]), int(start[0] + n_samples[0]))

    def locate(self, t: Indices | None = None) -> tuple[Indices, Indices, Indices]:
        """Recording, first sample and number of samples of windows `t`, or of all.

        There are fewer samples than in a window where the recording ends.
        """
        t = np.arange(len(self)) if t is None else t
        run = np.searchsorted(self._stop, t, side="right")
        start = self._start[run] + (t - self._first[run]) * self.hop_samples
        n_samples = np.minimum(self._n_samples[run] - start, self.window_samples)
        return self._recording[run], start, n_samples

    def inside(self, before: int, after: int, t: Indices | None = None) -> Indices:
        """Which samples of windows `t`, or all, and their context are in the recording.

        The first and the one after the last, counted from `before` samples in front of the
        window, of shape (window, 2).
        """
        t = np.arange(len(self)) if t is None else t
        run = np.searchsorted(self._stop, t, side="right")
        start = self._start[run] + (t - self._first[run]) * self.hop_samples - before
        length = before + self.window_samples + after
        stop = np.minimum(self._n_samples[run] - start, length)
        return np.stack([np.maximum(0, -start), stop], axis=1)

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Windows of one recording that follow each other, for each that has any.

        Of each run the recording, the first sample of its first window, and how many there are.
        """
        for recording, start, count in zip(self._recording, self._start, self.counts, strict=True):
            if count:
                yield int(recording), int(start), int(count)

    def detached(self) -> tuple[WindowGrid, slice]:
        """The same windows on no more recordings than they need, and which of all these are."""
        if not len(self):
            return self, slice(0, 0)
        low, high = int(self._recording[0]), int(self._recording[-1]) + 1
        part = copy.copy(self)
        part._recording = self._recording - low
        return part, slice(low, high)

    @property
    def counts(self) -> Indices:
        """Number of windows of each recording, from the first window's on."""
        return self._stop - self._first

    @property
    def partial(self) -> Indices:
        """Number of windows of each recording, as `counts`, that its end cuts short."""
        whole = (self._n_samples - self.window_samples - self._start) // self.hop_samples + 1
        return np.asarray(self.counts - np.clip(whole, 0, self.counts), np.int64)

    def _line(self) -> str:
        window, hop = (n / self.samplerate for n in (self.window_samples, self.hop_samples))
        n_recordings = int(np.count_nonzero(self.counts))
        return (
            f"{counted(len(self), 'window')} of {window:g} s, one every {hop:g} s, of "
            f"{counted(n_recordings, 'recording')}"
        )

    def _sections(self) -> Iterator[Section]:
        counts, partial, rate = self.counts, self.partial, self.samplerate
        window, hop, with_any = self.window_samples, self.hop_samples, np.flatnonzero(counts)
        without = len(counts) - len(with_any)
        ending = "kept, and padded" if self.tail == "pad" else "left out"
        yield {
            "windows": len(self),
            "offset": f"{self.offset:,} windows were cut off before" if self.offset else None,
            "window": f"{window / rate:g} s, {counted(window, 'sample')} at {rate:,} Hz",
            "hop": f"{hop / rate:g} s, {counted(hop, 'sample')}",
            "tail": f"{self.tail}: a last window that is partial is {ending}",
            "partial": counted(int(partial.sum()), "window"),
            "without windows": counted(without, "recording") if without else None,
        }
        some = with_any[:LISTED]
        numbers = self._recording, self._first + self.offset, counts, partial
        rows = zip(*(column[some].tolist() for column in numbers), strict=True)
        starts = [f"{start / rate:,g} s" for start in self._start[some].tolist()]
        yield Table(
            "Recordings",
            ("recording", "first window", "windows", "partial", "from"),
            [(*row, start) for row, start in zip(rows, starts, strict=True)],
            len(with_any),
        )

    def _cut(self, t: slice) -> WindowGrid:
        a, b, step = t.indices(len(self))
        if step != 1:
            raise ValueError(f"a grid is sliced with step 1, not {step}")
        low = np.searchsorted(self._stop, a, side="right")
        high = np.searchsorted(self._stop, b, side="left") + 1 if b > a else low
        runs = slice(int(low), int(high))
        skipped = np.maximum(a - self._first[runs], 0)
        part = copy.copy(self)
        part._recording = self._recording[runs]
        part._n_samples = self._n_samples[runs]
        part._start = self._start[runs] + skipped * self.hop_samples
        part._stop = np.minimum(self._stop[runs], b) - a
        part._first = _shifted(part._stop)
        part.offset = self.offset + a
        return part


def _shifted(stop: Indices) -> Indices:
    return np.concatenate([np.zeros(1, np.int64), stop[:-1]])[: len(stop)]


def _whole_samples(name: str, seconds: float, samplerate: int) -> int:
    samples = round(seconds * samplerate) if 0 < seconds * samplerate < LONGEST else 0
    if samples < 1:
        raise ValueError(
            f"{name} is {seconds} s; it must be at least one sample, {1 / samplerate:g} s at "
            f"{samplerate} Hz, and less than {LONGEST // samplerate} s"
        )
    return samples
