"""Regions: the unit of work, each computed and stored by one worker."""

import errno
import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.local import get_sync

from pipeline.features import Code, Feature, compute_features, margins_of, other_code
from pipeline.grid import WindowGrid
from pipeline.paths import StoredFile, flush
from pipeline.process import boot, difference, installed_versions, numerics_class, other_numerics
from pipeline.record import Done, Record, SameJob, Unreadable
from pipeline.recordings import Recordings, why_unreadable
from pipeline.store import Encoding, Store
from pipeline.windows import features_of

Array = npt.NDArray[Any]
TRACE = 4000  # characters
# What the system says of a store that no region can be written to.
HOPELESS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.ENOTDIR),
}


@dataclass(frozen=True)
class Task:
    """One region's work, with no more of the job than it needs."""

    region: int
    shard: int
    encoding: Encoding
    store: Store
    fingerprint: str
    recordings: Recordings
    grid: WindowGrid
    feature: Feature
    code: Code
    numerics: str | None = None  # that it must be computed by, if not by any
    flush: bool = False
    versions: dict[str, str] = field(default_factory=installed_versions)


@dataclass(frozen=True)
class Failure:
    """Why a region could not be stored; a value, so that it comes back from any worker."""

    reason: str  # for people
    passing: bool = False  # whether it may go well another time
    fatal: bool = False  # whether no other region can be stored, either
    trace: str = ""  # the traceback of a feature that failed


def run_region(task: Task) -> Done | Failure:
    """Compute and store one region."""
    began = time.monotonic()
    if lack := _lack(task):
        return Failure(f"{socket.gethostname()} {lack}", fatal=True)
    valid = np.zeros(len(task.grid), np.bool_)
    clipped = _Clipped(task.encoding)
    try:
        files = _compute(task, valid, clipped)
        unreadable = tuple(_unreadable(task, valid))
    except OSError as error:
        if error.filename != os.fspath(task.store.path):
            return Failure(_text(error), passing=True)
        fatal = error.errno in HOPELESS
        return Failure(f"{error.filename}: {error.strerror}", passing=not fatal, fatal=fatal)
    except _ElsewhereError as error:
        return Failure(str(error), passing=True)
    except (Exception, SystemExit) as error:  # a feature that exits ends no job
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
        return Failure(f"{type(error).__name__}: {_text(error)} ({where})", trace=_trace(error))
    seconds = round(time.monotonic() - began, 3)
    return Done(
        task.region,
        tuple(files),
        unreadable,
        seconds,
        numerics=numerics_class(),
        boot="" if task.flush else boot(),
        clipped=clipped.count,
    )


def _lack(task: Task) -> str | None:
    """In what this process differs from the client, as one that joined later may."""
    if found := difference(task.versions):
        return f"has {found}; install the same everywhere"
    if task.numerics not in (None, numerics_class()):
        return other_numerics(str(task.numerics))
    if found := other_code(task.feature, task.code):
        return f"has {found}; install the same everywhere"
    return None


def _trace(error: BaseException) -> str:
    """The end of an error's traceback, from the feature on."""
    first = frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_globals["__name__"] == compute_features.__module__:
            first = frame.tb_next or frame
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, first))[-TRACE:]


def _text(error: BaseException) -> str:
    """What an error says; some cannot even do that."""
    try:
        return str(error)
    except Exception as another:
        return f"it says nothing, for {type(another).__name__}"


class _ElsewhereError(Exception):
    """What the system says of anything but the store, while that is written to."""


@contextmanager
def _storing(store: Store) -> Iterator[None]:
    """Name the store in what the operating system says of it."""
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        text = os.strerror(number) if error.errno else str(error)
        raise OSError(number, text, os.fspath(store.path)) from error


class _Clipped:
    """Encodes, and counts the values that were beyond the limits."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding, self.count = encoding, 0

    def encode(self, values: Array, out: Array) -> None:
        self.count += self._encoding.encode(values, out)


def _compute(task: Task, valid: npt.NDArray[np.bool_], clipped: _Clipped) -> list[StoredFile]:
    start, stop = task.grid.offset, task.grid.offset + len(task.grid)

    def note(first: int, could_be_read: npt.NDArray[np.bool_]) -> None:
        valid[first : first + len(could_be_read)] = could_be_read

    features = features_of(
        task.recordings,
        task.grid,
        task.feature,
        block=task.shard,
        dtype=task.encoding.dtype,
        encode=clipped.encode,
        note=note,
    )
    # A store that was removed would be made again in part, and another's be mixed into.
    job = SameJob(Record(task.store.record_folder), task.fingerprint)
    with _storing(task.store):
        job.check()
    with _storing(task.store), task.store.region(start, stop) as region:
        # One graph a block: those of a larger one would be computed in any order,
        # but some formats can only be decoded forwards.
        # `features.blocks[i].compute()` does the same, in 2 ms more a block.
        for i in range(features.numblocks[0]):
            key = (features.name, i, *(0 for _ in task.feature.shape))
            try:
                block = get_sync(features.dask.cull({key}), key)
            except OSError as error:
                raise _ElsewhereError(_text(error)) from error
            job.check()  # computing may take long, and more so if it was stopped
            region.write(start + i * task.shard, block)
            del block  # so that the next may be in its memory
    if task.flush:
        with _storing(task.store):
            flush(task.store.locate(file.name) for file in region.files)
    return region.files


def _unreadable(task: Task, valid: npt.NDArray[np.bool_]) -> Iterator[Unreadable]:
    """Runs of windows of one recording that could not be read, and why."""
    recording, margins = task.grid.locate()[0], margins_of(task.feature, task.grid.samplerate)
    bad = np.flatnonzero(~valid)
    breaks = np.flatnonzero((np.diff(bad) > 1) | (np.diff(recording[bad]) > 0)) + 1
    for run in np.split(bad, breaks):
        if len(run):
            first, last = int(run[0]), int(run[-1])
            path = task.recordings[int(recording[first])].path
            reason = why_unreadable(task.recordings, task.grid, first, *margins)
            reason = reason.removeprefix(f"{path}: ")
            yield task.grid.offset + first, task.grid.offset + last + 1, path, reason
