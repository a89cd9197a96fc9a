"""The record of a job: what it is to do, and which regions of it are done.

A folder beside or inside the store. ``job.json`` says what the job is;
``done.jsonl`` has a line for each region, added after its data is in place;
``finished`` is there when all regions are, and what follows from them is stored.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c

__all__ = ["Done", "Record", "StoredFile", "put_in_place", "stored_file"]


@dataclass(frozen=True)
class StoredFile:
    """One file of the store as it was when it was written."""

    name: str
    size: int
    crc32c: int


def stored_file(folder: Path, name: str) -> StoredFile:
    """Size and CRC-32C of a file as it now is on disk."""
    size = crc = 0
    with open(folder / name, "rb") as file:
        while piece := file.read(1 << 20):
            size += len(piece)
            crc = google_crc32c.extend(crc, piece)
    return StoredFile(name, size, crc)


@dataclass(frozen=True)
class Done:
    """What is recorded of a region: its files, and the windows not to be read.

    Parameters
    ----------
    region : int
        Number of the region.
    files : tuple of StoredFile
        What was stored for it.
    unreadable : tuple of (int, int, str)
        First window, the one after the last, and the reason, for each run of
        windows whose audio could not be read.
    """

    region: int
    files: tuple[StoredFile, ...]
    unreadable: tuple[tuple[int, int, str], ...] = ()

    @classmethod
    def from_json(cls, line: str) -> Done:
        """The region that a line of the record tells of."""
        values = json.loads(line)
        return cls(
            values["region"],
            tuple(StoredFile(**file) for file in values["files"]),
            tuple((start, stop, reason) for start, stop, reason in values["unreadable"]),
        )


@contextmanager
def put_in_place(path: Path) -> Iterator[Path]:
    """Make a file or folder aside; it appears at `path`, whole, when the block ends.

    Yields
    ------
    pathlib.Path
        Where to make it. Nothing is left there if the block fails.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException:
        if aside.is_dir():
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)
        raise


class Record:
    """The record in a folder.

    Parameters
    ----------
    folder : path
        Made by `begin`; need not exist before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._job, self._done = folder / "job.json", folder / "done.jsonl"
        self._finished = folder / "finished"

    def begin(self, job: dict[str, Any]) -> None:
        """Write what the job is, before anything of it is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with put_in_place(self._job) as aside:
            aside.write_text(json.dumps(job, indent=1))

    def job(self) -> dict[str, Any]:
        """What `begin` was given.

        Raises
        ------
        FileNotFoundError
            If no job began here.
        """
        job: dict[str, Any] = json.loads(self._job.read_text())
        return job

    def add(self, done: Done) -> None:
        """Record a region: one line, written at once."""
        line = json.dumps(dataclasses.asdict(done), separators=(",", ":")) + "\n"
        handle = os.open(self._done, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            end = os.lseek(handle, 0, os.SEEK_END)
            if end and os.pread(handle, 1, end - 1) != b"\n":
                line = "\n" + line  # a killed writer left half a line
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def finish(self) -> None:
        """Record that nothing is left to do."""
        self._finished.touch()

    def finished(self) -> bool:
        """Whether the job was finished."""
        return self._finished.exists()

    def in_place(self, done: Done) -> bool:
        """Whether the files of a region are where, and as long as, they were.

        A machine that lost its power may keep a line of the record and lose
        data that was written before it.
        """
        try:
            return all(
                (self.folder.parent / file.name).stat().st_size == file.size for file in done.files
            )
        except FileNotFoundError:
            return False

    def done(self) -> dict[int, Done]:
        """The regions recorded so far, by number; the last line on a region holds."""
        try:
            lines = self._done.read_text().split("\n")
        except FileNotFoundError:
            return {}
        regions = {}
        for line in lines:
            try:
                done = Done.from_json(line)
            except (ValueError, KeyError, TypeError):
                continue  # half a line: its region is done again
            regions[done.region] = done
        return regions
