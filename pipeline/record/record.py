"""The record of a job: what it is to do, and which regions of it are done.

A folder of plain text. ``job.json`` says what the job is, ``inputs.jsonl`` which
files it reads. Every run adds a file to ``log``, with a line for each region,
written after the region's data is in place; a line has a checksum of its own,
and what is said later holds. Fields and kinds of lines that are not known here
are passed over, for a later version may have written them. ``finished`` is there
when nothing is left to do, and says what a reader needs to know of the store.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

import google_crc32c
import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.paths import AnyPath, RemotePath, StoredFile, open_binary, put_lines
from pipeline.process import boot
from pipeline.record.log import Log, log_names, new_log, read_log

# Linux writes to the disk what is older than half a minute, and has more to write meanwhile.
UNFLUSHED_SECONDS = 120.0
Unreadable = tuple[int, int, str, str]
Place = tuple[int, int]  # of a line: which of the logs, and which line of it


def _here() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Done:
    """A region is stored.

    Parameters
    ----------
    region : int
        Number of the region.
    files : tuple of StoredFile
        What was stored for it.
    unreadable : tuple of (int, int, str, str)
        First window, the one after the last, path and reason, for each run of
        windows of one recording whose audio could not be read.
    seconds : float
        How long that took.
    worker : str
        Host and process that did it.
    numerics : str
        The numerics class of that process.
    boot : str
        Of that host, since when it runs, if a loss of power may have cost the
        files; empty if they were flushed to the disk.
    time : float
        When it was recorded, in seconds since 1970.
    """

    kind: ClassVar[str] = "done"
    region: int
    files: tuple[StoredFile, ...]
    unreadable: tuple[Unreadable, ...] = ()
    seconds: float = 0.0
    worker: str = field(default_factory=_here)
    numerics: str = ""
    boot: str = ""
    time: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Failed:
    """A region was tried so often, and could not be stored."""

    kind: ClassVar[str] = "failed"
    region: int
    reason: str
    attempts: int
    trace: str = ""
    time: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Made:
    """The files of the store that are of no region."""

    kind: ClassVar[str] = "made"
    files: tuple[StoredFile, ...]


@dataclass(frozen=True)
class Forgotten:
    """What was recorded of these regions, and of the files of none, no longer holds."""

    kind: ClassVar[str] = "forgotten"
    regions: tuple[int, ...]
    made: bool = False


@dataclass(frozen=True)
class Other:
    """A line of a kind that only a later version knows."""

    kind: str


Entry = Done | Failed | Made | Forgotten | Other
KINDS: dict[str, type[Entry]] = {kind.kind: kind for kind in (Done, Failed, Made, Forgotten)}


@dataclass
class Standing:
    """What the record says, all lines taken together.

    Attributes
    ----------
    done : numpy.ndarray of bool, shape (region,)
        The regions that are stored.
    unreadable : dict of int to tuple
        By region, the windows that could not be read, where there are any.
    failed : dict of int to Failed
        The regions that were given up.
    made : tuple of StoredFile or None
        The files of no region, if they are as they were made.
    classes : list of str
        The numerics classes that computed the regions.
    damaged_lines : int
        How many lines say nothing any more; what they said is not in the rest.
    """

    done: npt.NDArray[np.bool_]
    unreadable: dict[int, tuple[Unreadable, ...]] = field(default_factory=dict)
    failed: dict[int, Failed] = field(default_factory=dict)
    made: tuple[StoredFile, ...] | None = None
    classes: list[str] = field(default_factory=list)
    damaged_lines: int = 0

    def __post_init__(self) -> None:
        self._class_of = np.zeros(len(self.done), np.int16)
        self._times = np.zeros(len(self.done))

    @classmethod
    def of(cls, n_regions: int) -> Standing:
        """Of a job of which nothing is recorded yet."""
        return cls(np.zeros(n_regions, np.bool_))

    def add(self, entry: Entry, holds: bool = True) -> None:
        """Take in the next entry; `holds` is false if its files are no longer there."""
        if isinstance(entry, Made):
            self.made = entry.files if holds else None
        elif isinstance(entry, Forgotten):
            self.done[list(entry.regions)] = False
            for region in entry.regions:
                self.unreadable.pop(region, None)
            self.made = None if entry.made else self.made
        elif isinstance(entry, Failed):
            self._add_failed(entry)
        elif isinstance(entry, Done):
            self._add_done(entry, holds)

    def _add_failed(self, entry: Failed) -> None:
        # Logs are read one after the other, also those of shares that overlapped: what
        # was stored later than this is stored. What was stored before may be gone.
        if self.done[entry.region] and self._times[entry.region] > entry.time:
            return
        self.failed[entry.region] = entry
        self.done[entry.region] = False

    def _add_done(self, entry: Done, holds: bool) -> None:
        region = entry.region
        self.done[region], self._times[region] = holds, entry.time
        self.failed.pop(region, None)
        self.unreadable.pop(region, None)
        if entry.unreadable:
            self.unreadable[region] = entry.unreadable
        if entry.numerics not in self.classes:
            self.classes.append(entry.numerics)
        self._class_of[region] = self.classes.index(entry.numerics)

    def windows_by_class(self, layout: Layout) -> dict[str, int]:
        """How many windows that are stored each numerics class has computed."""
        counts = {
            name: layout.length_of(self.done & (self._class_of == i))
            for i, name in enumerate(self.classes)
        }
        return {name: count for name, count in counts.items() if count}

    def masked(self) -> Iterator[Unreadable]:
        """Runs of windows that could not be read, each as long as it can be, in order."""
        last: Unreadable | None = None
        for run in sorted(chain(*self.unreadable.values())):
            if last is not None and (last[1], last[2]) == (run[0], run[2]):
                last = (last[0], run[1], *last[2:])
                continue
            if last is not None:
                yield last
            last = run
        if last is not None:
            yield last


@dataclass(frozen=True)
class Finished:
    """What a reader needs to know of a store of which nothing is left to do.

    Parameters
    ----------
    format : int
        Of the store.
    fingerprint : str
        Of the job.
    files : tuple of StoredFile
        Those of no region.
    numerics : dict of str to int
        How many windows each numerics class has computed.
    """

    format: int
    fingerprint: str
    files: tuple[StoredFile, ...]
    numerics: dict[str, int]


def fingerprint(identity: Any) -> str:
    """SHA-256 of the canonical JSON of plain values, in hexadecimal."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_lines(values: Iterable[Any]) -> str:
    """SHA-256 of the values as lines of JSON, which are never held all at once."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(_line(value))
    return digest.hexdigest()


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class Record:
    """The record in a folder.

    Parameters
    ----------
    folder : path
        Made by `begin`; need not exist before.
    """

    def __init__(self, folder: AnyPath) -> None:
        self.folder = folder
        self._job, self._inputs = folder / "job.json", folder / "inputs.jsonl"
        self._logs, self._finished = folder / "log", folder / "finished"
        self._log: Log | None = None

    def begin(
        self, identity: dict[str, Any], more: dict[str, Any], inputs: Iterable[list[Any]]
    ) -> None:
        """Write what the job is, before anything of it is done.

        Parameters
        ----------
        identity : dict
            What determines the stored bytes; its digest is the fingerprint.
        more : dict
            What else is to be known of the job.
        inputs : iterable of list
            Of each file its path, by what it is known again, and what its header said.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        put_lines(self._inputs, map(_line, inputs))
        job = {"fingerprint": fingerprint(identity), "identity": identity, **more}
        job["check"] = fingerprint(job)
        put_lines(self._job, [json.dumps(job, indent=1).encode()])

    def begun(self) -> bool:
        """Whether there is a record here, be it damaged."""
        return self._logs.is_dir()

    def job(self) -> dict[str, Any]:
        """What `begin` was given, with the fingerprint.

        Raises
        ------
        FileNotFoundError
            If no job began here.
        ValueError
            If what is here is damaged.
        """
        try:
            job: dict[str, Any] = json.loads(self._job.read_text())
            if job.pop("check") == fingerprint(job):
                return job
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise ValueError(
            f"{self._job} is damaged; give the command of the job again, which mends it"
        )

    def stamp(self) -> tuple[int, int]:
        """What changes when another job begins here.

        Raises
        ------
        FileNotFoundError
            If no job began here.
        """
        if isinstance(self._job, RemotePath):
            found = self._job.stat()
            return found.st_ino, found.st_mtime_ns
        # NFS remembers what a file is until it is opened; which it cannot be where parts of
        # a store take all the files that a process may open.
        with suppress(OSError), open(self._job, "rb"):
            pass
        status = self._job.stat()
        return status.st_ino, status.st_mtime_ns

    def inputs(self) -> Iterator[list[Any]]:
        """What `begin` was given of each file."""
        with open_binary(self._inputs) as file:
            for line in file:
                yield json.loads(line)

    def damaged(self) -> list[AnyPath]:
        """Which of its own files are damaged, as far as lines of the log do not say."""
        found: list[AnyPath] = []
        try:
            job = self.job()
        except (OSError, ValueError, KeyError):
            return [self._job]
        try:
            self.read_finished()
        except ValueError:
            found.append(self._finished)
        try:
            with open_binary(self._inputs) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != job["identity"]["inputs"]:
                    found.append(self._inputs)
        except OSError:
            found.append(self._inputs)
        return found

    def add(self, entry: Entry) -> None:
        """Record something: one line, written at once.

        Raises
        ------
        OSError
            If it cannot be written, or the record is no longer there.
        """
        if self._log is None:
            self._log = new_log(self._logs)
        values = {"kind": entry.kind, **_plain(entry), "time": round(time.time(), 3)}
        self._log.add(_with_checksum(values))

    def logs(self) -> list[str]:
        """What its logs are called, in the order in which they were begun."""
        return log_names(self._logs)

    def log(self, name: str) -> AnyPath:
        """Where a log is."""
        return self._logs / name

    def files(self) -> Iterator[AnyPath]:
        """Where its own files are."""
        yield from (self._job, self._inputs, self._finished)
        yield from map(self.log, self.logs())

    def lines(self, logs: Iterable[str] | None = None) -> Iterator[tuple[Place, Entry | None]]:
        """All that was recorded, in order, each with its place; None of a damaged line."""
        for i, name in enumerate(self.logs() if logs is None else logs):
            for j, line in enumerate(read_log(self._logs, name)):
                if line != b"\n":
                    yield (i, j), _parse(line)

    def entries(self) -> Iterator[Entry | None]:
        """All that was recorded, in order; None for a line that is damaged."""
        return (entry for _, entry in self.lines())

    def made(self) -> Made | None:
        """The files of no region, as they were last made; None if they no longer hold."""
        found: Made | None = None
        for entry in self.entries():
            if isinstance(entry, Made):
                found = entry
            elif isinstance(entry, Forgotten) and entry.made:
                found = None
        return found

    def drop_damaged_lines(self) -> None:
        """Leave out what says nothing any more; for who has the store for itself."""
        for name in self.logs():
            lines = [*read_log(self._logs, name)]
            whole = [line for line in lines if line == b"\n" or _parse(line) is not None]
            if len(whole) < len(lines):
                put_lines(self._logs / name, whole)

    def standing(
        self, n_regions: int, in_place: Callable[[Done | Made], bool] | None = None
    ) -> Standing:
        """What all lines together say.

        Parameters
        ----------
        n_regions : int
            Regions of the job.
        in_place : callable, optional
            Says whether the files of an entry are still there; else it is not done.
        """
        standing = Standing.of(n_regions)
        for entry in self.entries():
            if isinstance(entry, Done | Made):
                standing.add(entry, in_place is None or in_place(entry))
            elif entry is not None:
                standing.add(entry)
            else:  # a damaged line is no line: its region is done again
                standing.damaged_lines += 1
        return standing

    def finish(self, finished: Finished) -> None:
        """Record that nothing is left to do."""
        put_lines(self._finished, [_with_checksum(_plain(finished))])

    def read_finished(self) -> Finished | None:
        """What `finish` was given; None if something is left to do.

        Raises
        ------
        ValueError
            If what is here is damaged, or was written by another version.
        """
        try:
            values = _values(self._finished.read_bytes())
        except FileNotFoundError:
            return None
        if values is None:
            raise ValueError(
                f"{self._finished} is damaged, or another version of this package wrote it; verify "
                f"--repair and extract again write it anew"
            )
        return Finished(**_known(Finished, values))

    def reopen(self) -> None:
        """Record that something is left to do after all."""
        self._finished.unlink(missing_ok=True)

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self._finished.exists()


def power_lost(record: Record) -> Callable[[Done], bool]:
    """Tells which regions a loss of power may have cost what was recorded of them.

    Those that this host had stored when it was last seen before it was started anew, and
    not flushed. The system writes what is older to the disk by itself.
    """
    host, now = socket.gethostname(), boot()
    last: dict[str, float] = {}
    for entry in record.entries():
        if isinstance(entry, Done) and entry.boot not in ("", now):
            last[entry.boot] = max(last.get(entry.boot, 0.0), entry.time)

    def doubtful(entry: Done) -> bool:
        ours = entry.worker.rpartition(":")[0] == host
        return ours and entry.time > last.get(entry.boot, math.inf) - UNFLUSHED_SECONDS

    return doubtful


class SameJob:
    """Tells whether a store is still that of a job, and was not overwritten meanwhile.

    Parameters
    ----------
    record : Record
        Of the store.
    fingerprint : str
        Of the job.
    """

    def __init__(self, record: Record, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._record, self._stamp = record, (0, 0)

    def check(self) -> None:
        """Refuse to go on with the store of another job.

        Raises
        ------
        OSError
            If the store is gone, or another's.
        """
        stamp = self._record.stamp()
        if stamp == self._stamp:
            return
        try:
            theirs = self._record.job()["fingerprint"]
        except ValueError as error:
            raise OSError(errno.EIO, str(error)) from error
        if theirs != self.fingerprint:
            raise FileNotFoundError(errno.ENOENT, "another job has taken its place")
        self._stamp = stamp


def _plain(entry: Entry | Finished) -> dict[str, Any]:
    values = {item.name: getattr(entry, item.name) for item in dataclasses.fields(entry)}
    if "files" in values:
        values["files"] = [(file.name, file.size, file.crc32c) for file in values["files"]]
    return values


PREFIX = len('{"check":"01234567",')


def _with_checksum(values: dict[str, Any]) -> bytes:
    """A line of JSON that begins with the checksum of the rest of it."""
    rest = _line(values)[1:]
    return b'{"check":"%08x",' % google_crc32c.value(rest[:-1]) + rest


def _values(line: bytes) -> dict[str, Any] | None:
    """What such a line says; None if it is damaged."""
    rest = line[PREFIX:-1]
    if line[-1:] != b"\n" or line[:PREFIX] != b'{"check":"%08x",' % google_crc32c.value(rest):
        return None
    values: dict[str, Any] = json.loads(b"{" + rest)
    return values


def _parse(line: bytes) -> Entry | None:
    values = _values(line)
    if values is None:
        return None
    kind = KINDS.get(values["kind"])
    return Other(values["kind"]) if kind is None else kind(**_known(kind, values))


def _known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values of the fields that are known here, as they were before they became JSON."""
    names = {item.name for item in dataclasses.fields(kind)}
    known = {name: value for name, value in values.items() if name in names}
    if "files" in known:
        known["files"] = tuple(StoredFile(*file) for file in known["files"])
    if "unreadable" in known:
        known["unreadable"] = tuple(map(tuple, known["unreadable"]))
    if "regions" in known:
        known["regions"] = tuple(known["regions"])
    return known
