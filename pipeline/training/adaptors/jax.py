"""Batches for JAX.

Trap: without ``jax_enable_x64`` labels of 64 bits become such of 32.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.checks import whole
from pipeline.training.adaptors.contract import NumberedBatches, known

try:
    import jax
except ImportError as error:
    raise ImportError(
        "to_jax needs jax, which is not installed; install dask-audio-pipeline[jax]"
    ) from error


def to_jax(batches: NumberedBatches, device: Any = None, ahead: int = 2) -> JaxBatches:
    """The batches as arrays on a device, or by a sharding; so many are put there ahead."""
    return JaxBatches(batches, device, whole("ahead", ahead, 0, "of batches from 0"))


class JaxBatches:
    """Batches in their order on a device; the state is that of those that were given."""

    def __init__(self, batches: NumberedBatches, device: Any, ahead: int) -> None:
        self._batches, self._device, self._ahead = batches, device, ahead
        self._state: dict[str, Any] | None = None  # between two batches of a loop

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        self._state = self._batches.state_dict()
        return self._put(iter(self._batches))

    def _put(self, batches: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
        waiting: deque[tuple[Any, dict[str, Any]]] = deque()
        for batch in batches:
            state = self._batches.state_dict()
            waiting.append((jax.device_put(known(batch), self._device), state))
            if len(waiting) > self._ahead:
                batch, self._state = waiting.popleft()
                yield batch
        while waiting:
            batch, self._state = waiting.popleft()
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch."""
        self._batches.set_epoch(epoch)
        self._state = None

    def state_dict(self) -> dict[str, Any]:
        """The place that the last loop is at."""
        return self._state or self._batches.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next loop go on at the place of `state_dict`."""
        self._batches.load_state_dict(state)
        self._state = None
