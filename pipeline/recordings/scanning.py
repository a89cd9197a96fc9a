"""Scanning: from sources to recordings, by the headers of the files that are found."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TypeVar

import numpy as np

from pipeline.audio import Channel, check_channel, check_samplerate, probe, time_texts
from pipeline.grid import Indices
from pipeline.paths import as_path, is_remote
from pipeline.recordings.file_names import FileNames, Paths
from pipeline.recordings.folders import why_unsearched
from pipeline.recordings.recording import Recording
from pipeline.recordings.recordings import COLUMNS, Recordings, absolute, as_row
from pipeline.recordings.sources import PathLike, find_files
from pipeline.recordings.starts import NAT, Said, no_stamps, stamp_row
from pipeline.recordings.times import parse_metadata
from pipeline.steps import unseen

T = TypeVar("T")
THREADS, FILES_A_TASK = 8, 64  # at most; to open files is mostly to wait
# No header that is true says more; up to here lengths fit in 64 bits, the rest in 32.
MOST_SAMPLES, MOST_OTHERWISE = 2**60, 10**9


def scan(
    sources: PathLike | Iterable[PathLike],
    *,
    channel: Channel = 0,
    samplerate: int | None = None,
    progress: Callable[[int, int], None] = unseen,
    listing: Callable[[int], None] = unseen,
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
    listing : callable
        Called, before that, with the number of names that folders, globs and
        buckets have shown so far.

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
    paths, passed_over, given = find_files(sources, listing)
    folder = os.getcwd()
    examine = partial(_examine, check_channel(channel), check_samplerate(samplerate), folder)
    columns, keys = np.empty(len(paths), COLUMNS), np.empty(len(paths), np.int64)
    readable, unreadable = np.ones(len(paths), np.bool_), []
    metadata, expanded = no_stamps(len(paths)), 0
    for i, (found, keys[i], texts) in enumerate(_map_in_threads(examine, paths)):
        if isinstance(found, Recording):
            columns[i] = as_row(found)
            metadata[i] = stamp_row(parse_metadata(texts))
            expanded += texts.get("expansion", "1") not in ("0", "1")
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
    recordings = Recordings.of_columns(columns, paths, folder)
    recordings.unreadable, recordings.passed_over = tuple(unreadable), passed_over
    recordings.said = Said(
        None if given is None else given[readable],
        metadata[readable] if (metadata["clock"] != NAT).any() else None,
        expanded,
    )
    recordings.check_rates()
    return recordings


def _examine(
    channel: Channel, samplerate: int | None, folder: str, path: str
) -> tuple[Recording | str, int, dict[str, str]]:
    """A recording, or why it is none; a number that is the same for the same file; its metadata."""
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
            return why_unsearched(path), key, {}
        if not S_ISREG(status.st_mode):
            return "it is not a file", key, {}
        header = probe(as_path(path), samplerate)
    except UnicodeEncodeError:
        return "its name is not UTF-8", key, {}
    except OSError as error:
        return error.strerror or str(error), key, {}
    if channel != "mix" and channel >= header.channels:
        allowed = "0" if header.channels == 1 else f"0 to {header.channels - 1}"
        raise ValueError(
            f"channel {channel} was asked for, but {path} has {header.channels}; pass "
            f"--channel {allowed}, or mix"
        )
    rate, location = samplerate or header.samplerate, absolute(folder, path)
    found = Recording(path, header, channel, rate, status.st_size, status.st_mtime_ns, location)
    texts = {} if is_remote(path) else time_texts(Path(path))
    return _why_unbelievable(found) or found, key, texts


def _why_unbelievable(found: Recording) -> str | None:
    samples, channels, rate = found.header.n_samples, found.header.channels, found.header.samplerate
    if max(samples, found.n_samples) <= MOST_SAMPLES and max(rate, channels) <= MOST_OTHERWISE:
        return None
    return f"it claims {samples} samples of {channels} channels at {rate} Hz, which cannot be"


def _map_in_threads(function: Callable[[str], T], paths: Paths) -> Iterator[T]:
    """Results for all paths in their order; only some are asked for ahead."""
    waiting: deque[Future[list[T]]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    step = min(FILES_A_TASK, 1 + len(paths) // FILES_A_TASK)
    try:
        for low in range(0, len(paths), step):
            some = paths[low : low + step]
            waiting.append(pool.submit(lambda some: [function(path) for path in some], some))
            if len(waiting) > 2 * THREADS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_twice(paths: Paths, keys: Indices) -> None:
    """Refuse a file that has several paths; hard links are files of their own."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    suspects = np.flatnonzero(counts[inverse] > 1)
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
