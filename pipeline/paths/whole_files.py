"""Files: written aside and put in place whole, and known again by a checksum."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from pipeline.paths.ranges import open_whole
from pipeline.paths.remote import AnyPath, PathT, RemotePath

PIECE = 1 << 18  # what stays in the cache between reading it and adding it up


@dataclass(frozen=True)
class StoredFile:
    """One file of the store as it was when it was written.

    Parameters
    ----------
    name : str
        Within the store.
    size : int
        Bytes.
    crc32c : int
        CRC-32C of the file, or, where it holds its own, of those: see `pipeline.store.shards`.
    """

    name: str
    size: int
    crc32c: int


def stored_file(path: AnyPath, name: str) -> StoredFile:
    """Size and CRC-32C of a file as it now is on disk, under its name in the store."""
    size = crc = 0
    with open_whole(path) as file:
        while piece := file.read(PIECE):
            size += len(piece)
            crc = google_crc32c.extend(crc, piece)
    return StoredFile(name, size, crc)


def in_place(locate: Callable[[str], Path], files: Iterable[StoredFile]) -> bool:
    """Whether files are where, and as long as, they were."""
    try:
        return all(locate(file.name).stat().st_size == file.size for file in files)
    except OSError:
        return False


def aside_of(path: PathT) -> PathT:
    """Where to make what is to be at a path; no other thread, process or host has the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


@contextmanager
def put_in_place(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Make a file or folder aside; it appears at `path`, whole, when the block ends.

    Parameters
    ----------
    path : pathlib.Path
        Where it will be.
    beside : pathlib.Path, optional
        What it is made beside, to be swept up together; `path` itself if not given.

    Yields
    ------
    pathlib.Path
        Where to make it. Nothing is left there if the block fails.
    """
    aside = aside_of(beside or path)
    try:
        yield aside
        _replace(aside, path)
    except BaseException:
        with suppress(OSError):  # what is left is swept up; why it failed is to be said
            remove(aside)
        raise


def _replace(aside: Path, path: Path) -> None:
    made = aside.stat()
    try:
        os.replace(aside, path)
    except FileNotFoundError:
        # A file server that is asked twice, as its answer was lost, finds nothing the second time.
        if not path.exists() or path.stat().st_ino != made.st_ino:
            raise


def put_lines(
    path: AnyPath, lines: Iterable[bytes | memoryview], beside: Path | None = None
) -> None:
    """Put a file in place, whole; see `put_in_place`."""
    if isinstance(path, RemotePath):
        path.write_lines(lines)
        return
    with put_in_place(path, beside) as aside, open(aside, "wb") as file:
        file.writelines(lines)


def flush(paths: Iterable[AnyPath]) -> None:
    """Wait until files, and their names, are on the disk and survive a loss of power."""
    folders = set()
    for path in paths:
        if isinstance(path, Path):  # an object is safe when it has been put
            _flush(path)
            folders.add(path.parent)
    for folder in folders:
        _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: AnyPath) -> None:
    """Remove a file or a folder; nothing if there is none."""
    if isinstance(path, Path) and path.is_dir() and not path.is_symlink():
        # Threads of a library that has failed may still be at work in it.
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers have left in a folder, of `aside_of` at a name or at any."""
    for path in folder.glob(f".{glob.escape(name) if name else '*'}.*.partial"):
        remove(path)


def walk(folder: Path, but: set[Path]) -> Iterator[str]:
    """Names, relative to a folder, of the files below it, but for those below others."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(where, name) not in but]
        inside = os.path.relpath(where, folder)
        yield from (os.path.normpath(os.path.join(inside, name)) for name in names)
