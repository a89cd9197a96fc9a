"""Remote sources: the audio files that a URL names, found by listing a bucket."""

import glob
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice, takewhile

from pipeline.audio import HDF5_SUFFIXES
from pipeline.paths import RemotePath
from pipeline.recordings.folders import LABELS, OTHER_AUDIO, STORES, Listed, no_audio
from pipeline.recordings.manifest import Found, read_manifest


def expand_remote(
    source: str, known: frozenset[str], passed: dict[str, str], listed: Listed
) -> Iterator[Found]:
    """The files that a URL names, in order of name; what else is passed as in `search`.

    It is that of an object, of the beginning of the names of several (a "folder"), a glob,
    or a manifest; on a web server, of a file or a manifest.
    """
    path = RemotePath(source)
    if path.key and not source.endswith("/") and path.is_file():
        yield from read_manifest(path) if path.suffix.lower() == ".csv" else [Found(path.url)]
        return
    if path.is_web:
        raise FileNotFoundError(
            f"{source} does not exist; give a file or a manifest, for what else is on a web "
            f"server cannot be searched"
        )
    pattern = path.key.split("/") if glob.has_magic(path.key) else []
    folder, before = _parts(path.key), len(passed)
    seen = found = False
    for parts in _walk(path, pattern):
        seen = True
        listed()
        named = _matched(parts, pattern) if pattern else len(folder)
        if named is None or _is_left_out(parts, named, 0 if pattern else named):
            continue
        url, suffix = "/".join([path.root, *parts]), _suffix(parts[-1]).lower()
        if _is_audio(url, suffix, known if named < len(parts) else None):
            found = True
            yield Found(url)
        elif suffix in OTHER_AUDIO:
            passed[url] = suffix
    if pattern and not found:
        raise FileNotFoundError(f"nothing fits the glob {source}; give another")
    if not seen:
        raise FileNotFoundError(
            f"{source} does not exist; give a file, a folder, a glob or a manifest"
        )
    if not found:
        raise no_audio(source, islice(passed.values(), before, None))


def _walk(path: RemotePath, pattern: list[str]) -> Iterator[list[str]]:
    """Keys, in parts, of what lies in a folder, or in the one that a glob begins with."""
    plain = _parts(path.key)
    if pattern:
        plain = list(takewhile(lambda part: not glob.has_magic(part), pattern))
    for name, _ in RemotePath("/".join([path.root, *plain])).walk():
        yield [*plain, *name.split("/")]


def _parts(key: str) -> list[str]:
    return key.split("/") if key else []


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1]


def _matched(parts: Sequence[str], pattern: Sequence[str]) -> int | None:
    """How many of the first parts of a name fit a glob: all, or those of a folder."""
    return next((n for n in range(len(parts), 0, -1) if _fits(parts[:n], pattern)), None)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        below = bool(parts) and not parts[0].startswith(".") and _fits(parts[1:], pattern)
        return below or _fits(parts, pattern[1:])
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    return fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _is_left_out(parts: Sequence[str], named: int, above: int) -> bool:
    """Whether a key is in a store, or in what is hidden below the parts that are named."""
    stored = any(_suffix(part) in STORES for part in parts[above:-1])
    return stored or any(part.startswith(".") for part in parts[named:])


def _is_audio(url: str, suffix: str, known: frozenset[str] | None) -> bool:
    """Whether an object is taken: any that a glob fits, or of audio in a folder."""
    if url.endswith(("/", LABELS)) or (known is not None and suffix not in known):
        return False
    return suffix not in HDF5_SUFFIXES or not _has_parts(url)


@lru_cache(maxsize=1024)
def _has_parts(url: str) -> bool:
    """Whether an HDF5 file is a store, with parts beside it."""
    return RemotePath(f"{url}.parts").is_dir()
