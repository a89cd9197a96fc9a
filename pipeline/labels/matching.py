"""Matching: which recording a label file means by a name, or by its own name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

NONE, UNREAD = -1, -2  # in place of the number of a recording
# Words that people and tools put behind the name of a recording.
ADDED = re.compile(r"[-_ ](labels?|annotations?|annotated|events?|selections?)$", re.IGNORECASE)


class Index:
    """Recordings by the names that label files may have for them.

    A name fits a recording of the same file name or, if there is none, of the same but for its
    case or its ending. Of several that fit, that with most folders in common holds, counted from
    the file's end: paths of other machines begin otherwise.
    """

    def __init__(self, locations: Iterable[str], unread: Iterable[str]) -> None:
        self._paths = [*locations]
        self._n_read = len(self._paths)
        self._paths += unread
        self._by_stem: dict[str, list[int]] = {}
        for number, path in enumerate(self._paths):
            stem = os.path.splitext(path.rpartition("/")[2])[0]
            self._by_stem.setdefault(stem.casefold(), []).append(number)

    def match(self, names: Sequence[str], where: Sequence[str]) -> npt.NDArray[np.int32]:
        """The recording of each name; a ValueError that says `where` a name is that fits several.

        Of names with different folders that fit one recording, that holds which has more in common
        with it: the others are of recordings that are not there.
        """
        found = np.full(len(names), NONE, np.int32)
        best: dict[int, tuple[int, int]] = {}  # by recording: the name, and what is in common
        for i, name in enumerate(names):
            parts = _parts(name)
            number, common = self._choose(parts, self._named(parts[-1]), f"{where[i]}: {name!r}")
            if number == NONE:
                continue
            found[i] = number if number < self._n_read else UNREAD
            if len(parts) == 1 or number >= self._n_read:
                continue
            other, most = best.setdefault(number, (i, common))
            if other == i or _is_tail(parts, _parts(names[other])):
                continue
            if most == common:
                raise ValueError(
                    f"{where[i]}: {name!r} and {names[other]!r} both fit "
                    f"{self._paths[number]}; pass the recordings of both, or rename one"
                )
            found[i if common < most else other] = NONE
            if common > most:
                best[number] = (i, common)
        return found

    def match_files(self, files: Sequence[str]) -> npt.NDArray[np.int32]:
        """The recording that each label file is named after."""
        found = np.full(len(files), NONE, np.int32)
        for i, file in enumerate(files):
            parts = _parts(file)
            for name in _shorter(parts[-1]):
                if fitting := self._named(name):
                    number, _ = self._choose([*parts[:-1], name], fitting, file)
                    found[i] = number if number < self._n_read else UNREAD
                    break
        if len(files) == 1 == self._n_read and found[0] == NONE:
            found[0] = 0
        return found

    def _named(self, name: str) -> list[int]:
        """The recordings that a file name fits best."""
        low = name.casefold()
        fitting = {*self._by_stem.get(low, ()), *self._by_stem.get(os.path.splitext(low)[0], ())}
        if len(fitting) < 2:
            return [*fitting]
        bases = {number: self._paths[number].rpartition("/")[2] for number in fitting}
        stems = {number: os.path.splitext(base)[0] for number, base in bases.items()}
        for those, fold in ((bases, False), (bases, True), (stems, False), (stems, True)):
            wanted = low if fold else name
            some = [n for n, text in those.items() if (text.casefold() if fold else text) == wanted]
            if some:
                return some
        return [*fitting]

    def _choose(self, parts: list[str], fitting: list[int], what: str) -> tuple[int, int]:
        """Of recordings that fit, that with most folders in common, and how many these are."""
        common = [_in_common(parts[:-1], _parts(self._paths[n])[:-1]) for n in fitting]
        most = max(common, default=0)
        best = [number for number, n in zip(fitting, common, strict=True) if n == most]
        if len(best) > 1:
            one, other = (self._paths[number] for number in sorted(best)[:2])
            raise ValueError(
                f"{what} fits several recordings, {one} and {other}; name more of its folders, "
                f"or leave one of them out"
            )
        return (best[0], most) if best else (NONE, 0)


def _parts(path: str) -> list[str]:
    """Folders and file name, of whatever system they are; at least a name."""
    return [part for part in re.split(r"[\\/]+", path) if part not in ("", ".")] or [""]


def _in_common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _is_tail(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two paths may be of one file: one of them ends as all of the other."""
    n = min(len(one), len(other))
    return one[-n:] == other[-n:]


def _shorter(name: str) -> list[str]:
    """The names that a label file may be named after, longest first."""
    ends = [match.start() for match in re.finditer(r"\.", name)][::-1]
    names = [name, *(name[:end] for end in ends if end)]
    return [form for name in names for form in (name, ADDED.sub("", name))]
