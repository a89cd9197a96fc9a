"""Recordings: what is found at the sources, and mono samples of it at one rate."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from stat import S_ISDIR, S_ISREG
from threading import Lock
from typing import Any, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt

from pipeline.audio import (
    HIGHEST_RATE,
    MARGIN,
    Header,
    Reader,
    Samples,
    open_reader,
    probe,
    resample_part,
)
from pipeline.grid import Indices
from pipeline.paths import as_path, is_remote, open_binary
from pipeline.recordings.folders import why_unsearched
from pipeline.recordings.sources import AT_ONCE, FileNames, PathLike, Paths, find_files

T = TypeVar("T")
PIECE = 1 << 20  # bytes, or samples, read at a time
PROBING, PROBED_AT_ONCE = 8, 64  # threads, and files that each takes at a time, at most
# No header that is true says more; up to here lengths fit in 64 bits, the rest in 32.
MOST_SAMPLES, MOST = 2**60, 10**9
MIX = -1  # a channel, as the columns have it
COLUMNS = np.dtype(
    [
        *(("native", np.int32), ("channels", np.int32), ("n_samples", np.int64)),
        *(("seekable", np.bool_), ("channel", np.int32), ("samplerate", np.int32)),
        ("lost", np.bool_),
        *(("size", np.int64), ("seconds", np.int64), ("nanoseconds", np.int32)),
    ]
)


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
        Whether it is no longer there, and to be gone on without.
    """

    path: str
    header: Header
    channel: int | Literal["mix"]
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

    @contextmanager
    def open(self) -> Iterator[OpenRecording]:
        """Open the file.

        Yields
        ------
        OpenRecording

        Raises
        ------
        OSError
            If it cannot be opened, or is not what it was when it was scanned.
        """
        with self._named_in_errors():
            self._check_unchanged()
            reader = open_reader(as_path(self.location))
        try:
            yield OpenRecording(self, reader)
        finally:
            reader.close()

    def check_bytes(self) -> None:
        """Make sure that the file is what it was, and that its bytes can be read.

        Readers give NaN for damage, which stays, and for errors of the disk or
        the network, which pass. What is NaN after this was called is damage.
        The file is read once a process, if that goes well.

        Raises
        ------
        OSError
            If it has changed since it was scanned, or the system cannot read it.
        """
        with self._named_in_errors():
            self._check_unchanged()
            with _turn(self):
                _read_through(self)

    def decodable(self) -> int:
        """Number of samples before the first that cannot be read.

        For files that are decoded from their beginning; that is done once a
        process.

        Raises
        ------
        OSError
            As of `open`.
        """
        with _turn(self), ThreadPoolExecutor(1) as fresh:  # a reader is kept by its thread
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
            # Of what a library derives from it, nobody knows how it is made.
            kind = type(error) if type(error).__module__ == "builtins" else OSError
            named = kind(f"{self.path}: {error.strerror or error}")
            named.errno = error.errno
            raise named from error


# Threads that need the same of a file take turns: the first does it, the others know it then.
_turns: list[Lock] = []


def _renew_turns() -> None:
    _turns[:] = [Lock() for _ in range(64)]


_renew_turns()
if hasattr(os, "register_at_fork"):  # a thread that has its turn is not there in a child
    os.register_at_fork(after_in_child=_renew_turns)


def _turn(recording: Recording) -> Lock:
    return _turns[hash(recording) % len(_turns)]


@lru_cache(maxsize=1024)
def _read_through(recording: Recording) -> None:
    """Read all bytes of a file; an error is not remembered."""
    n_bytes = 0
    with open_binary(as_path(recording.location)) as file:
        while piece := file.read(PIECE):
            n_bytes += len(piece)
    if n_bytes != recording.size:
        raise OSError("it has changed since it was scanned")


@lru_cache(maxsize=1024)
def _count_decodable(recording: Recording) -> int:
    with recording.open() as audio:
        for start in range(0, recording.n_samples, PIECE):
            samples = audio.read(start, min(start + PIECE, recording.n_samples))
            bad = np.flatnonzero(~np.isfinite(samples))
            if len(bad):
                return start + int(bad[0])
    return recording.n_samples


class OpenRecording:
    """A recording that is open; ``read`` gives mono samples at its rate."""

    def __init__(self, recording: Recording, reader: Reader) -> None:
        self.recording, self._reader = recording, reader

    def read(self, start: int, stop: int) -> Samples:
        """Samples start to stop - 1, to be asked for in order of time.

        Parameters
        ----------
        start, stop : int
            At the rate of the recording.

        Returns
        -------
        numpy.ndarray of float32, shape (sample,)
            NaN where the file cannot be read. The same numbers whatever is
            read with them, also where they are resampled.
        """
        native, rate = self.recording.header.samplerate, self.recording.samplerate
        if native == rate:
            return self._native(start, stop)
        ends = self.recording.header.n_samples, self.recording.n_samples
        return resample_part(self._native, start, stop, (native, rate), ends)

    def why(self, start: int, stop: int) -> str:
        """Why samples are not finite, for people; empty if all are.

        Parameters
        ----------
        start, stop : int
            At the rate of the recording.

        Returns
        -------
        str
            Which sample it is, the first, and what is wrong with it.
        """
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
        bad = np.flatnonzero(~np.isfinite(self._native(begin, end)))
        return begin + int(bad[0]) if len(bad) else None

    def _native(self, start: int, stop: int) -> Samples:
        samples = self._reader.read(start, stop)
        if samples.shape[1] != self.recording.header.channels:
            samples = np.full((stop - start, self.recording.header.channels), np.nan, np.float32)
        if self.recording.channel == "mix":
            return np.asarray(samples.mean(axis=1, dtype=np.float64), np.float32)
        return samples[:, self.recording.channel]


class Recordings(Sequence[Recording]):
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

    Raises
    ------
    ValueError
        If the rates differ; it names two of the files.
    """

    def __init__(
        self, items: Sequence[Recording], unreadable: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._columns = np.array([_row(item) for item in items], COLUMNS)
        self._paths = Paths(item.path for item in items)
        # Or the folder that the paths are relative to.
        self._locations: Paths | str = Paths(item.location for item in items)
        self.unreadable = tuple(unreadable)
        self.passed_over: tuple[tuple[str, int], ...] = ()
        self._check_rates()

    @classmethod
    def _of(
        cls,
        columns: npt.NDArray[Any],
        paths: Paths,
        locations: Paths | str,
        unreadable: Sequence[tuple[str, str]] = (),
        passed_over: tuple[tuple[str, int], ...] = (),
    ) -> Recordings:
        made = cls.__new__(cls)
        made._columns, made._paths, made._locations = columns, paths, locations
        made.unreadable, made.passed_over = tuple(unreadable), passed_over
        return made

    def _check_rates(self) -> None:
        rates = self._columns["samplerate"]
        others = np.flatnonzero(rates != rates[:1])
        if len(others):
            one, other = self[0], self[int(others[0])]
            raise ValueError(
                f"{one.path} has {one.samplerate} Hz, {other.path} has {other.samplerate} Hz; "
                f"all recordings must share one rate: give --samplerate to resample them"
            )

    @property
    def paths(self) -> Sequence[str]:
        """Path of each, as given."""
        return self._paths

    def files(self) -> Iterator[tuple[str, int, int, int, int, int, bool]]:
        """By what each is known again, and what its header said.

        Yields
        ------
        path, size, modified : str, int, int
            Its bytes, and its modification time in ns or the number of its version.
        samplerate, channels, n_samples, seekable : int, int, int, bool
            As of `Header`.
        """
        for path, _, (*header, _, _, _, size, seconds, nanoseconds) in self._rows():
            yield path, size, seconds * 10**9 + nanoseconds, *header

    @cached_property
    def remote(self) -> bool:
        """Whether any of them is."""
        return any(map(is_remote, self._paths))

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

    @property
    def bytes_a_sample(self) -> float:
        """The most bytes in memory, as float32, behind one sample at `samplerate`."""
        ratio = np.maximum(1.0, self._columns["native"] / self._columns["samplerate"])
        return float((4.0 * self._columns["channels"] * ratio).max())

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Recording]:
        return (_recording(*row) for row in self._rows())

    def _rows(self) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
        """Path, location and numbers of each, some at a time."""
        for low in range(0, len(self), AT_ONCE):
            part = slice(low, low + AT_ONCE)
            paths, where = self._paths[part], self._locations
            locations = (
                (_locate(where, path) for path in paths) if isinstance(where, str) else where[part]
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
            return _recording(*row)
        where = self._locations
        where = where if isinstance(where, str) else where[index]
        return self._of(self._columns[index], self._paths[index], where)


def _locate(folder: str, path: str) -> str:
    """Where a path is, seen from a folder."""
    return path if is_remote(path) else os.path.join(folder, path)


def _row(item: Recording) -> tuple[Any, ...]:
    """The numbers of a recording, as a row of the columns."""
    header, channel = item.header, MIX if item.channel == "mix" else item.channel
    numbers = header.samplerate, header.channels, header.n_samples, header.seekable
    changed = divmod(item.modified, 10**9)
    return *numbers, channel, item.samplerate, item.lost, item.size, *changed


def _recording(path: str, location: str, row: tuple[Any, ...]) -> Recording:
    *header, channel, rate, lost, size, seconds, nanoseconds = row
    modified = seconds * 10**9 + nanoseconds
    used: int | Literal["mix"] = "mix" if channel == MIX else channel
    return Recording(path, Header(*header), used, rate, size, modified, location, lost)


def scan(
    sources: PathLike | Iterable[PathLike],
    *,
    channel: int | Literal["mix"] = 0,
    samplerate: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Recordings:
    """Find the recordings at the sources; only their headers are read.

    Parameters
    ----------
    sources : path or iterable of paths
        Each a file, a folder (searched recursively, in order of name), a
        glob, or a manifest: a CSV file with a column ``path``, relative to
        where the manifest is. Any of them may be ``s3://`` or ``gs://``; a
        file or a manifest may be ``https://``.
    channel : int or "mix"
        The channel to use, counted from 0, or the mean of all.
    samplerate : int, optional
        Rate in Hz to resample to; for ``.npy`` files, the rate they have.
    progress : callable
        Called with the number of files looked at, and of all.

    Returns
    -------
    Recordings
        With the files that cannot be read, and folders that cannot be
        searched, in ``unreadable``.

    Raises
    ------
    FileNotFoundError
        If a source does not exist, or nothing fits a glob.
    ValueError
        If there is no audio, none of it is readable, a file has no such
        channel or is named twice, or the rates differ and `samplerate` is not
        given.
    """
    paths, passed_over = find_files(sources)
    check_request(channel, samplerate)
    folder = os.getcwd()
    examine = partial(_examine, folder=folder, channel=channel, samplerate=samplerate)
    columns, keys = np.empty(len(paths), COLUMNS), np.empty(len(paths), np.int64)
    readable, unreadable = np.ones(len(paths), np.bool_), []
    for i, (found, keys[i]) in enumerate(_map_in_threads(examine, paths)):
        if isinstance(found, Recording):
            columns[i] = _row(found)
        else:
            readable[i] = False
            unreadable.append((paths[i], found))
        progress(i + 1, len(paths))
    _refuse_twice(paths, keys)
    if not readable.any():
        path, reason = unreadable[0]
        raise ValueError(
            f"none of the files found, {len(unreadable)} in all, can be read as audio ({path}: "
            f"{reason}); give others"
        )
    if unreadable:
        columns, paths = columns[readable], paths.where(readable)
    recordings = Recordings._of(columns, paths, folder, unreadable, passed_over)
    recordings._check_rates()
    return recordings


def _examine(
    path: str, folder: str, channel: int | Literal["mix"], samplerate: int | None
) -> tuple[Recording | str, int]:
    """A recording, or why it is none; and a number that is the same for the same file."""
    key = hash(path)
    try:
        path.encode()
        try:
            status = as_path(path).stat()
        except OSError:
            key = hash(path if is_remote(path) else os.path.realpath(path))
            raise
        key = hash((status.st_dev, status.st_ino))
        if S_ISDIR(status.st_mode):
            return why_unsearched(path), key
        if not S_ISREG(status.st_mode):
            return "it is not a file", key
        header = probe(as_path(path), samplerate)
    except UnicodeEncodeError:
        return "its name is not UTF-8", key
    except OSError as error:
        return error.strerror or str(error), key
    if channel != "mix" and channel >= header.channels:
        allowed = "0" if header.channels == 1 else f"0 to {header.channels - 1}"
        raise ValueError(
            f"channel {channel} was asked for, but {path} has {header.channels}; give "
            f"--channel {allowed}, or mix"
        )
    rate, location = samplerate or header.samplerate, _locate(folder, path)
    found = Recording(path, header, channel, rate, status.st_size, status.st_mtime_ns, location)
    if (
        max(header.n_samples, found.n_samples) > MOST_SAMPLES
        or max(header.samplerate, header.channels) > MOST
    ):
        return (
            f"it claims {header.n_samples} samples of {header.channels} channels at "
            f"{header.samplerate} Hz, which cannot be"
        ), key
    return found, key


def _map_in_threads(function: Callable[[str], T], paths: Paths) -> Iterator[T]:
    """Results for all paths in their order; only some are asked for ahead."""
    waiting: deque[Future[list[T]]] = deque()
    pool = ThreadPoolExecutor(PROBING)
    step = min(PROBED_AT_ONCE, 1 + len(paths) // PROBED_AT_ONCE)
    try:
        for low in range(0, len(paths), step):
            some = paths[low : low + step]
            waiting.append(pool.submit(lambda some: [function(path) for path in some], some))
            if len(waiting) > 2 * PROBING:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_twice(paths: Paths, keys: Indices) -> None:
    """Refuse a file that has several paths; hard links are files of their own."""
    order = np.argsort(keys, kind="stable")
    same = np.diff(keys[order]) == 0
    suspects = np.sort(order[np.append(same, False) | np.append(False, same)])
    file, names = FileNames(), dict[str, list[str]]()
    for path in (paths[int(i)] for i in suspects):
        names.setdefault(file.of(path), []).append(path)
    for name, given in names.items():
        if len(given) > 1:
            others = [path for path in given if path != given[0]]
            same = f"; {given[0]} and {others[0]} are the same" if others else ""
            raise ValueError(
                f"{name} is among the sources {len(given)} times; name each file once{same}"
            )


def check_request(channel: int | str, samplerate: int | None) -> None:
    """Refuse a channel or a samplerate that no recording can have.

    Raises
    ------
    ValueError
        If one is not allowed.
    """
    if channel != "mix" and not (_is_whole(channel) and int(channel) >= 0):
        raise ValueError(f"channel is {channel!r}; it must be a whole number from 0, or 'mix'")
    if samplerate is not None and not (_is_whole(samplerate) and 1 <= samplerate <= HIGHEST_RATE):
        raise ValueError(
            f"samplerate is {samplerate!r}; it must be a whole number of Hz above 0, up to "
            f"{HIGHEST_RATE}"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
