"""The record of a job: what it is to do, and which regions of it are done.

A folder of plain text. ``job.json`` says what the job is, ``inputs.jsonl`` which
files it reads. Every run adds a file to ``log``, with a line for each region,
written after the region's data is in place; a line has a checksum of its own,
and what is said later holds. ``finished`` is there when nothing is left to do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

import google_crc32c
import numpy as np
import numpy.typing as npt

from pipeline.files import StoredFile, put_lines
from pipeline.log import Log, new_log, read_logs
from pipeline.remote import AnyPath
from pipeline.remote_file import open_binary

__all__ = [
    "Done",
    "Entry",
    "Failed",
    "Forgotten",
    "Made",
    "Record",
    "Standing",
    "Unreadable",
    "digest_lines",
    "fingerprint",
]


Unreadable = tuple[int, int, str, str]


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
    """

    kind: ClassVar[str] = "done"
    region: int
    files: tuple[StoredFile, ...]
    unreadable: tuple[Unreadable, ...] = ()
    seconds: float = 0.0
    worker: str = field(default_factory=_here)


@dataclass(frozen=True)
class Failed:
    """A region was tried so often, and could not be stored."""

    kind: ClassVar[str] = "failed"
    region: int
    reason: str
    attempts: int
    trace: str = ""


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


Entry = Done | Failed | Made | Forgotten
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
    """

    done: npt.NDArray[np.bool_]
    unreadable: dict[int, tuple[Unreadable, ...]] = field(default_factory=dict)
    failed: dict[int, Failed] = field(default_factory=dict)
    made: tuple[StoredFile, ...] | None = None

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
            self.made = None if entry.made else self.made
        elif isinstance(entry, Failed):
            self.failed[entry.region] = entry
            self.done[entry.region] = False  # one that was stored before may be gone
        else:
            self.done[entry.region] = holds
            self.failed.pop(entry.region, None)
            self.unreadable.pop(entry.region, None)
            if entry.unreadable:
                self.unreadable[entry.region] = entry.unreadable

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
            Path, size and modification time of each file.
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
        status = self._job.stat()
        return status.st_ino, status.st_mtime_ns

    def inputs(self) -> Iterator[list[Any]]:
        """Path, size and modification time of each file."""
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
        values = {"kind": entry.kind, "time": round(time.time(), 3), **_plain(entry)}
        self._log.add(_checked(values))

    def entries(self) -> Iterator[Entry | None]:
        """All that was recorded, in order; None for a line that is damaged."""
        return map(_parse, read_logs(self._logs))

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
            elif entry is not None:  # a damaged line is no line: its region is done again
                standing.add(entry)
        return standing

    def finish(self) -> None:
        """Record that nothing is left to do."""
        self._finished.touch()

    def reopen(self) -> None:
        """Record that something is left to do after all."""
        self._finished.unlink(missing_ok=True)

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self._finished.exists()


def _plain(entry: Entry) -> dict[str, Any]:
    values = {item.name: getattr(entry, item.name) for item in dataclasses.fields(entry)}
    if "files" in values:
        values["files"] = [(file.name, file.size, file.crc32c) for file in values["files"]]
    return values


PREFIX = len('{"check":"01234567",')


def _checked(values: dict[str, Any]) -> bytes:
    """A line of JSON that begins with the checksum of the rest of it."""
    rest = _line(values)[1:]
    return b'{"check":"%08x",' % google_crc32c.value(rest[:-1]) + rest


def _parse(line: bytes) -> Entry | None:
    rest = line[PREFIX:].rstrip(b"\n")
    if line[:PREFIX] != b'{"check":"%08x",' % google_crc32c.value(rest):
        return None
    values = json.loads(b"{" + rest)
    kind = KINDS[values.pop("kind")]
    del values["time"]
    if "files" in values:
        values["files"] = tuple(StoredFile(*file) for file in values["files"])
    if "unreadable" in values:
        values["unreadable"] = tuple(map(tuple, values["unreadable"]))
    if "regions" in values:
        values["regions"] = tuple(values["regions"])
    return kind(**values)
