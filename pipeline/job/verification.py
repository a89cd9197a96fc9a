"""Verification: every stored byte against what was recorded when it was written."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from pipeline.layout import Layout
from pipeline.locks import locked
from pipeline.paths import StoredFile, remove
from pipeline.record import Done, Failed, Invalidated, Record, State
from pipeline.steps import Steps, all_unseen, told
from pipeline.store import Store, check_format, common_files, known_files, open_store

CHECKED = "bytes checked"
AT_ONCE = 8  # files read at a time, so that a disk has something to do
# What writers leave that are at work, or were killed; going on removes it.
UNFINISHED = ".partial"
PLACES = 3  # of the recordings in a damaged file, so many are named


@dataclass(frozen=True)
class Damage:
    """One file that is not what was recorded.

    Its kind is "missing"; "torn", when it has another size; "changed"; "foreign", when nothing
    is recorded of it; "stale", when it is there without a record; "renamed", when it looks for
    its parts under another name.
    """

    file: str
    kind: str
    region: int | None = None
    windows: tuple[int, int] | None = None  # the first, and the one after the last
    where: str = ""  # recordings and times, for people

    def __str__(self) -> str:
        damage = f"{self.kind}: {self.file}"
        if self.windows is None:
            return damage
        start, stop = self.windows
        place = f" ({self.where})" if self.where else ""
        return f"{damage}: region {self.region}, windows {start} to {stop - 1}{place}"


def verify(
    path: str | os.PathLike[str], repair: bool = False, progress: Steps = all_unseen
) -> list[Damage]:
    """The damage in a store, finished or not: every byte that is not as it was recorded.

    With `repair`, what is damaged is marked to be done again, which `extract` then does, and
    foreign files are removed from where only the store's own belong. `progress` is told of the
    lines of the record that are read, and of the bytes of regions that are checked.
    """
    store = open_store(path)
    if store.packed:
        raise ValueError(
            f"{path} is a packed copy, of which nothing is recorded; verify the store it was made "
            f"of"
        )
    if not repair:
        return list(_damages(store, progress))
    with locked(store.path):
        found = list(_damages(store, progress))
        _mark(store, found)
        return found


def _damages(store: Store, progress: Steps) -> Iterator[Damage]:
    record = Record(store.record_folder)
    yield from (Damage(str(file), "changed") for file in record.damaged())
    try:
        job = record.job()
    except (OSError, ValueError):
        return  # without it nothing else can be known; extract writes it again
    check_format(store, job)
    layout = Layout.from_json(job["identity"]["layout"])
    yield from _Verification(store, record, layout, progress).damages()


class _Verification:
    """The comparison of one store with its record.

    More may be recorded meanwhile, by other shares: a line is known by its log and its number
    there, and of a region the last line that was seen is looked up again.
    """

    def __init__(self, store: Store, record: Record, layout: Layout, progress: Steps) -> None:
        self._store, self._record, self._layout = store, record, layout
        self._progress = progress
        self._finished, self._logs = record.finished(), record.logs()
        self._known: set[str] = set()  # names of files that are, were, or were to be attached
        self._state = State.of(layout.n_regions)
        # By region, the place of the last line that says it is stored.
        self._last = np.full((layout.n_regions, 2), -1)
        self._bytes = np.zeros(layout.n_regions, np.int64)  # that it has recorded
        # What is damaged is not opened, and so cannot say which recordings a window is of.
        self._opens = False

    def damages(self) -> Iterator[Damage]:
        yield from (Damage(file, "changed") for file in self._read_lines())
        common = self._of_common_files()
        yield from common
        self._opens = not common
        yield from self._of_files(self._files_of_regions())
        if self._finished:
            yield from self._stale()
        yield from self._foreign()

    def _read_lines(self) -> list[str]:
        """Take in what the record says; the logs that are damaged."""
        damaged: dict[str, None] = {}
        lines = told(self._record.lines(self._logs), self._progress("lines of the record read"))
        for place, entry in lines:
            if entry is None:
                damaged[str(self._record.log(self._logs[place[0]]))] = None
            elif not isinstance(entry, Failed):  # what was stored before is still looked at
                self._state.add(entry)
            if isinstance(entry, Done):
                self._last[entry.region] = place
                self._bytes[entry.region] = sum(file.size for file in entry.files)
        self._read_finished()
        return [*damaged]

    def _read_finished(self) -> None:
        """Take in which common files a finished store has, with what is attached to it."""
        with suppress(ValueError):  # a damage of its own
            if finished := self._record.read_finished():
                self._state.common_files = common_files(self._store, finished)
                self._known = known_files(finished)

    def _files_of_regions(self) -> Iterator[StoredFile]:
        """Those of all regions that are stored."""
        done, total, step = 0, int(self._bytes[self._state.done].sum()), self._progress(CHECKED)
        self._last[~self._state.done] = -1
        for place, entry in self._record.lines(self._logs):
            if isinstance(entry, Done) and tuple(self._last[entry.region]) == place:
                yield from entry.files
                done += int(self._bytes[entry.region])
                step(done, total)

    def _of_common_files(self) -> list[Damage]:
        store, files = self._store, self._state.common_files
        if files is None:
            return [Damage(str(store.path), "stale")]
        settled = {*self._state.settled_files(store.written_last, self._finished)}
        looked_at = (f for f in files if f in settled or not store.locate(f.name).exists())
        found = [*self._of_files(looked_at)]
        if settled and not found and store.is_renamed():
            return [Damage(str(store.path), "renamed")]
        self._read_finished()
        attached = found and self._state.common_files != files  # meanwhile
        return self._of_common_files() if attached else found

    def _of_files(self, files: Iterable[StoredFile]) -> Iterator[Damage]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting: deque[Future[Damage | None]] = deque()
            for file in files:
                waiting.append(pool.submit(self._of_file, file))
                if len(waiting) > 2 * AT_ONCE and (found := waiting.popleft().result()):
                    yield found
            yield from filter(None, (future.result() for future in waiting))

    def _of_file(self, file: StoredFile) -> Damage | None:
        kind = _kind(self._store, self._layout, file)
        if kind is None:
            return None
        path = str(self._store.locate(file.name))
        windows = self._store.windows_of(file.name, self._layout)
        return self._of_windows(path, kind, windows) if windows else Damage(path, kind)

    def _of_windows(self, path: str, kind: str, windows: tuple[int, int]) -> Damage:
        where = _where(self._store, *windows) if self._opens else ""
        return Damage(path, kind, windows[0] // self._layout.region, windows, where)

    def _stale(self) -> Iterator[Damage]:
        """Regions of a finished store that are not recorded."""
        store = self._store
        for region in np.flatnonzero(~self._state.done).tolist():
            windows = self._layout.bounds(region)
            path = store.locate(store.file_of(windows[0])) if self._opens else store.path
            yield self._of_windows(str(path), "stale", windows)

    def _foreign(self) -> Iterator[Damage]:
        store, files = self._store, self._state.common_files
        if files is None:  # of none it is known
            return
        known = {file.name for file in files}
        # What a writer leaves that is at work, or was killed; and what the last step writes.
        passing = () if self._finished else (UNFINISHED,)
        found = []
        for name in store.files():
            if name in known or store.windows_of(name, self._layout) is not None:
                continue
            unfinished = not self._finished and name.startswith(store.written_last)
            if not (unfinished or name.endswith(passing)):
                found.append(name)
        self._read_finished()  # again, for what has been attached since
        for name in found:
            if name not in self._known:
                yield Damage(str(store.locate(name)), "foreign")


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
        if error.errno is None:  # a server that cannot be reached says nothing of the file
            raise
        return f"unreadable, {error.strerror}"


def _where(store: Store, start: int, stop: int) -> str:
    """Recordings and times of windows, for people."""
    try:
        recording, seconds = (
            store.coordinate(name, start, stop) for name in ("recording", "start")
        )
        length = float(store.attrs()["window"])
        places, numbers = [], np.unique(recording).tolist()
        for number in numbers[:PLACES]:
            times = seconds[recording == number]
            source = store.coordinate("source", number, number + 1)
            places.append(f"{source[0]}: {times[0]:g} s to {times[-1] + length:g} s")
        if len(numbers) > PLACES:
            places.append(f"and {len(numbers) - PLACES} more recordings")
        return ", ".join(places)
    except OSError:  # of another process, which makes the store anew
        return ""


def _mark(store: Store, found: list[Damage]) -> None:
    record = Record(store.record_folder)
    regions = sorted({damage.region for damage in found if damage.region is not None})
    foreign = {damage.file for damage in found if damage.kind == "foreign"}
    own = {str(path) for path in record.files()}
    others = [item for item in found if item.region is None and item.kind != "foreign"]
    if regions or others:
        made = _has_attached(record) or any(item.file not in own for item in others)
        record.reopen()
        record.drop_damaged_lines()
        record.add(Invalidated(tuple(regions), made))
    for name in [*store.files()] if foreign else ():
        if str(store.locate(name)) in foreign and store.owns(name):
            remove(store.locate(name))


def _has_attached(record: Record) -> bool:
    """Whether there is, or may be in part, what the job does not make."""
    with suppress(ValueError):
        finished = record.read_finished()
        return finished is not None and bool(finished.attached)
    return False
