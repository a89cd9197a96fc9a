"""Verification: every stored byte against what was recorded when it was written."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.files import StoredFile, remove
from pipeline.layout import Layout
from pipeline.lock import locked
from pipeline.plan import FORMAT
from pipeline.record import Done, Forgotten, Made, Record
from pipeline.store import Store, open_store

__all__ = ["Damage", "verify"]

AT_ONCE = 8  # files read at a time, so that a disk has something to do
# What writers leave that are at work, or were killed; going on removes it.
UNFINISHED = ".partial"
PLACES = 3  # of the recordings in a damaged file, so many are named


@dataclass(frozen=True)
class Damage:
    """One file that is not what was recorded.

    Attributes
    ----------
    file : str
        Its path.
    kind : str
        "missing"; "torn", when it has another size; "changed"; "foreign", when
        nothing is recorded of it; "stale", when it is there without a record.
    region : int or None
        The region it belongs to.
    windows : tuple of int or None
        Its first window, and the one after its last.
    where : str
        Recordings and times, for people.
    """

    file: str
    kind: str
    region: int | None = None
    windows: tuple[int, int] | None = None
    where: str = ""

    def __str__(self) -> str:
        if self.windows is None:
            return f"{self.kind}: {self.file}"
        start, stop = self.windows
        place = f" ({self.where})" if self.where else ""
        return (
            f"{self.kind}: {self.file}: region {self.region}, windows {start} to {stop - 1}{place}"
        )


def verify(path: str | os.PathLike[str], repair: bool = False) -> list[Damage]:
    """Check every stored byte.

    Parameters
    ----------
    path : path
        Of a store that `extract` made, finished or not.
    repair : bool
        Mark what is damaged to be done again, which `extract` then does, and
        remove foreign files from where only the store's own belong.

    Returns
    -------
    list of Damage
        Empty if all is as it was written.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such store, another version of this package made it, or, to repair it,
        another job writes to it.
    """
    store = open_store(path)
    if store.packed:
        raise ValueError(
            f"{path} is a packed copy, of which nothing is recorded; verify the store it was made "
            f"of"
        )
    if not repair:
        return list(_damages(store))
    with locked(store.path):
        found = list(_damages(store))
        _mark(store, found)
        return found


def _damages(store: Store) -> Iterator[Damage]:
    record = Record(store.record_folder)
    damaged = record.damaged()
    yield from (Damage(str(file), "changed") for file in damaged)
    try:
        job = record.job()
    except (OSError, ValueError):
        return  # without it nothing else can be known; extract writes it again
    if job["identity"]["format"] != FORMAT:
        raise ValueError(
            f"{store.path} was made by another version of this package, whose checksums are not "
            f"those of this one; verify it with that version, or extract it again with --overwrite"
        )
    layout = Layout.from_json(job["identity"]["layout"])
    finished, last, made = record.finished(), np.full(layout.n_regions, -1), None
    for number, entry in enumerate(record.entries()):
        if isinstance(entry, Done):
            last[entry.region] = number
        elif isinstance(entry, Forgotten):
            last[list(entry.regions)] = -1
            made = None if entry.made else made
        elif isinstance(entry, Made):
            made = entry
    small = {file.name for file in made.files} if made else set()
    if made is None:
        yield Damage(str(store.path), "stale")
    else:
        # A job that ended as it finished has written these; it looks at them again.
        last_step = not finished and (last >= 0).all()
        files = (
            file
            for file in made.files
            if not (last_step and file.name.startswith(store.written_last))
            or not store.locate(file.name).exists()
        )
        yield from _check(store, layout, files)
    holding = (
        file
        for number, entry in enumerate(record.entries())
        if isinstance(entry, Done) and last[entry.region] == number
        for file in entry.files
    )
    yield from _check(store, layout, holding)
    if finished:
        for region in np.flatnonzero(last < 0).tolist():
            name = store.file_of(layout.bounds(region)[0])
            yield _of_region(store, layout, name, "stale", layout.bounds(region))
    for name in store.files():
        known = store.windows_of(name, layout) is not None or name in small
        known |= not finished and name.endswith(UNFINISHED)
        unrecorded = made is None or (not finished and name.startswith(store.written_last))
        if not (known or unrecorded):
            yield Damage(str(store.locate(name)), "foreign")


def _check(store: Store, layout: Layout, files: Iterable[StoredFile]) -> Iterator[Damage]:
    def examine(file: StoredFile) -> Damage | None:
        kind = _kind(store, layout, file)
        windows = store.windows_of(file.name, layout)
        return _of_region(store, layout, file.name, kind, windows) if kind else None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: deque[Future[Damage | None]] = deque()
        for file in files:
            waiting.append(pool.submit(examine, file))
            if len(waiting) > 2 * AT_ONCE and (found := waiting.popleft().result()):
                yield found
        yield from filter(None, (future.result() for future in waiting))


def _kind(store: Store, layout: Layout, recorded: StoredFile) -> str | None:
    """What is wrong with a file; None if nothing is."""
    try:
        if store.locate(recorded.name).stat().st_size != recorded.size:
            return "torn"
        return "changed" if store.stored_file(recorded.name, layout) != recorded else None
    except ValueError:
        return "changed"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        if error.errno is None:  # a server that cannot be reached tells nothing
            raise
        return f"unreadable, {error.strerror}"


def _of_region(
    store: Store, layout: Layout, name: str, kind: str, windows: tuple[int, int] | None
) -> Damage:
    path = str(store.locate(name))
    if windows is None:
        return Damage(path, kind)
    return Damage(path, kind, windows[0] // layout.region, windows, _where(store, *windows))


def _where(store: Store, start: int, stop: int) -> str:
    """Recordings and times of windows, as far as the store can still tell."""
    try:
        recording, seconds = (store.get(name, start, stop) for name in ("recording", "start"))
        length = float(store.attrs()["window"])
        assert recording is not None
        assert seconds is not None
        places = []
        for number in np.unique(recording)[:PLACES].tolist():
            times = seconds[recording == number]
            source = store.get("source", number, number + 1)
            assert source is not None
            places.append(f"{source[0]}: {times[0]:g} s to {times[-1] + length:g} s")
        more = len(np.unique(recording)) - PLACES
        return ", ".join([*places, *([f"and {more} more recordings"] if more > 0 else [])])
    except Exception:  # what says so may be damaged, too, in any way
        return ""


def _mark(store: Store, found: list[Damage]) -> None:
    record = Record(store.record_folder)
    regions = sorted({damage.region for damage in found if damage.region is not None})
    foreign = {damage.file for damage in found if damage.kind == "foreign"}
    others = [item for item in found if item.region is None and item.kind != "foreign"]
    if regions or others:
        record.reopen()
        record.add(Forgotten(tuple(regions), bool(others)))
    for name in [*store.files()] if foreign else ():
        if str(store.locate(name)) in foreign and store.owns(name):
            remove(store.locate(name))
