"""Blocks: windows of recordings, read into one array."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from pipeline.audio import Samples
from pipeline.grid import Indices, WindowGrid
from pipeline.recordings.open_files import OpenFiles
from pipeline.recordings.recording import OpenRecording, Recording
from pipeline.recordings.recordings import Recordings


def read_windows(
    recordings: Recordings, grid: WindowGrid, before: int = 0, after: int = 0
) -> Samples:
    """Read windows into rows of float32, shape (window, sample); each file is opened once.

    Each row begins `before` samples before its window and ends `after` samples behind it;
    zeros stand where there is no recording. A row of which a sample is damaged is all NaN;
    an OSError says that a file is gone or has changed, or the system cannot read it.
    """
    hop = grid.hop_samples
    block = np.zeros((len(grid), before + grid.window_samples + after), np.float32)
    row = 0
    for number, start, count in grid.runs():
        recording = recordings[number]
        rows = block[row : row + count]
        row += count
        if recording.lost:
            rows[...] = np.nan
            continue
        _read_run(recording, start - before, hop, rows)
        if not np.isfinite(rows).all():
            _read_again(recording, start - before, hop, rows)
            rows[~np.isfinite(rows).all(axis=1)] = np.nan
    return block


def read_shared(
    recordings: Recordings, grid: WindowGrid, before: int, after: int
) -> Samples | None:
    """The same rows as views of the samples that they share, which cannot be written to.

    Of windows of one recording; None where they share nothing, or a sample is damaged.
    """
    length, hop = before + grid.window_samples + after, grid.hop_samples
    ((number, start, count),) = grid.runs()
    if hop >= length or recordings[number].lost:
        return None
    samples = np.zeros(length + (count - 1) * hop, np.float32)
    _read_run(recordings[number], start - before, len(samples), samples[None])
    if not np.isfinite(samples).all():
        return None
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]


def read_scattered(files: OpenFiles, numbers: Indices, firsts: Indices, length: int) -> Samples:
    """Rows of so many samples, each from a recording and a first sample of it, in any order.

    What comes is as from `read_windows`. Each file is read forwards, and what touches in it at
    once.
    """
    block = np.zeros((len(numbers), length), np.float32)
    order = np.lexsort((firsts, numbers))
    edges = np.flatnonzero(np.diff(numbers[order], prepend=-1, append=-1)).tolist()
    for low, high in pairwise(edges):
        rows = order[low:high].tolist()
        number = int(numbers[rows[0]])
        with files.open(number) as audio:
            if audio is None:
                block[rows] = np.nan
                continue
            bad = _read_rows(audio, firsts, rows, block)
        if bad:
            files.forget(number)
        for row in bad:
            one = block[row : row + 1]
            _read_again(audio.recording, int(firsts[row]), length, one)
            if not np.isfinite(one).all():
                one[...] = np.nan
    return block


def _read_rows(audio: OpenRecording, firsts: Indices, rows: list[int], block: Samples) -> list[int]:
    """Read rows of one recording, in the order of their first samples; which are not finite."""
    last = audio.recording.n_samples - block.shape[1]
    whole = [row for row in rows if 0 <= firsts[row] <= last]
    samples = audio.read_apart(firsts[whole].tolist(), block.shape[1])
    if samples is None:
        return _read_touching(audio, firsts, rows, block)
    block[whole] = samples
    bad = np.flatnonzero(np.isnan(samples[:, -1])).tolist()
    cut = [row for row in rows if not 0 <= firsts[row] <= last]
    return [whole[i] for i in bad] + _read_touching(audio, firsts, cut, block)


def _read_touching(
    audio: OpenRecording, firsts: Indices, rows: list[int], block: Samples
) -> list[int]:
    """As `_read_rows`, and what touches is read at once."""
    length, end, bad = block.shape[1], audio.recording.n_samples, list[int]()
    for some in _touching(rows, firsts, length):
        base = max(0, int(firsts[some[0]]))
        samples = audio.read(base, min(end, int(firsts[some[-1]]) + length))
        finite = np.isfinite(samples).all()
        for row in some:
            first = int(firsts[row])
            low = max(0, first)
            piece = samples[low - base : first + length - base]
            block[row, low - first : low - first + len(piece)] = piece
            if not (finite or np.isfinite(piece).all()):
                bad.append(row)
    return bad


def _touching(rows: list[int], firsts: Indices, length: int) -> Iterator[list[int]]:
    """Rows each of which begins where the one before it ends, or earlier."""
    some = rows[:1]
    for row in rows[1:]:
        if firsts[row] > firsts[some[-1]] + length:
            yield some
            some = []
        some.append(row)
    if some:
        yield some


def _read_run(recording: Recording, first: int, hop: int, rows: Samples) -> None:
    """Read rows that begin at sample `first`, which may be negative, and each `hop` further on."""
    length, end = rows.shape[1], recording.n_samples
    together = hop <= length
    with recording.open() as audio:
        if together:
            base = max(0, first)
            samples = audio.read(base, min(end, first + (len(rows) - 1) * hop + length))
        for i, row in enumerate(rows):
            start = first + i * hop
            low, high = max(0, start), min(end, start + length)
            piece = samples[low - base : high - base] if together else audio.read(low, high)
            row[low - start : high - start] = piece


def _read_again(recording: Recording, first: int, hop: int, rows: Samples) -> None:
    """Read again what is NaN, now that it is known that the file can be read.

    An error of the disk or the network is raised, or is gone the second time;
    what remains is damage.
    """
    recording.check_bytes()
    bad = ~np.isfinite(rows)
    damaged = np.flatnonzero(bad.any(axis=1))
    if recording.header.seekable:
        for i in damaged:
            # A handle that met damage reads no more; a fresh one may.
            _read_run(recording, first + int(i) * hop, hop, rows[i : i + 1])
    elif first + int(damaged[0]) * hop + int(np.argmax(bad[damaged[0]])) < recording.decodable():
        with ThreadPoolExecutor(1) as fresh:  # for the handle is kept by its thread
            fresh.submit(_read_run, recording, first, hop, rows).result()


def why_unreadable(
    recordings: Recordings, grid: WindowGrid, t: int, before: int = 0, after: int = 0
) -> str:
    """Why `read_windows` gave a window as NaN: the file, the sample, and what is wrong with it.

    An OSError says that it is no damage: the system cannot read the file, it has changed, or
    the window can be read after all.
    """
    number, start, stop = grid[t]
    recording = recordings[number]
    if recording.lost:
        return f"{recording.path}: it is no longer there"
    start, stop = max(0, start - before), min(recording.n_samples, stop + after)
    recording.check_bytes()
    with recording.open() as audio:
        why = audio.why(start, stop)
    if not why:
        raise OSError(f"{recording.path}: samples {start} to {stop - 1} are not always read alike")
    return f"{recording.path}: {why}"
