"""Starts: when each recording began, in UTC, of all that was said of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.grid import Indices
from pipeline.recordings.times import EPOCH, SECOND, Stamp, Template, offsets_at, zone_of

NAT = int(np.iinfo(np.int64).min)  # of a time that is not known
UNSAID = int(np.iinfo(np.int32).min)  # of an offset
STAMPS = np.dtype([("clock", np.int64), ("offset", np.int32)])
Stamps = npt.NDArray[Any]  # of STAMPS, one a recording
Remembered = tuple[Indices, npt.NDArray[np.int32]]  # starts, and offsets, as of `Starts`


@dataclass(frozen=True, eq=False)
class Starts:
    """When recordings began, in ns since 1970 in UTC; one of each a recording.

    Of `metadata`, what it says itself where it says so; `offset` are seconds that the clock on
    the spot was ahead of UTC, 0 where no start is known.
    """

    start: Indices
    offset: npt.NDArray[np.int32]
    metadata: Indices
    unzoned: int  # metadata without an offset, of no use without a time zone
    expanded: int  # recordings that play slower than what they recorded

    @property
    def known(self) -> bool:
        """Whether any is."""
        return bool((self.start != NAT).any())

    @property
    def clock(self) -> npt.NDArray[np.float64]:
        """When recordings began, in seconds since 1970 in UTC; NaN where that is not known."""
        return clock_of(self.start)


@dataclass(frozen=True)
class Said:
    """What is said of the times of recordings, before it is known which of it counts."""

    given: Stamps | None = None  # by the column of a manifest
    metadata: Stamps | None = None
    expanded: int = 0

    def of(self, numbers: Indices) -> "Said":
        """The same of some recordings; nothing is said of those with a number below 0."""
        given, metadata = (
            None if stamps is None else np.where(numbers < 0, no_stamps(1), stamps[numbers])
            for stamps in (self.given, self.metadata)
        )
        return Said(given, metadata, self.expanded)


def clock_of(start: Indices) -> npt.NDArray[np.float64]:
    """Times in ns as seconds; NaN of those that are not known."""
    return np.where(start == NAT, np.nan, start / SECOND)


def no_stamps(n: int) -> Stamps:
    """Stamps of recordings of which no time is known."""
    return np.full(n, np.array((NAT, UNSAID), STAMPS))


def stamp_row(stamp: Stamp | None) -> tuple[int, int]:
    """A stamp as a row of `STAMPS`."""
    if stamp is None:
        return NAT, UNSAID
    return stamp.clock, UNSAID if stamp.offset is None else stamp.offset


def find_starts(
    paths: Sequence[str],
    said: Said,
    templates: Sequence[str],
    timezone: str | None,
    remembered: Remembered | None = None,
) -> Starts:
    """When recordings began: by the manifest, else by name, or by metadata without templates.

    What is `remembered` of recordings that are lost, start and offset, counts before all. A
    ValueError if no name fits a template, or a time is not that of one moment.
    """
    metadata = no_stamps(len(paths)) if said.metadata is None else said.metadata
    named = no_stamps(len(paths)) if said.given is None else said.given.copy()
    if templates:
        _read_names(paths, templates, named)
    named = _placed(named, timezone, paths)
    placed = _placed(metadata, timezone)
    used = named if templates else np.where(named["clock"] == NAT, placed, named)
    start, offset = used["clock"].copy(), used["offset"].copy()
    if remembered is not None:
        lost = remembered[0] != NAT
        start[lost], offset[lost] = remembered[0][lost], remembered[1][lost]
    offset[start == NAT] = 0
    unzoned = int(np.count_nonzero((metadata["clock"] != NAT) & (placed["clock"] == NAT)))
    return Starts(start, offset, placed["clock"].copy(), unzoned, said.expanded)


def _read_names(paths: Sequence[str], templates: Iterable[str], named: Stamps) -> None:
    """Fill in what the names of files say where nothing was said before."""
    patterns = [Template(text) for text in templates]
    wanted = named["clock"] == NAT
    for i, path in enumerate(paths):
        if wanted[i]:
            name = path.rpartition("/")[2]
            stamps = (pattern.find(name) for pattern in patterns)
            named[i] = stamp_row(next((stamp for stamp in stamps if stamp), None))
    if wanted.any() and (named["clock"][wanted] == NAT).all():
        first = paths[int(np.argmax(wanted))]
        texts = ", ".join(pattern.text for pattern in patterns)
        raise ValueError(
            f"no file has a time in its name as {texts} says, also not {first}; pass a --datetime "
            f"that names are written by, or none"
        )


def _placed(stamps: Stamps, timezone: str | None, paths: Sequence[str] | None = None) -> Stamps:
    """Stamps in UTC; what the time zone leaves open is refused if there are paths, else unknown."""
    placed = stamps.copy()
    known = stamps["clock"] != NAT
    sure = known & (stamps["offset"] != UNSAID)
    zone = zone_of(timezone) if timezone else None
    fixed = zone.utcoffset(None) if zone else None  # None of one whose clocks are changed
    if fixed is not None:
        placed["offset"][known & ~sure] = round(fixed.total_seconds())
        sure = known
    for i in np.flatnonzero(known & ~sure).tolist():
        clock = int(stamps["clock"][i])
        offsets = offsets_at(clock, zone) if zone else set()
        if len(offsets) == 1:
            placed["offset"][i], sure[i] = offsets.pop(), True
        elif paths is not None:
            raise ValueError(f"{paths[i]} begins at {_open_question(clock, timezone, offsets)}")
    placed["clock"][sure] -= placed["offset"][sure].astype(np.int64) * SECOND
    placed[~sure] = no_stamps(1)
    return placed


def _open_question(clock: int, timezone: str | None, offsets: set[int]) -> str:
    time = (EPOCH + timedelta(seconds=clock // SECOND)).isoformat(" ")
    if timezone is None:
        return (
            f"{time}, and nothing says in which time zone; pass that of the recorder's clock, such "
            f"as --timezone UTC, +10:00 or Europe/Paris"
        )
    times = "twice" if offsets else "not at all"
    return (
        f"{time}, which comes {times} in {timezone}, where clocks are changed; pass the offset "
        f"that the recorder's clock had, such as --timezone +01:00"
    )


def window_times(start: Indices, samples: Indices, samplerate: int) -> Indices:
    """Times of samples of recordings that began at `start`, to the nearest nanosecond."""
    whole, rest = np.divmod(samples, samplerate)
    after = whole * SECOND + (2 * rest * SECOND + samplerate) // (2 * samplerate)
    return np.where(start == NAT, NAT, start + after)
