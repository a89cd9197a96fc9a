"""Batches for Grain.

Trap: Grain restores a state only if the `repr` of the source is as it was, so there is no address
in it, and all that the batches follow from.
"""

from __future__ import annotations

from typing import Any

from pipeline.training.adaptors.contract import NumberedBatches, known

try:
    from grain.sources import RandomAccessDataSource
except ImportError as error:
    raise ImportError(
        "to_grain needs grain, which is not installed; install dask-audio-pipeline[grain]"
    ) from error


def to_grain(batches: NumberedBatches) -> GrainBatches:
    """The batches, or windows if ``batch_size`` is None, of this epoch by their numbers."""
    return GrainBatches(batches)


class GrainBatches(RandomAccessDataSource[Any]):
    """Batches by their numbers."""

    def __init__(self, batches: NumberedBatches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, i: int) -> Any:
        return known(self._batches[i])

    def __repr__(self) -> str:
        b, state = self._batches, self._batches.state_dict()
        return (
            f"Batches({state['fingerprint']}, batch_size={b.batch_size}, seed={state['seed']}, "
            f"epoch={state['epoch']}, rank={b.rank}, world_size={b.world_size}, batches={len(b)})"
        )
