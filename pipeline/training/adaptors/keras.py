"""Batches for Keras 3, whatever its backend.

Traps: `fit` takes batches in an order of its own unless ``shuffle=False``. It looks at one or two
batches to build a model, and says then too that an epoch has ended. With several workers and JAX it
gives the first batch last, so there is one, and what it asks for in a row is read ahead here. What
comes third in a batch, here `annotated`, it takes as weights. It cannot begin
in mid-epoch: `train_on_batch` takes what is left of one.
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


def to_keras(batches: NumberedBatches) -> KerasBatches:
    """The batches as a `keras.utils.PyDataset`."""
    return KerasBatches(batches)


class KerasBatches(keras.utils.PyDataset):
    """Batches in their order, of the next epoch when one has ended."""

    def __init__(self, batches: NumberedBatches) -> None:
        super().__init__()
        self._batches = batches
        self._loop: Iterator[tuple[Any, ...]] | None = None
        self._next = 0  # the batch that the loop gives next
        self._given = 0  # how many batches of this epoch

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        self._given += 1
        if index == 0:
            self._batches.load_state_dict(self._batches.state_at(0))
            self._loop, self._next = iter(self._batches), 0
        if self._loop is None or index != self._next:
            return known(self._batches[index])
        self._next += 1  # one after the other, as they are read ahead
        return known(next(self._loop))

    def on_epoch_end(self) -> None:
        """Take the order of the next epoch, if all of this has come."""
        if self._given >= len(self):
            self._batches.set_epoch(self._batches.state_dict()["epoch"] + 1)
        self._given = 0
