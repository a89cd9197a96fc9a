"""Additions: what was added to the logs of a record since somebody last looked."""

from collections.abc import Iterator
from io import BytesIO

from pipeline.paths import AnyPath, RemotePath
from pipeline.record.entries import Entry, entry_of
from pipeline.record.lines import parse
from pipeline.record.log import log_sizes


class RewrittenError(Exception):
    """A log has less than was read of it: what it said may no longer hold."""


class Additions:
    """Reads a folder of logs bit by bit: of each only what is new.

    A log only grows, be it a file or an object that is replaced by one with a line more; but a
    job that begins rewrites those with damaged lines, and one that overwrites the store has
    others.
    """

    def __init__(self, folder: AnyPath) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}  # bytes, by name of the log

    def __iter__(self) -> Iterator[Entry | None]:
        """What is new, log by log; None for a line that is damaged."""
        sizes = log_sizes(self._folder)
        for name, before in self._read.items():
            if sizes.get(name, 0) < before:
                raise RewrittenError(self._folder / name)
        for name in sorted(sizes):
            if sizes[name] > self._read.setdefault(name, 0):
                yield from self._of_log(name)

    def _of_log(self, name: str) -> Iterator[Entry | None]:
        for line in _lines_from(self._folder / name, self._read[name]):
            if not line.endswith(b"\n"):  # the rest of it may follow
                return
            self._read[name] += len(line)
            if line != b"\n":
                values = parse(line)
                yield None if values is None else entry_of(values)


def _lines_from(log: AnyPath, start: int) -> Iterator[bytes]:
    """The lines of a log behind a byte."""
    if isinstance(log, RemotePath):
        data, _ = log.read_part(start, None)
        yield from BytesIO(data)
        return
    with open(log, "rb") as file:
        file.seek(start)
        yield from file
