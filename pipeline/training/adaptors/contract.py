"""What the adaptors ask of batches, and what frameworks can take of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from pipeline.training.order import Indices


class NumberedBatches(Protocol):
    """Batches by number and in a loop, with a state; `Batches` is what is meant."""

    batch_size: int | None
    rank: int
    world_size: int

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> tuple[Any, ...]: ...

    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...

    def read(self, windows: npt.ArrayLike) -> tuple[Any, ...]:
        """A batch of any windows."""

    @property
    def selected(self) -> Indices:
        """Numbers of the windows that come, in their order without shuffle."""

    def of_rank(self, rank: int, world_size: int) -> NumberedBatches:
        """The same batches, of one of several processes."""

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch."""

    def state_dict(self) -> dict[str, Any]:
        """The place that the last loop is at."""

    def state_at(self, i: int) -> dict[str, Any]:
        """The place before batch `i` of this epoch."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next loop go on at a place."""


def known(batch: tuple[Any, ...]) -> Any:
    """X and what there is of labels, or X alone; frameworks take no None."""
    there = tuple(item for item in batch if item is not None)
    return there if len(there) > 1 else there[0]
