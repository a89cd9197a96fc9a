"""The log: lines that are added one by one, to a file or an object, each in place at once."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.paths import AnyPath, ChangedError, RemotePath, Version, open_whole

# An object is put anew for each line, so it must not grow without end.
OBJECT_LINES = 256


def log_names(folder: AnyPath) -> list[str]:
    """What the logs of a folder are called, in the order in which they were begun."""
    if isinstance(folder, RemotePath):
        names = [name for name, _ in folder.walk()]
    else:
        names = os.listdir(folder) if folder.is_dir() else []
    return sorted(filter(_is_log, names))


def log_sizes(folder: AnyPath) -> dict[str, int]:
    """How many bytes each log of a folder has."""
    if isinstance(folder, RemotePath):
        return {name: size for name, size in folder.walk() if _is_log(name)}
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as found:
        return {entry.name: os.stat(entry.path).st_size for entry in found if _is_log(entry.name)}


def _is_log(name: str) -> bool:
    return name.endswith(".jsonl")


def read_log(folder: AnyPath, name: str) -> Iterator[bytes]:
    """The lines of a log."""
    with open_whole(folder / name) as log:
        yield from log


def _next_name(folder: AnyPath) -> str:
    """The name of a log that is read after all that are there."""
    numbers = (int(name[:6]) for name in log_names(folder) if name[:6].isdigit())
    return f"{1 + max(numbers, default=0):06d}-{socket.gethostname()}-{os.getpid()}.jsonl"


class FileLog:
    """What one run adds to a folder of logs: a file, to which lines are appended."""

    def __init__(self, folder: Path) -> None:
        while True:
            self._file = folder / _next_name(folder)
            with suppress(FileExistsError):  # of a process of the same name, on another host
                self._file.touch(exist_ok=False)
                return

    def add(self, line: bytes) -> None:
        """Add a line, which is in place when this returns; an OSError if the log is gone."""
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND)
        before, rest = os.fstat(handle).st_size, memoryview(line)
        try:
            while rest:
                rest = rest[os.write(handle, rest) :]
        except OSError:
            os.ftruncate(handle, before)  # half a line says nothing
            raise
        finally:
            os.close(handle)


class ObjectLog:
    """What one run adds to a bucket: objects, each replaced by one with a line more."""

    def __init__(self, folder: RemotePath) -> None:
        self._folder = folder
        self._begin()

    def _begin(self) -> None:
        self._lines: list[bytes] = []
        self._version: Version | None = None
        self._object = self._folder / _next_name(self._folder)

    def add(self, line: bytes) -> None:
        if len(self._lines) == OBJECT_LINES:
            self._begin()
        data = b"".join([*self._lines, line])
        while True:
            try:
                self._version = self._object.replace(data, self._version)
                break
            except ChangedError as error:
                if self._version is not None:
                    raise OSError(f"{self._object} was changed, or removed, by another") from error
                self._begin()  # a process of the same name, on another host, has begun it
        self._lines.append(line)


Log = FileLog | ObjectLog


def new_log(folder: AnyPath) -> Log:
    """A log that no other run writes to, read after all that are there."""
    return ObjectLog(folder) if isinstance(folder, RemotePath) else FileLog(folder)
