"""Verification: every stored byte against what was recorded when it was written."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.layout import Layout
from pipeline.locks import locked
from pipeline.paths import StoredFile, remove
from pipeline.record import Done, Forgotten, Made, Record
from pipeline.store import Store, check_format, open_store

AT_ONCE = 8  # files read at a time, so that a disk has something to do
# What writers leave that are at work, or were killed; going on removes it.
UNFINISHED = ".partial"
Locate = Callable[[int, int], str]
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
        nothing is recorded of it; "stale", when it is there without a record;
        "renamed", when it looks for its parts under another name.
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
    yield from (Damage(str(file), "changed") for file in record.damaged())
    try:
        job = record.job()
    except (OSError, ValueError):
        return  # without it nothing else can be known; extract writes it again
    check_format(store, job)
    layout = Layout.from_json(job["identity"]["layout"])
    finished, told = record.finished(), _Told.by(record, layout.n_regions)
    yield from (Damage(file, "changed") for file in told.damaged)
    small_damages = [*_damages_of_small_files(store, layout, told, finished)]
    yield from small_damages
    # What is damaged is not opened, and so cannot say which recordings a window is of.
    locate = partial(_where, store) if not small_damages else None
    yield from _check(store, layout, told.files(record), locate)
    if finished:
        for region in np.flatnonzero(told.last[:, 0] < 0).tolist():
            name = store.file_of(layout.bounds(region)[0]) if locate else ""
            yield _of_region(store, layout, name, "stale", layout.bounds(region), locate)
    small = {file.name for file in told.made or ()}
    for name in store.files():
        known = store.windows_of(name, layout) is not None or name in small
        known |= not finished and name.endswith(UNFINISHED)
        unrecorded = told.made is None or (not finished and name.startswith(store.written_last))
        if not (known or unrecorded):
            yield Damage(str(store.locate(name)), "foreign")


@dataclass(frozen=True, eq=False)
class _Told:
    """What the lines of a record say, by the place of each.

    More may be added while they are read, by other shares: a line is known by its log and
    its number there, and of a region the last that was seen is looked up again.
    """

    logs: list[str]
    last: npt.NDArray[np.int64]  # place of the line that holds of each region; -1 if none
    made: tuple[StoredFile, ...] | None
    damaged: list[str]

    @classmethod
    def by(cls, record: Record, n_regions: int) -> _Told:
        logs, last = record.logs(), np.full((n_regions, 2), -1)
        made: tuple[StoredFile, ...] | None = None
        damaged: dict[str, None] = {}
        for place, entry in record.lines(logs):
            if isinstance(entry, Done):
                last[entry.region] = place
            elif isinstance(entry, Forgotten):
                last[list(entry.regions)] = -1
                made = None if entry.made else made
            elif isinstance(entry, Made):
                made = entry.files
            elif entry is None:
                damaged[str(record.log(logs[place[0]]))] = None
        return cls(logs, last, made, [*damaged])

    @property
    def complete(self) -> bool:
        """Whether all regions are stored."""
        return bool((self.last >= 0).all())

    def files(self, record: Record) -> Iterator[StoredFile]:
        """Those of all regions that are stored."""
        for place, entry in record.lines(self.logs):
            if isinstance(entry, Done) and tuple(self.last[entry.region]) == place:
                yield from entry.files


def _damages_of_small_files(
    store: Store, layout: Layout, told: _Told, finished: bool
) -> Iterator[Damage]:
    if told.made is None:
        yield Damage(str(store.path), "stale")
        return
    # A job that ended as it finished has written these; it looks at them again.
    last_step = told.complete and not finished
    files = (
        file
        for file in told.made
        if not (last_step and file.name.startswith(store.written_last))
        or not store.locate(file.name).exists()
    )
    found = [*_check(store, layout, files, None)]
    yield from found
    if not found and not last_step and store.is_renamed():
        yield Damage(str(store.path), "renamed")


def _check(
    store: Store, layout: Layout, files: Iterable[StoredFile], locate: Locate | None
) -> Iterator[Damage]:
    def examine(file: StoredFile) -> Damage | None:
        kind = _kind(store, layout, file)
        windows = store.windows_of(file.name, layout)
        return _of_region(store, layout, file.name, kind, windows, locate) if kind else None

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
    store: Store,
    layout: Layout,
    name: str,
    kind: str,
    windows: tuple[int, int] | None,
    locate: Locate | None,
) -> Damage:
    path = str(store.locate(name) if name else store.path)
    if windows is None:
        return Damage(path, kind)
    where = locate(*windows) if locate else ""
    return Damage(path, kind, windows[0] // layout.region, windows, where)


def _where(store: Store, start: int, stop: int) -> str:
    """Recordings and times of windows, for people."""
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
    except OSError:  # of another process, which makes the store anew
        return ""


def _mark(store: Store, found: list[Damage]) -> None:
    record = Record(store.record_folder)
    regions = sorted({damage.region for damage in found if damage.region is not None})
    foreign = {damage.file for damage in found if damage.kind == "foreign"}
    own = {str(path) for path in record.files()}
    others = [item for item in found if item.region is None and item.kind != "foreign"]
    if regions or others:
        record.reopen()
        record.drop_damaged_lines()
        made = any(item.file not in own for item in others)
        record.add(Forgotten(tuple(regions), made))
    for name in [*store.files()] if foreign else ():
        if str(store.locate(name)) in foreign and store.owns(name):
            remove(store.locate(name))
