"""Augmentation: windows changed at random, the same way whenever the same epoch is gone through."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.process import aligned
from pipeline.training.order import Indices

Array = npt.NDArray[Any]
Augment = Callable[[Array, Any, np.random.Generator], tuple[Array, Any]]


def augmented(
    augment: Augment, features: Array, y: Array | None, of: tuple[int, int], keys: Indices
) -> tuple[Array, Array | None]:
    """What is made of windows in an epoch, which `of` says by its seed and number.

    `keys` are numbers that each window is known by there, shape (window, number).
    """
    labels = [None] * len(features) if y is None else y
    made = [
        augment(x, label, generator_of(*of, *key))
        for x, label, key in zip(features, labels, keys.tolist(), strict=True)
    ]
    if not made:
        return features, y
    found, changed = zip(*made, strict=True)
    arrays = [np.asarray(item) for item in found]
    X = aligned((len(arrays), *arrays[0].shape), np.result_type(*arrays))
    np.stack(arrays, out=X)
    return X, None if y is None else np.stack([np.asarray(item) for item in changed])


def generator_of(*key: int) -> np.random.Generator:
    """Random numbers that are known by seed, epoch and window, whatever was drawn before."""
    sequence = np.random.SeedSequence(key)
    return np.random.Generator(np.random.Philox(sequence))
