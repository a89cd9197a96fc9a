"""Sources: the audio files that paths, folders, globs and manifests name."""

import glob
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from pipeline.audio import suffixes
from pipeline.paths import is_remote
from pipeline.recordings.file_names import Paths
from pipeline.recordings.folders import count_passed, match, no_audio, search
from pipeline.recordings.manifest import read_manifest
from pipeline.recordings.remote_sources import expand_remote

PathLike = str | os.PathLike[str]


def find_files(sources: PathLike | Iterable[PathLike]) -> tuple[Paths, tuple[tuple[str, int], ...]]:
    """The files that the sources of `scan` name, and how many were passed over, by kind.

    None is opened but manifests; folders that cannot be searched are among the files.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    passed: dict[str, str] = {}
    paths = Paths(path for source in sources for path in _expand(os.fspath(source), passed))
    if not len(paths):
        raise ValueError("no source is given; give a file, a folder, a glob or a manifest CSV")
    return paths, count_passed(passed.values())


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
