"""Batches for Keras 3, whatever its backend.

Traps: `fit` takes batches in an order of its own unless ``shuffle=False``. With several workers and
JAX, Keras gives the first batch of a `predict` last. What comes third in a batch, here `annotated`,
it takes as weights. A restored place in mid-epoch is no use to it: it begins with batch 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.training.adaptors.contract import NumberedBatches, known

try:
    import keras
except ImportError as error:
    raise ImportError(
        "to_keras needs keras, which is not installed; install dask-audio-pipeline[keras]"
    ) from error


def to_keras(batches: NumberedBatches, **options: Any) -> KerasBatches:
    """The batches as a `keras.utils.PyDataset`, which takes the options."""
    return KerasBatches(batches, **options)


class KerasBatches(keras.utils.PyDataset):
    """Batches in their order, of the next epoch when one has ended."""

    def __init__(self, batches: NumberedBatches, **options: Any) -> None:
        super().__init__(**options)
        self._batches = batches
        self._loop: Iterator[tuple[Any, ...]] | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        if self.workers > 1:
            return known(self._batches[index])
        if index == 0:
            self._batches.load_state_dict(self._batches.state_at(0))
            self._loop, self._next = iter(self._batches), 0
        if self._loop is None or index != self._next:
            return known(self._batches[index])
        self._next += 1  # one after the other, as they are read ahead
        return known(next(self._loop))

    def on_epoch_end(self) -> None:
        """Take the order of the next epoch."""
        self._batches.set_epoch(self._batches.state_dict()["epoch"] + 1)
