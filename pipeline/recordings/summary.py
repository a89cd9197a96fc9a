"""Summary: what a notebook shows of recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.amounts import duration, size
from pipeline.html import LISTED, Section, Table
from pipeline.recordings.file_names import Paths
from pipeline.recordings.recording import Recording
from pipeline.recordings.starts import NAT, UNSAID, Said, Stamps
from pipeline.recordings.times import EPOCH, SECOND
from pipeline.text import counted

KINDS = 5  # of endings or numbers of channels that are told apart


def sections_of(
    first: Sequence[Recording],
    columns: npt.NDArray[Any],
    paths: Paths,
    said: Said,
    unreadable: Sequence[tuple[str, str]],
    passed_over: Sequence[tuple[str, int]],
) -> Iterator[Section]:
    """Facts of all recordings, and tables of the first and of those that cannot be read."""
    stamps = _stamps(said, len(columns))
    resampled = np.count_nonzero(columns["native"] != columns["samplerate"])
    lost = np.count_nonzero(columns["lost"])
    yield {
        "formats": _listed(
            (kind.upper() or "other", n) for kind, n in paths.endings().most_common()
        ),
        "channels": _listed(zip(*_counts(columns["channels"]), strict=True)),
        "resampled": f"{resampled:,}, from {_range(columns['native'])} Hz" if resampled else None,
        "on disk": size(int(columns["size"].sum())),
        "begin": _span(stamps),
        "lost": counted(int(lost), "recording") if lost else None,
        "not read": counted(len(unreadable), "file") if unreadable else None,
        "passed over": _listed(passed_over) if passed_over else None,
    }
    rows = [
        (
            *(i, item.path, duration(item.header.n_samples / item.header.samplerate)),
            *(f"{item.header.samplerate:,} Hz", item.header.channels, str(item.channel)),
            None if stamps is None else _time(stamps[i]),
        )
        for i, item in enumerate(first[:LISTED])
    ]
    head = "", "path", "length", "rate of file", "channels", "used", "begins"
    yield Table("Recordings", head, rows, len(columns))
    if unreadable:
        yield Table("Not read", ("path", "why"), unreadable, unfolded=True)


def _counts(values: npt.NDArray[Any]) -> tuple[list[str], list[int]]:
    kinds, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [*map(str, kinds[order])], counts[order].tolist()


def _listed(items: Any) -> str:
    """Kinds, and how many there are of each, unless all are of one."""
    found = [*items]
    if len(found) == 1:
        return str(found[0][0])
    more = f", and {len(found) - KINDS:,} more" if len(found) > KINDS else ""
    return ", ".join(f"{kind} ({n:,})" for kind, n in found[:KINDS]) + more or "none"


def _range(values: npt.NDArray[Any]) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _stamps(said: Said, n: int) -> Stamps | None:
    """When recordings began, by manifests or else metadata; None if that is said of none."""
    given, metadata = said.given, said.metadata
    if given is None or metadata is None:
        found = metadata if given is None else given
    else:
        found = np.where(given["clock"] == NAT, metadata, given)
    known = found is not None and len(found) == n and (found["clock"] != NAT).any()
    return found if known else None


def _span(stamps: Stamps | None) -> str | None:
    """From when to when, by the clocks of the recorders."""
    if stamps is None:
        return None
    known = stamps[stamps["clock"] != NAT]
    offset = np.where(known["offset"] == UNSAID, 0, known["offset"]).astype(np.int64)
    order = known["clock"] - offset * SECOND
    first, last = known[np.argmin(order)], known[np.argmax(order)]
    some = "" if len(known) == len(stamps) else f"; known of {len(known):,}"
    return f"{_time(first)} to {_time(last)}{some}"


def _time(stamp: Any) -> str | None:
    clock, offset = int(stamp["clock"]), int(stamp["offset"])
    if clock == NAT:
        return None
    time = EPOCH + timedelta(seconds=clock // SECOND)
    if offset == UNSAID:
        return f"{time} (no time zone)"
    return str(time.replace(tzinfo=timezone(timedelta(seconds=offset)) if offset else UTC))
