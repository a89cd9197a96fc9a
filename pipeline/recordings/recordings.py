"""Recordings: all readable files of a job, of one rate, in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from pipeline.amounts import duration
from pipeline.audio import OGG_SUFFIXES, Channel, Header
from pipeline.grid import Indices
from pipeline.html import LISTED, Section, Shown
from pipeline.paths import is_remote
from pipeline.recordings.file_names import DECODED_AT_ONCE, Paths
from pipeline.recordings.recording import Recording
from pipeline.recordings.starts import Said
from pipeline.recordings.summary import sections_of
from pipeline.text import counted

SHORT_SECONDS = 10  # of which all takes up to four times as long to decode as a window does
MIX = -1  # "mix", as the column of channels has it
COLUMNS = np.dtype(
    [
        *(("native", np.int32), ("channels", np.int32), ("n_samples", np.int64)),
        *(("seekable", np.bool_), ("channel", np.int32), ("samplerate", np.int32)),
        ("lost", np.bool_),
        *(("size", np.int64), ("seconds", np.int64), ("nanoseconds", np.int32)),
    ]
)


class Recordings(Shown, Sequence[Recording]):
    """Recordings of one rate, in the order of the sources.

    They are kept as columns of numbers and one buffer of paths; a `Recording`
    is made when it is asked for. A slice of step 1 is a view.

    Parameters
    ----------
    items : sequence of Recording
        Those that can be read.
    unreadable : sequence of (str, str)
        Path and reason of those that cannot.

    Attributes
    ----------
    passed_over : tuple of (str, int)
        Endings of audio that is not read, and links to folders, that the
        search of a folder came upon; and how many of each.
    said : Said
        Of when each began, by manifests and by metadata; a slice has nothing of it.

    Raises
    ------
    ValueError
        If the rates differ; it names two of the files.
    """

    unreadable: tuple[tuple[str, str], ...] = ()
    passed_over: tuple[tuple[str, int], ...] = ()
    said = Said()

    def __init__(
        self, items: Sequence[Recording], unreadable: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._columns = np.array([as_row(item) for item in items], COLUMNS)
        self._paths = Paths(item.path for item in items)
        # Or the folder that the paths are relative to.
        self._locations: Paths | str = Paths(item.location for item in items)
        self.unreadable = tuple(unreadable)
        self.check_rates()

    @classmethod
    def of_columns(
        cls, columns: npt.NDArray[Any], paths: Paths, locations: Paths | str
    ) -> Recordings:
        """Of rows as `as_row` makes them; `locations` may be the folder of relative paths."""
        made = cls.__new__(cls)
        made._columns, made._paths, made._locations = columns, paths, locations
        return made

    def check_rates(self) -> None:
        """Refuse recordings of several rates."""
        rates = self._columns["samplerate"]
        others = np.flatnonzero(rates != rates[:1])
        if len(others):
            one, other = self[0], self[int(others[0])]
            raise ValueError(
                f"{one.path} has {one.samplerate} Hz, {other.path} has {other.samplerate} Hz; "
                f"all recordings must share one rate: pass --samplerate to resample them"
            )

    @property
    def paths(self) -> Sequence[str]:
        """Path of each, as given."""
        return self._paths

    def files(self) -> Iterator[tuple[str, int, int, int, int, int, bool]]:
        """Path, size and `modified` of each, by which it is known again; and its header."""
        for path, _, (*header, _, _, _, size, seconds, nanoseconds) in self._rows():
            yield path, size, seconds * 10**9 + nanoseconds, *header

    @cached_property
    def remote(self) -> bool:
        """Whether any of them is on a server; there may be millions to look at."""
        return self._paths.any_with("://") and any(map(is_remote, self._paths))

    def sequential(self) -> Indices:
        """Numbers of those of which a part costs much, as what is before it must be decoded.

        Of MP3 that is all, of Ogg some seconds; of short files it is little.
        """
        ogg = np.array([path.lower().endswith(OGG_SUFFIXES) for path in self._paths], np.bool_)
        long = self.n_samples > SHORT_SECONDS * self._columns["samplerate"]
        return np.flatnonzero(long & (ogg | ~self._columns["seekable"]))

    @property
    def samplerate(self) -> int:
        """Rate of all, in Hz."""
        if not len(self):
            raise ValueError("there are no recordings, and so no samplerate; give some")
        return int(self._columns["samplerate"][0])

    @property
    def n_samples(self) -> Indices:
        """Length of each, in samples at `samplerate`."""
        n, native, rate = (self._columns[name] for name in ("n_samples", "native", "samplerate"))
        whole, rest = np.divmod(n, native)  # as of a Recording, but it fits in 64 bits
        return np.asarray(whole * rate + (2 * rest * rate + native) // (2 * native), np.int64)

    @property
    def seconds(self) -> float:
        """Length of all together."""
        return float(self.n_samples.sum()) / self.samplerate

    def held_bytes(self, n_samples: int) -> int:
        """The most bytes in memory while so many samples are read of any of them."""
        native, channels, seekable = (
            self._columns[name].astype(np.int64) for name in ("native", "channels", "seekable")
        )
        _, first = np.unique((native << 32) + (channels << 1) + seekable, return_index=True)
        return max(self[int(i)].held_bytes(n_samples) for i in first)

    def _line(self) -> str:
        n = counted(len(self), "recording")
        return f"{n} of {self.samplerate:,} Hz, {duration(self.seconds)}" if len(self) else n

    def _sections(self) -> Iterator[Section]:
        return sections_of(
            *(self[:LISTED], self._columns, self._paths, self.said),
            *(self.unreadable, self.passed_over),
        )

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Recording]:
        return (_from_row(*row) for row in self._rows())

    def _rows(self) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
        """Path, location and numbers of each, some at a time."""
        for low in range(0, len(self), DECODED_AT_ONCE):
            part = slice(low, low + DECODED_AT_ONCE)
            paths, where = self._paths[part], self._locations
            locations = (
                (absolute(where, path) for path in paths) if isinstance(where, str) else where[part]
            )
            yield from zip(paths, locations, self._columns[part].tolist(), strict=True)

    @overload
    def __getitem__(self, index: int) -> Recording: ...

    @overload
    def __getitem__(self, index: slice) -> Recordings: ...

    def __getitem__(self, index: int | slice) -> Recording | Recordings:
        if not isinstance(index, slice):
            i = range(len(self))[index]
            (row,) = self[i : i + 1]._rows()
            return _from_row(*row)
        where = self._locations
        where = where if isinstance(where, str) else where[index]
        return self.of_columns(self._columns[index], self._paths[index], where)


def absolute(folder: str, path: str) -> str:
    """A path that is relative to a folder, as an absolute one; or the URL that it is."""
    return path if is_remote(path) else os.path.join(folder, path)


def as_row(item: Recording) -> tuple[Any, ...]:
    """The numbers of a recording, as a row of `COLUMNS`."""
    header, channel = item.header, MIX if item.channel == "mix" else item.channel
    numbers = header.samplerate, header.channels, header.n_samples, header.seekable
    changed = divmod(item.modified, 10**9)
    return *numbers, channel, item.samplerate, item.lost, item.size, *changed


def _from_row(path: str, location: str, row: tuple[Any, ...]) -> Recording:
    *header, channel, rate, lost, size, seconds, nanoseconds = row
    modified = seconds * 10**9 + nanoseconds
    used: Channel = "mix" if channel == MIX else channel
    return Recording(path, Header(*header), used, rate, size, modified, location, lost)
