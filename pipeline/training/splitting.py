"""Splitting: the windows of a store in parts, of which none has what another has heard.

The part of a group is a function of the seed, the group's name and the fractions alone: a hash
of seed and name is a place between 0 and 1, on which the parts lie one after the other. So it
stays whatever else is in the store, and a part that grows takes groups from the next one only.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.checks import number, whole
from pipeline.steps import Step, unseen
from pipeline.store import Store, open_finished
from pipeline.training.order import Indices
from pipeline.training.recording_groups import By, StoredRecordings, check_by, chunks
from pipeline.training.sources import paths_of

NAME = re.compile(r"[A-Za-z0-9_.+@-]+")  # as CF has it of flag_meanings
MOST = 127  # parts, as int8 counts them
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Parts:
    """Parts by name, in their order, and which fraction of the groups each has, on average."""

    fractions: Mapping[str, float]
    seed: int = 0

    @classmethod
    def of(cls, parts: str | Mapping[str, float], seed: int) -> Self:
        """Of a mapping, or of a text such as train=.8,test=.2."""
        named = dict(_pairs(parts) if isinstance(parts, str) else parts)
        for name in named:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ValueError(
                    f"a part has the name {name!r}; a name has letters, digits and _.+@- only"
                )
        what = "above 0 and up to 1: the part's fraction of all groups"
        least = float(np.nextafter(0, 1))
        checked = {k: number(f"{k}, a part,", v, least, what, 1) for k, v in named.items()}
        total = sum(checked.values())
        if abs(total - 1) > TOLERANCE:
            raise ValueError(
                f"the fractions of the parts sum to {total:g}; they must sum to 1, such as "
                f"train=.8,valid=.1,test=.1"
            )
        if len(checked) > MOST:
            raise ValueError(f"there are {len(checked)} parts; at most {MOST} are allowed")
        return cls(checked, whole("seed", seed, 0, "from 0"))

    def of_group(self, group: str) -> int:
        """The number of the part that a group is in."""
        name = f"{self.seed} {group}".encode("utf-8", "surrogateescape")
        place = int.from_bytes(blake2b(name, digest_size=8).digest(), "big")
        *ends, _ = accumulate(self.fractions.values())
        return bisect_right([round(end * 2**64) for end in ends], place)


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    seen = set()
    for item in text.split(","):
        name, equals, fraction = (piece.strip() for piece in item.partition("="))
        try:
            value = float(fraction)
        except ValueError:
            value = np.nan
        if not (name and equals) or np.isnan(value):
            raise ValueError(
                f"parts has {item!r}; a part is NAME=FRACTION, such as train=.8,valid=.1,test=.1"
            )
        if name in seen:
            raise ValueError(f"parts has {name} twice; name each part once")
        seen.add(name)
        yield name, value


@dataclass(frozen=True, eq=False)
class Split:
    """The part of each recording of a store."""

    parts: Parts
    recordings: StoredRecordings
    groups: list[str | None]
    numbers: npt.NDArray[np.int8]  # of the part; 0 of recordings without windows, too

    @classmethod
    def of(cls, store: Store, parts: Parts, by: By, progress: Step = unseen) -> Self:
        recordings = StoredRecordings.of(store, progress)
        groups = recordings.groups(by)
        known = {group: parts.of_group(group) for group in {*groups} if group is not None}
        numbers = [0 if group is None else known[group] for group in groups]
        return cls(parts, recordings, groups, np.array(numbers, np.int8))

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[np.int8]]]:
        """Numbers of the parts of windows, some at a time, with the first of them."""
        for a, recording in chunks(self.recordings.store, "recording"):
            yield a, self.numbers[recording]

    def counts(self) -> dict[str, dict[str, Any]]:
        """What each part has come to."""
        windows = self.recordings.n_windows
        found = {}
        for i, (name, fraction) in enumerate(self.parts.fractions.items()):
            here = np.flatnonzero((self.numbers == i) & (windows > 0))
            found[name] = {
                "fraction": fraction,
                "windows": int(windows[here].sum()),
                "recordings": len(here),
                "groups": len({self.groups[r] for r in here.tolist()}),
            }
        return found


def split(
    b_or_path: Any, parts: Mapping[str, float], by: By = "recording", seed: int = 0
) -> dict[str, Indices]:
    """Split the windows of a store in parts, such that no group of recordings is cut.

    Parameters
    ----------
    b_or_path : path, sequence of paths, or Batches
        A store that `extract` has finished, or several, or the batches of such.
    parts : mapping of str to float
        Fraction of the groups that each part is to have; they sum to 1.
    by : {"recording", "site", "day"} or callable
        What a group is. Of a recording: its file name, without folders and ending, so that it
        keeps its part when it is moved or converted; those of one name in several folders are
        one group. A site is the last folder of the path. A day is that on which the recording
        begins, by the local time of its place. A callable gives the name of a path's group.
    seed : int
        Another seed, other parts.

    Returns
    -------
    dict of str to numpy.ndarray of int64
        By part, the numbers of its windows, sorted. Those of several stores are numbered one store
        after the other, as `Batches` does.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If it is not finished, or the parts are not allowed, or it is not known of which site or
        day a recording is.
    OSError
        If the store is damaged.

    Notes
    -----
    The part of a group hangs on nothing but its name, the seed, and the fractions in their order:
    it stays when other recordings are added, and is the same in each of several stores. So the
    fractions are met only on average, and of a few groups badly: look at how many windows came to
    each part.

    Windows of a recording stay together, so those that overlap do. Files that follow each other
    without a gap are recordings of their own by "recording", and may come to several parts:
    those of one night would be joined otherwise by what is between them, and a file added there
    would move others. Where neighbours sound alike, split by "day" or "site".
    """
    wanted = Parts.of(parts, seed)
    check_by(by)
    found: dict[str, list[Indices]] = {name: [] for name in wanted.fractions}
    start = 0  # of the store's windows among all
    for path in _paths_of(b_or_path):
        for numbers in (part for _, part in Split.of(open_finished(path), wanted, by).blocks()):
            for i, pieces in enumerate(found.values()):
                pieces.append(np.flatnonzero(numbers == i).astype(np.int64) + start)
            start += len(numbers)
    return {name: np.concatenate(pieces) for name, pieces in found.items()}


def _paths_of(b_or_path: Any) -> list[str | os.PathLike[str]]:
    """The paths of stores, or those that batches are of."""
    paths = paths_of(getattr(b_or_path, "stores", b_or_path))
    if not paths or not all(isinstance(path, str | os.PathLike) for path in paths):
        raise ValueError(
            f"{b_or_path!r} is to be split; pass the path of a store, or several, or Batches of "
            f"such"
        )
    return paths
