"""File names: many paths in little memory, and the one name of each file behind links."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
import numpy.typing as npt

from pipeline.paths import is_remote

DECODED_AT_ONCE = 4096  # paths, by iteration
ENDING = 8  # bytes of a path that its ending is looked for in


class Paths(Sequence[str]):
    """Paths in one buffer of UTF-8, which takes little more than their characters.

    A slice of step 1 is a view; it pickles with no more than its own paths.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        characters, ends = bytearray(), array("q", [0])
        for path in paths:
            # What is not UTF-8 in a name is a surrogate here.
            characters += path.encode("utf-8", "surrogatepass")
            ends.append(len(characters))
        self._characters = np.frombuffer(characters, np.uint8)
        self._ends = np.frombuffer(ends, np.int64)

    @classmethod
    def _of(cls, characters: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Paths:
        made = cls.__new__(cls)
        made._characters, made._ends = characters, ends
        return made

    def where(self, mask: npt.NDArray[np.bool_]) -> Paths:
        """The paths for which `mask`, of shape (path,), is true."""
        lengths = np.diff(self._ends)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[mask])])
        return self._of(self._characters[np.repeat(mask, lengths)], ends)

    def any_with(self, text: str) -> bool:
        """Whether a text is in any of the paths, or where one goes on in the next."""
        return text.encode() in self._characters.tobytes()

    def endings(self) -> Counter[str]:
        """How many paths have each ending, such as "wav"; "" of none, or of more than 7 letters.

        They are found in the buffer, for there may be millions.
        """
        ends = self._ends[:, np.newaxis] - self._ends[0]
        places = ends[1:] + np.arange(-ENDING, 0)
        text = self._characters[np.maximum(places, 0)]
        dots = (text == ord(".")) & (places >= ends[:-1])
        last = np.where(dots.any(axis=1), ENDING - np.argmax(dots[:, ::-1], axis=1), ENDING)
        text[np.arange(ENDING) < last[:, np.newaxis]] = 0
        found = Counter[str]()
        codes, counts = np.unique(text.view(np.uint64), return_counts=True)
        for code, count in zip(codes, counts.tolist(), strict=True):
            ending = code.tobytes().strip(b"\0").decode(errors="replace").lower()
            found["" if "/" in ending else ending] += count
        return found

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        first = int(self._ends[0])
        for low in range(0, len(self), DECODED_AT_ONCE):
            ends = (self._ends[low : low + DECODED_AT_ONCE + 1] - first).tolist()
            text = self._characters[ends[0] : ends[-1]].tobytes()
            for a, b in pairwise(ends):
                yield text[a - ends[0] : b - ends[0]].decode("utf-8", "surrogatepass")

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Paths: ...

    def __getitem__(self, index: int | slice) -> str | Paths:
        places = range(len(self))[index]
        if isinstance(places, int):
            (path,) = self._part(places, places + 1)
            return path
        if places.step != 1:
            return Paths(self[i] for i in places)
        return self._part(places.start, max(places.start, places.stop))

    def _part(self, start: int, stop: int) -> Paths:
        ends = self._ends[start : stop + 1]
        first, last = ends[[0, -1]] - self._ends[0]
        return self._of(self._characters[first:last], ends)


class FileNames:
    """The one name of each file, whatever links lead to it."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str) -> str:
        """The name of the file at a path: without links, or its URL."""
        if is_remote(path):
            return path
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)
