"""Sources: the audio files that paths, folders, globs and manifests name."""

from __future__ import annotations

import glob
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from pipeline.audio import suffixes
from pipeline.paths import is_remote
from pipeline.recordings.folders import count_passed, match, no_audio, search
from pipeline.recordings.manifest import read_manifest
from pipeline.recordings.remote_sources import expand_remote

PathLike = str | os.PathLike[str]
AT_ONCE = 4096  # paths of which the places in the buffer are Python numbers


class Paths(Sequence[str]):
    """Paths in one buffer, which takes little more than their characters.

    A slice of step 1 is a view; it pickles with no more than its own paths.

    Parameters
    ----------
    paths : iterable of str
        In their order.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        characters, ends = bytearray(), array("q", [0])
        for path in paths:
            # What is not UTF-8 in a name is a surrogate here.
            characters += path.encode("utf-8", "surrogatepass")
            ends.append(len(characters))
        self._characters = np.frombuffer(characters, np.uint8)
        self._ends = np.frombuffer(ends, np.int64)

    @classmethod
    def _of(cls, characters: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Paths:
        made = cls.__new__(cls)
        made._characters, made._ends = characters, ends
        return made

    def where(self, mask: npt.NDArray[np.bool_]) -> Paths:
        """The paths for which `mask`, of shape (path,), is true."""
        lengths = np.diff(self._ends)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[mask])])
        return self._of(self._characters[np.repeat(mask, lengths)], ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        first = int(self._ends[0])
        for low in range(0, len(self), AT_ONCE):
            ends = (self._ends[low : low + AT_ONCE + 1] - first).tolist()
            text = self._characters[ends[0] : ends[-1]].tobytes()
            for a, b in pairwise(ends):
                yield text[a - ends[0] : b - ends[0]].decode("utf-8", "surrogatepass")

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Paths: ...

    def __getitem__(self, index: int | slice) -> str | Paths:
        places = range(len(self))[index]
        if isinstance(places, int):
            (path,) = self._part(places, places + 1)
            return path
        if places.step != 1:
            return Paths(self[i] for i in places)
        return self._part(places.start, max(places.start, places.stop))

    def _part(self, start: int, stop: int) -> Paths:
        ends = self._ends[start : stop + 1]
        first, last = ends[[0, -1]] - self._ends[0]
        return self._of(self._characters[first:last], ends)


class FileNames:
    """The one name of each file, whatever links lead to it."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str) -> str:
        """The name of the file at a path: without links, or its URL."""
        if is_remote(path):
            return path
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)


class Found(NamedTuple):
    """What is at the sources.

    Parameters
    ----------
    paths : Paths
        The files, and folders that cannot be searched, in the order of the sources.
    passed_over : tuple of (str, int)
        What was come upon and left out: endings of audio that is not read, and
        links to folders; and how many of each.
    """

    paths: Paths
    passed_over: tuple[tuple[str, int], ...]


def find_files(sources: PathLike | Iterable[PathLike]) -> Found:
    """The files that the sources name; none of them is opened but manifests.

    Parameters
    ----------
    sources : path or iterable of paths
        As for `scan`.

    Returns
    -------
    Found

    Raises
    ------
    OSError
        If a source does not exist, or nothing fits a glob.
    ValueError
        If there is no source, a folder has no audio in it, or a manifest
        names no files.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    passed: dict[str, str] = {}
    paths = Paths(path for source in sources for path in _expand(os.fspath(source), passed))
    if not len(paths):
        raise ValueError("no source is given; give a file, a folder, a glob or a manifest CSV")
    return Found(paths, count_passed(passed.values()))


def _expand(source: str, passed: dict[str, str]) -> Iterator[str]:
    """The files that a source names."""
    if is_remote(source):
        yield from expand_remote(source, suffixes(), passed)
        return
    try:
        mode = os.stat(source).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        mode = None
    if mode is None and glob.has_magic(source):
        # A glob may fit a folder and what is in it.
        yield from dict.fromkeys(
            path for fitting in match(source, passed) for path in _expand(fitting, passed)
        )
    elif mode is None:
        raise FileNotFoundError(
            f"{source or 'an empty path'} does not exist; give a file, a folder, a glob or a "
            f"manifest"
        )
    elif S_ISDIR(mode):
        yield from _expand_folder(source, passed)
    elif not S_ISREG(mode):
        raise ValueError(f"{source} is neither a file nor a folder; give one")
    elif os.path.splitext(source)[1].lower() == ".csv":
        yield from read_manifest(Path(source))
    else:
        yield source


def _expand_folder(source: str, passed: dict[str, str]) -> Iterator[str]:
    folder, before, found = str(Path(source)), len(passed), False
    for path in search("" if folder == "." else folder, suffixes(), passed):
        found = True
        yield path
    if not found:
        raise no_audio(source, islice(passed.values(), before, None))
