"""Sources: the audio files that paths, folders, globs and manifests name."""

import glob
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from pipeline.audio import suffixes
from pipeline.paths import is_remote
from pipeline.recordings.file_names import Paths
from pipeline.recordings.folders import Listed, count_passed, match, no_audio, search
from pipeline.recordings.manifest import Found, read_manifest
from pipeline.recordings.remote_sources import expand_remote
from pipeline.recordings.starts import Stamps, no_stamps, stamp_row
from pipeline.steps import unseen

PathLike = str | os.PathLike[str]


def find_files(
    sources: PathLike | Iterable[PathLike], listing: Callable[[int], None] = unseen
) -> tuple[Paths, tuple[tuple[str, int], ...], Stamps | None]:
    """The files that the sources of `scan` name, and how many were passed over, by kind.

    Also when they begin, where a manifest has a column that says it.

    None is opened but manifests; folders that cannot be searched are among the files. `listing`
    is called with how many names were met so far.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    passed: dict[str, str] = {}
    numbers = count(1)
    clocks, offsets, dated = array("q"), array("i"), False

    def noted() -> Iterator[str]:
        nonlocal dated
        for source in sources:
            for found in _expand(os.fspath(source), passed, lambda: listing(next(numbers))):
                clock, offset = stamp_row(found.stamp)
                clocks.append(clock)
                offsets.append(offset)
                dated |= found.dated
                yield found.path

    paths = Paths(noted())
    if not len(paths):
        raise ValueError("no source is given; give a file, a folder, a glob or a manifest CSV")
    given = no_stamps(len(paths)) if dated else None
    if given is not None:
        given["clock"], given["offset"] = clocks, offsets
    return paths, count_passed(passed.values()), given


def _expand(source: str, passed: dict[str, str], listed: Listed) -> Iterator[Found]:
    """The files that a source names."""
    if is_remote(source):
        yield from expand_remote(source, suffixes(), passed, listed)
        return
    try:
        mode = os.stat(source).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        mode = None
    if mode is None and glob.has_magic(source):
        # A glob may fit a folder and what is in it.
        yield from dict.fromkeys(
            found
            for fitting in match(source, passed, listed)
            for found in _expand(fitting, passed, listed)
        )
    elif mode is None:
        raise FileNotFoundError(
            f"{source or 'an empty path'} does not exist; give a file, a folder, a glob or a "
            f"manifest"
        )
    elif S_ISDIR(mode):
        yield from _expand_folder(source, passed, listed)
    elif not S_ISREG(mode):
        raise ValueError(f"{source} is neither a file nor a folder; give one")
    elif os.path.splitext(source)[1].lower() == ".csv":
        yield from read_manifest(Path(source))
    else:
        yield Found(source)


def _expand_folder(source: str, passed: dict[str, str], listed: Listed) -> Iterator[Found]:
    folder, before, found = str(Path(source)), len(passed), False
    for path in search("" if folder == "." else folder, suffixes(), passed, listed):
        found = True
        yield Found(path)
    if not found:
        raise no_audio(source, islice(passed.values(), before, None))
