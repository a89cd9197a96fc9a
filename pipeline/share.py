"""The share: which regions of a job one of several runs computes."""

import re
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Share:
    """The share of this number, from 0, of `count` that are as equal as they can be."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"share is {self.index}/{self.count}; it must be I/N, with I from 0 to N-1"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The share that is written as ``I/N``."""
        if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
            raise ValueError(f"share is {text!r}; it must be I/N, with I from 0 to N-1")
        index, _, count = text.partition("/")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def bounds(self, n: int) -> tuple[int, int]:
        """The first of the share's regions, of `n`, and the one after its last.

        They follow each other, as some formats can only be decoded forwards.
        """
        return self.index * n // self.count, (self.index + 1) * n // self.count
