"""Batches for tf.data.

Traps: the generator runs in this process, and its place is in no checkpoint of TensorFlow, which
takes batches ahead even if nobody asks for it: `state_dict` is ahead too, and the place after i
batches of an epoch is ``state_at(i)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.training.adaptors.contract import NumberedBatches, known

try:
    import tensorflow
except ImportError as error:
    raise ImportError(
        "to_tensorflow needs tensorflow, which is not installed; install "
        "dask-audio-pipeline[tensorflow]"
    ) from error


def to_tensorflow(batches: NumberedBatches) -> Any:
    """A `tf.data.Dataset` of the batches, which each loop over it begins anew or goes on with."""
    if not len(batches):
        raise ValueError("there is no batch, so no signature; pass more windows")

    def generate() -> Iterator[Any]:
        return map(known, batches)

    first = known(batches[0])
    whole = batches.batch_size is None
    signature = (
        tuple(_signature(item, whole) for item in first)
        if isinstance(first, tuple)
        else _signature(first, whole)
    )
    return tensorflow.data.Dataset.from_generator(generate, output_signature=signature)


def _signature(item: Any, whole: bool) -> Any:
    """Shape and dtype of an item; a batch may be short."""
    shape = np.shape(item) if whole else (None, *np.shape(item)[1:])
    return tensorflow.TensorSpec(shape, np.asarray(item).dtype)
