"""The order in which windows come: a value, the same wherever it is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Order"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """The order of all windows in one epoch; ``order[a:b]`` are the windows at these places.

    Parameters
    ----------
    n : int
        Windows in all.
    shuffle : bool
        Whether the order is random.
    seed, epoch : int
        What a random order follows from.
    mix : int, optional
        How many shards are shuffled among each other, where not all windows are.
    shard : int
        Windows in a shard.
    """

    n: int
    shuffle: bool = False
    seed: int = 0
    epoch: int = 0
    mix: int | None = None
    shard: int = 1

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, places: slice) -> Indices:
        if not self.shuffle:
            return np.arange(*places.indices(self.n))
        return self._shuffled[0][places].copy()

    @property
    def mixtures(self) -> list[int]:
        """The places where the windows of each `mix` shards end."""
        return self._shuffled[1]

    @cached_property
    def _shuffled(self) -> tuple[Indices, list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.mix is None:
            return rng.permutation(self.n), [self.n]
        shards = rng.permutation(-(-self.n // self.shard))
        mixtures = []
        for some in np.split(shards, range(self.mix, len(shards), self.mix)):
            windows = (some[:, None] * self.shard + np.arange(self.shard)).ravel()
            mixtures.append(rng.permutation(windows[windows < self.n]))
        return np.concatenate(mixtures), np.cumsum([len(windows) for windows in mixtures]).tolist()
