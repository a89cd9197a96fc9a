"""The share: which regions of a job one of several runs does."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """One of `count` parts of a job, as equal as they can be.

    Parameters
    ----------
    index : int
        Which one, from 0 to `count` - 1.
    count : int
        How many there are.

    Raises
    ------
    ValueError
        If there is no such share.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"share is {self.index}/{self.count}; it must be I/N, with I from 0 to N-1"
            )

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share that is written as ``I/N``.

        Raises
        ------
        ValueError
            If it is written otherwise, or there is no such share.
        """
        if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
            raise ValueError(f"share is {text!r}; it must be I/N, with I from 0 to N-1")
        index, _, count = text.partition("/")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def bounds(self, n: int) -> tuple[int, int]:
        """First of `n` regions that is in the share, and the one after the last.

        They follow each other, for some formats can only be decoded forwards.
        """
        return self.index * n // self.count, (self.index + 1) * n // self.count
