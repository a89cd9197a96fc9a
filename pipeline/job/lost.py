"""Lost recordings: those of a job that are no longer there, which it may go on without."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable

from pipeline.audio import Header
from pipeline.labels import Labels
from pipeline.paths import is_remote
from pipeline.record import Record
from pipeline.recordings import PathLike, Recording, Recordings, scan
from pipeline.settings import Settings
from pipeline.store import Store


def find_again(
    sources: Iterable[PathLike],
    record: Record,
    settings: Settings,
    progress: Callable[[int, int], None],
) -> Recordings:
    """The recordings of a job that was begun, in its order, with those that are lost.

    Parameters
    ----------
    sources : iterable of paths
        What they are searched at; such as are gone are passed over.
    record : Record
        Of the job, which says how long each recording was.
    settings : Settings
        Of the job.
    progress : callable
        As of `scan`.

    Raises
    ------
    ValueError, OSError
        As of `scan`.
    """
    known = {path: row for path, *row in record.inputs()}
    there = [source for source in sources if _may_be_there(os.fspath(source))]
    unreadable: list[tuple[str, str]] = []
    found: dict[str, Recording] = {}
    if there:
        scanned = scan(
            there, channel=settings.channel, samplerate=settings.samplerate, progress=progress
        )
        found = {item.path: item for item in scanned}
        unreadable = [item for item in scanned.unreadable if item[0] not in known]
    items = [
        found.pop(path) if path in found else _lost(path, row, settings)
        for path, row in known.items()
    ]
    return Recordings([*items, *found.values()], unreadable)


def _may_be_there(source: str) -> bool:
    return is_remote(source) or glob.has_magic(source) or os.path.exists(source)


def _lost(path: str, row: list[int], settings: Settings) -> Recording:
    size, modified, native, channels, n_samples, seekable = row
    header = Header(native, channels, n_samples, bool(seekable))
    rate = settings.samplerate or native
    return Recording(path, header, settings.channel, rate, size, modified, path, lost=True)


def labels_of(store: Store) -> Labels | None:
    """The labels that a store has, for those in lost recordings are lost with them."""
    values, classes = store.get("label"), store.get("class")
    if values is None:
        return None
    return Labels(values, None if classes is None else tuple(map(str, classes)))
