"""Recordings: what is found at the sources, and mono samples of it at one rate."""

from __future__ import annotations

import csv
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import ceil, gcd
from pathlib import Path
from stat import S_ISREG
from typing import Literal, overload

import numpy as np
import soxr

from pipeline.grid import Indices
from pipeline.readers import Header, Reader, Samples, open_reader, probe, suffixes

__all__ = ["OpenRecording", "Recording", "Recordings", "scan"]

PathLike = str | os.PathLike[str]
HIGHEST_RATE = 10_000_000
SEGMENT_SECONDS = 2
MARGIN = 256  # samples of the slower rate, either side of a resampled segment


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
        Bytes, and modification time in ns, when it was scanned.
    location : str
        The absolute path, for workers that run in another folder.
    """

    path: str
    header: Header
    channel: int | Literal["mix"]
    samplerate: int
    size: int
    modified: int
    location: str

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
        try:
            status = os.stat(self.location)
            if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
                raise OSError("it has changed since it was scanned")
            reader = open_reader(Path(self.location))
        except OSError as error:
            raise OSError(f"{self.path}: {error.strerror or error}") from None
        try:
            yield OpenRecording(self, reader)
        finally:
            reader.close()


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
        return self._resampled(start, stop, native, rate)

    def _native(self, start: int, stop: int) -> Samples:
        samples = self._reader.read(start, stop)
        if samples.shape[1] != self.recording.header.channels:
            samples = np.full((stop - start, self.recording.header.channels), np.nan, np.float32)
        if self.recording.channel == "mix":
            return np.asarray(samples.mean(axis=1, dtype=np.float64), np.float32)
        return samples[:, self.recording.channel]

    def _resampled(self, start: int, stop: int, native: int, rate: int) -> Samples:
        """Cut from segments that lie fast on the recording's own time line.

        With starts and margins at multiples of 8 periods, and a margin of 256
        samples, a segment of soxr's best quality equals what it makes of the
        whole recording, for most pairs of rates to the last bit.
        """
        common = gcd(native, rate)
        up, down = rate // common, native // common
        periods = 8 if down <= 1000 else 1
        length = ceil(SEGMENT_SECONDS * rate / (periods * up)) * periods * up
        margin = ceil(MARGIN * max(1, native / rate) / (periods * down)) * periods * down
        low = start // length * length // up * down - margin
        high = min(-(-stop // length) * length, self.recording.n_samples)
        high = -(-high * down // up) + margin
        first, last = max(0, low), min(self.recording.header.n_samples, high)
        samples = self._native(first, last)
        pieces = []
        for begin in range(start // length * length, stop, length):
            end = min(begin + length, self.recording.n_samples)
            a = max(0, begin // up * down - margin)
            b = min(last, -(-end * down // up) + margin)
            piece = _resample(samples[a - first : b - first], native, rate)
            skip = (begin // up * down - a) // down * up
            pieces.append(piece[skip : skip + end - begin])
        offset = start // length * length
        return np.concatenate(pieces)[start - offset : stop - offset]


def _resample(samples: Samples, native: int, rate: int) -> Samples:
    """Resample; NaN spreads no further than the filter reaches."""
    bad = np.flatnonzero(np.isnan(samples))
    if not len(bad):
        return np.asarray(soxr.resample(samples, native, rate, "VHQ"), np.float32)
    clean = np.nan_to_num(samples, nan=0.0)
    result = np.array(soxr.resample(clean, native, rate, "VHQ"), np.float32)
    reach = MARGIN * max(1, native / rate)
    result[
        max(0, int((bad[0] - reach) * rate / native)) : ceil((bad[-1] + reach) * rate / native)
    ] = np.nan
    return result


class Recordings(Sequence[Recording]):
    """Recordings of one rate, in the order of the sources.

    Parameters
    ----------
    items : sequence of Recording
        Those that can be read.
    unreadable : sequence of (str, str)
        Path and reason of those that cannot.

    Raises
    ------
    ValueError
        If the rates differ; it names two of the files.
    """

    def __init__(
        self, items: Sequence[Recording], unreadable: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._items, self.unreadable = tuple(items), tuple(unreadable)
        for item in self._items:
            if item.samplerate != self._items[0].samplerate:
                one, other = self._items[0], item
                raise ValueError(
                    f"{one.path} has {one.samplerate} Hz, {other.path} has {other.samplerate} Hz; "
                    f"all recordings must share one rate: give --samplerate to resample them"
                )

    @property
    def samplerate(self) -> int:
        """Rate of all, in Hz."""
        return self._items[0].samplerate

    @cached_property
    def n_samples(self) -> Indices:
        """Length of each, in samples at `samplerate`."""
        return np.array([item.n_samples for item in self._items], np.int64)

    @property
    def seconds(self) -> float:
        """Length of all together."""
        return float(self.n_samples.sum()) / self.samplerate

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Recording: ...

    @overload
    def __getitem__(self, index: slice) -> Recordings: ...

    def __getitem__(self, index: int | slice) -> Recording | Recordings:
        if isinstance(index, slice):
            return Recordings(self._items[index])
        return self._items[index]


def scan(
    sources: PathLike | Iterable[PathLike],
    *,
    channel: int | Literal["mix"] = 0,
    samplerate: int | None = None,
) -> Recordings:
    """Find the recordings at the sources; only their headers are read.

    Parameters
    ----------
    sources : path or iterable of paths
        Each a file, a folder (searched recursively, in order of name), a
        glob, or a manifest: a CSV file with a column ``path``, relative to
        where the manifest is.
    channel : int or "mix"
        The channel to use, counted from 0, or the mean of all.
    samplerate : int, optional
        Rate in Hz to resample to; for ``.npy`` files, the rate they have.

    Returns
    -------
    Recordings
        With the files that cannot be read in ``unreadable``.

    Raises
    ------
    FileNotFoundError
        If a source does not exist, or nothing fits a glob.
    ValueError
        If there is no audio, none of it is readable, a file has no such
        channel or is named twice, or the rates differ and `samplerate` is not
        given.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    paths = [path for source in sources for path in _expand(os.fspath(source))]
    if not paths:
        raise ValueError("no source is given; give a file, a folder, a glob or a manifest CSV")
    path, count = Counter(map(os.path.realpath, paths)).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{path} is among the sources {count} times; name each file once")
    check_request(channel, samplerate)

    def examine(path: str) -> Recording | tuple[str, str]:
        try:
            path.encode()
            status = os.stat(path)
            if not S_ISREG(status.st_mode):
                return path, "it is not a file"
            header = probe(Path(path), samplerate)
        except UnicodeEncodeError:
            return path, "its name is not UTF-8"
        except OSError as error:
            return path, error.strerror or str(error)
        if channel != "mix" and channel >= header.channels:
            allowed = "0" if header.channels == 1 else f"0 to {header.channels - 1}"
            raise ValueError(
                f"channel {channel} was asked for, but {path} has {header.channels}; give "
                f"--channel {allowed}, or mix"
            )
        rate = samplerate or header.samplerate
        size, modified = status.st_size, status.st_mtime_ns
        return Recording(path, header, channel, rate, size, modified, os.path.abspath(path))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(examine, paths))
    good = [item for item in found if isinstance(item, Recording)]
    bad = [item for item in found if not isinstance(item, Recording)]
    if not good:
        path, reason = bad[0]
        raise ValueError(
            f"none of the files found, {len(bad)} in all, can be read as audio ({path}: {reason}); "
            f"give others"
        )
    return Recordings(good, bad)


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


def _expand(source: str) -> list[str]:
    """The files that a source names."""
    path = Path(source)
    if source and path.is_dir():
        found = sorted(_search(path))
        if not found:
            raise ValueError(f"{source} is a folder with no audio in it; give one that has some")
        return found
    if source and path.exists():
        if not path.is_file():
            raise ValueError(f"{source} is neither a file nor a folder; give one")
        return _read_manifest(path) if path.suffix.lower() == ".csv" else [source]
    if glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))
        matches = [
            match
            for match in matches
            if not any(map(_is_store, [Path(match), *Path(match).parents]))
            and not match.endswith("-lbl.npy")
        ]
        if not matches:
            raise FileNotFoundError(f"nothing fits the glob {source}; give another")
        return [file for match in matches for file in _expand(match)]
    raise FileNotFoundError(
        f"{source or 'an empty path'} does not exist; give a file, a folder, a glob or a manifest"
    )


def _search(folder: Path) -> Iterator[str]:
    """Audio files below a folder; stores of features are not looked into."""
    known = suffixes()
    for where, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not _is_store(Path(where, name))
        ]
        for name in files:
            path = Path(where, name)
            audio = path.suffix.lower() in known and not name.startswith(".")
            if audio and not name.endswith("-lbl.npy") and not _is_store(path):
                yield str(path)


def _is_store(path: Path) -> bool:
    return path.suffix in (".zarr", ".parts") or Path(f"{path}.parts").is_dir()


def _read_manifest(path: Path) -> list[str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row] or [
                []
            ]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a CSV file ({error}); give one with a column path"
        ) from None
    columns = [name.lower() for name in header]
    if "path" not in columns:
        given = ", ".join(header) or "nothing"
        raise ValueError(f"{path} is no manifest: it has {given}, but no column 'path'; add one")
    column = columns.index("path")
    paths = [row[column] if column < len(row) else "" for row in rows]
    if not paths or "" in paths:
        where = f"in row {paths.index('') + 1}" if paths else "at all"
        raise ValueError(f"{path} names no path {where}; name one in each row")
    return [os.path.join(path.parent, name) for name in paths]
