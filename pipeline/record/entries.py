"""Entries: what one line of the log says, and how it is written as JSON."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from pipeline.paths import StoredFile

Unreadable = tuple[int, int, str, str]  # first window, the one after the last, path, reason
STORED_AS = {"common": "made"}  # fields that JSON has under another name
# What tuples are of, in fields that JSON has as lists.
ELEMENTS: dict[str, Any] = {
    "files": StoredFile._make,
    "attached": StoredFile._make,
    "unreadable": tuple,
    "regions": int,
}


@dataclass(frozen=True)
class Done:
    """A region is stored."""

    kind: ClassVar[str] = "done"
    region: int
    files: tuple[StoredFile, ...]
    unreadable: tuple[Unreadable, ...] = ()  # a run of windows of one recording each
    seconds: float = 0.0
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    numerics: str = ""  # the numerics class of the worker
    boot: str = ""  # since when its host runs; empty if the files were flushed to the disk
    clipped: int = 0  # values that were beyond the limits of its codes
    time: float = field(default=0.0, compare=False)  # in seconds since 1970

    @property
    def host(self) -> str:
        """Where it was computed."""
        return self.worker.rpartition(":")[0]


@dataclass(frozen=True)
class Failed:
    """A region was tried as often as allowed, and could not be stored."""

    kind: ClassVar[str] = "failed"
    region: int
    reason: str
    attempts: int
    trace: str = ""
    time: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class CommonFiles:
    """The files of the store that belong to no region: metadata and small arrays."""

    kind: ClassVar[str] = "made"
    files: tuple[StoredFile, ...]


@dataclass(frozen=True)
class Invalidated:
    """What was recorded of these regions, and perhaps of the common files, no longer holds."""

    kind: ClassVar[str] = "forgotten"
    regions: tuple[int, ...]
    common: bool = False


@dataclass(frozen=True)
class Other:
    """A line of a kind that only a later version knows."""

    kind: str


Entry = Done | Failed | CommonFiles | Invalidated | Other
KINDS: dict[str, type[Entry]] = {
    kind.kind: kind for kind in (Done, Failed, CommonFiles, Invalidated)
}


@dataclass(frozen=True)
class Finished:
    """What a reader needs to know of a store of which nothing is left to do."""

    format: int
    fingerprint: str  # of the job
    files: tuple[StoredFile, ...]  # the common ones
    numerics: dict[str, int]  # how many windows each numerics class has computed
    attached: tuple[StoredFile, ...] = ()  # the common ones once variables are attached
    clipped: int = 0  # values that were beyond the limits of its codes


def entry_of(values: Mapping[str, Any]) -> Entry:
    """The entry that a line's values say."""
    kind = KINDS.get(values["kind"])
    return Other(values["kind"]) if kind is None else kind(**known(kind, values))


def to_json(entry: Entry | Finished) -> dict[str, Any]:
    """The fields of an entry as plain values."""
    return {STORED_AS.get(name, name): value for name, value in vars(entry).items()}


def known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the fields that are known here, as they were before `to_json`."""
    stored = {item.name: STORED_AS.get(item.name, item.name) for item in fields(kind)}
    known = {name: values[key] for name, key in stored.items() if key in values}
    for name in ELEMENTS.keys() & known:
        known[name] = tuple(map(ELEMENTS[name], known[name]))
    return known
