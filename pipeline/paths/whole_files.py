"""Whole files: written aside, put in place at once, and known again by a checksum."""

import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from pipeline.paths.ranges import open_whole
from pipeline.paths.remote import AnyPath, PathT, RemotePath

READ_BYTES = 1 << 18  # at a time, which the cache holds until they are added up


class StoredFile(NamedTuple):
    """A file of a store as it was written: its name in the store, bytes and CRC-32C.

    The checksum of a file that holds checksums is that of these: see `pipeline.store.shards`.
    """

    name: str
    size: int
    crc32c: int


def stored_file(path: AnyPath, name: str) -> StoredFile:
    """A file as it is now, under its name in the store."""
    size = crc = 0
    with open_whole(path) as file:
        while piece := file.read(READ_BYTES):
            size += len(piece)
            crc = google_crc32c.extend(crc, piece)
    return StoredFile(name, size, crc)


def in_place(locate: Callable[[str], Path], files: Iterable[StoredFile]) -> bool:
    """Whether all files are there, and as long as they were."""
    try:
        return all(locate(file.name).stat().st_size == file.size for file in files)
    except OSError:
        return False


def aside_of(path: PathT) -> PathT:
    """A name beside the target to make it under; no other thread, process or host has it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


@contextmanager
def put_in_place(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Make a file or folder aside, at the path that is yielded; it replaces the target at the end.

    If the block fails, nothing is left of it. It is made beside the target, or beside another
    path, to be swept up together with what is left there.
    """
    aside = aside_of(beside or path)
    try:
        yield aside
        _replace(aside, path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to be raised
            remove(aside)
        raise


def _replace(aside: Path, path: Path) -> None:
    made = aside.stat()
    try:
        os.replace(aside, path)
    except FileNotFoundError:
        # A file server whose answer was lost is asked again, and finds that it is done already.
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
    """Wait until files and their names are on the disk, where they survive a loss of power."""
    files = [path for path in paths if isinstance(path, Path)]  # objects are safe once put
    for path in (*files, *{file.parent for file in files}):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove(path: AnyPath) -> None:
    """Remove a file or a folder, if there is one."""
    if isinstance(path, Path) and path.is_dir() and not path.is_symlink():
        # Threads of a library that has failed may still be writing to it.
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers have left in a folder, for one target or for all."""
    for path in folder.glob(f".{glob.escape(name) if name else '*'}.*.partial"):
        remove(path)


def walk(folder: Path, but: set[Path]) -> Iterator[str]:
    """Names, relative to a folder, of all files below it, but not below the folders `but`."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(where, name) not in but]
        inside = os.path.relpath(where, folder)
        yield from (os.path.normpath(os.path.join(inside, name)) for name in names)
