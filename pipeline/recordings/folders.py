"""Folders: the audio files in them, and what a search passes over.

A link to a folder is searched if it is named, as a source or by a glob. One that
is met on the way, below a folder or below ``**``, is passed over: it may lead back
to the folder itself.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache

Listed = Callable[[], None]
STORES = (".zarr", ".parts")  # of features
LABELS = "-lbl.npy"
# Endings of audio, and of films with it, that are not read.
OTHER_AUDIO = {
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dff", ".dsf", ".m4a", ".m4b", ".mka"),
    *(".mkv", ".mov", ".mp4", ".mpc", ".mts", ".ra", ".shn", ".spx", ".tta", ".w4v", ".wac"),
    *(".webm", ".wma", ".wv"),
}
LINKS = "links to folders"
ANY_DEPTH = re.compile(r"(?:^|/+)\*\*(?:/+\*\*)*(?:/+|$)")


def search(
    folder: str, known: frozenset[str], passed: dict[str, str], listed: Listed
) -> Iterator[str]:
    """Files below a folder with endings that are known, and folders that cannot be searched.

    They come in the order of their whole paths. `passed` takes what is passed over, by
    path: its ending, or `LINKS`. Stores of features are not looked into. `listed` is
    called for each name.
    """
    entries = _visible(folder, passed)
    if entries is None:
        yield folder or "."
        return
    for path, is_folder in entries:
        listed()
        suffix = os.path.splitext(path)[1].lower()
        if is_folder:
            yield from search(path, known, passed, listed)
        elif suffix in known:
            if not path.endswith(LABELS):
                yield path
        elif suffix in OTHER_AUDIO:
            passed[path] = suffix


def match(pattern: str, passed: dict[str, str], listed: Listed) -> Iterator[str]:
    """What fits a glob, in order of name, but stores and what is in them."""

    @cache
    def stored(path: str) -> bool:
        above = os.path.dirname(path)
        return _is_store(path) or (path != above and stored(above))

    found = False
    for path in sorted({*_each(_fitting(pattern, passed), listed)}):
        if not (path.endswith(LABELS) or stored(path)):
            found = True
            yield path
    if not found:
        raise FileNotFoundError(f"nothing fits the glob {pattern}; give another")


def _each(paths: Iterable[str], listed: Listed) -> Iterator[str]:
    for path in paths:
        listed()
        yield path


def _fitting(pattern: str, passed: dict[str, str]) -> Iterator[str]:
    """What fits a glob.

    Python's own ``**`` follows links, in circles even: here, each folder below it is walked
    to, without links, and the rest of the glob is asked for in every one of them.
    """
    depth = ANY_DEPTH.search(pattern)
    if depth is None:
        yield from glob.iglob(pattern)
        return
    below = pattern[depth.end() :]
    above = pattern[: depth.start()] or ("/" if depth[0].startswith("/") else "")
    for base in filter(os.path.isdir, glob.iglob(above)) if above else [""]:
        if not below:
            yield base or "."
            continue
        for folder, searched in _folders(base, passed):
            if searched:
                yield from _fitting_in(folder, below, passed)
            else:
                yield folder or "."


def _fitting_in(folder: str, pattern: str, passed: dict[str, str]) -> Iterator[str]:
    """What fits the rest of a glob in one of the folders of ``**``."""
    by_name = not glob.has_magic(os.path.basename(pattern.rstrip("/")))
    for path in _fitting(os.path.join(glob.escape(folder), pattern), passed):
        link = path.rstrip("/")
        if by_name or not (os.path.islink(link) and os.path.isdir(link)):
            yield path
        else:
            passed[link] = LINKS


def _folders(folder: str, passed: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """A folder and those below it, and whether each can be searched."""
    entries = _visible(folder, passed)
    yield folder, entries is not None
    for path, is_folder in entries or ():
        if is_folder:
            yield from _folders(path, passed)


def _visible(folder: str, passed: dict[str, str]) -> list[tuple[str, bool]] | None:
    """Paths in a folder ("" is the current one), and which are folders; None if it is closed.

    They are in the order of whole paths: a folder sorts as its name with a slash does.
    """
    try:
        with os.scandir(folder or ".") as found:
            entries = {entry.name: _is_folder(entry) for entry in found if entry.name[0] != "."}
    except (FileNotFoundError, NotADirectoryError):  # it went away
        return []
    except OSError:
        return None
    prefix = os.path.join(folder, "")
    visible = []
    for name in sorted(entries, key=lambda name: f"{name}/" if entries[name] else name):
        path = prefix + name
        if name.endswith(STORES) or entries.get(f"{name}.parts"):
            continue
        if entries[name] and os.path.islink(path):
            passed[path] = LINKS
        else:
            visible.append((path, entries[name]))
    return visible


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_store(path: str) -> bool:
    return os.path.splitext(path)[1] in STORES or (path != "" and os.path.isdir(f"{path}.parts"))


def why_unsearched(folder: str) -> str:
    """Why a folder is among the files that were found."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return f"the folder cannot be searched: {error.strerror}"
    return "it is a folder, not a file"


def count_passed(kinds: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """How many of each kind were passed over, by name of the kind."""
    return tuple(sorted(Counter(kinds).items()))


def no_audio(source: str, kinds: Iterable[str]) -> ValueError:
    """The error for a folder without audio in which such kinds were passed over."""
    counted = count_passed(kinds)
    if not counted:
        return ValueError(f"{source} is a folder with no audio in it; give one that has some")
    found = ", ".join(f"{kind} ({count})" for kind, count in counted)
    remedies = []
    if any(kind != LINKS for kind, _ in counted):
        remedies.append("convert it to WAV or FLAC")
    if any(kind == LINKS for kind, _ in counted):
        remedies.append("pass the links as sources")
    return ValueError(
        f"{source} is a folder with no audio in it that is read, but with {found}; "
        f"{', or '.join(remedies)}"
    )
