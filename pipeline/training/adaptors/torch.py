"""Batches for PyTorch.

Traps: each worker of a DataLoader has a copy of the data set, which a later `set_epoch` does not
reach while workers persist, so the place is in shared memory. Workers are asked in turn, from
worker 0 on wherever the epoch begins. A StatefulDataLoader restores a state when its loop begins,
after the loop's own `set_epoch`, also one at the end of an epoch, and then begins the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.training.adaptors.contract import NumberedBatches, known

try:
    import torch
    from torch import distributed
    from torch.utils.data import Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise ImportError(
        "to_torch needs torch, which is not installed; install dask-audio-pipeline[torch]"
    ) from error

EPOCH, SAMPLES, LOADED, TAKEN = range(4)
NOBODY = -1


def to_torch(batches: NumberedBatches, map_style: bool = False) -> TorchBatches | TorchWindows:
    """A data set of the batches, for a DataLoader with ``batch_size=None``, or of the windows."""
    if map_style:
        return TorchWindows(batches)
    if batches.world_size == 1 and distributed.is_available() and distributed.is_initialized():
        batches = batches.of_rank(distributed.get_rank(), distributed.get_world_size())
    return TorchBatches(batches)


class TorchBatches(IterableDataset[Any]):
    """Batches as tensors, in their order; workers share them, and none comes twice."""

    def __init__(self, batches: NumberedBatches) -> None:
        self._batches = batches
        state = batches.state_dict()
        # The epoch, the place in it that is to go on at, the how manyth such place that is, and
        # the loop that has begun there; workers of one loop have one seed, less their number.
        place = torch.tensor([state["epoch"], state["samples"], 1, NOBODY])
        self._place = place.share_memory_()
        self._loaded = 0  # the last place that this worker has begun at
        self._next: int | None = None  # the batch that this worker gives next
        self._resumed = False

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def sampler(self) -> TorchBatches:
        """Itself: Lightning calls `set_epoch` on the sampler of a loader."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch, in persistent workers too."""
        self._batches.set_epoch(epoch)
        if epoch != self._place[EPOCH]:
            self._place[EPOCH], self._place[SAMPLES] = epoch, 0

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        if worker is None:
            self._place[SAMPLES] = 0
            return map(tensors, self._batches)
        if not self._resumed:
            self._next = self._first(worker.seed - worker.id) + worker.id
        self._resumed = False
        return self._every(worker.num_workers)

    def _first(self, loop: int) -> int:
        """The batch that a loop of all workers begins with."""
        epoch, samples, loaded, taken = self._place.tolist()
        if taken == NOBODY:  # to any worker of this loop
            self._place[TAKEN] = taken = loop
        if loaded == self._loaded or taken != loop:
            samples = 0
        self._loaded = loaded
        self._batches.set_epoch(epoch)
        return self._batch_at(samples)

    def _batch_at(self, samples: int) -> int:
        step = (self._batches.batch_size or 1) * self._batches.world_size
        if samples % step and samples != self._batches.state_at(len(self))["samples"]:
            raise ValueError(
                f"the state is at sample {samples}, amid a batch of {step}; workers share whole "
                f"batches, so take the batch size that the state is of"
            )
        return -(-samples // step)

    def _every(self, step: int) -> Iterator[Any]:
        assert self._next is not None
        for i in range(self._next, len(self), step):
            self._next = i + step
            yield tensors(self._batches[i])

    def state_dict(self) -> dict[str, Any]:
        """The place that the last loop is at, or this worker of it."""
        worker = get_worker_info()
        if worker is None:
            return self._batches.state_dict()
        assert self._next is not None
        return {**self._batches.state_at(self._next), "worker": _name(worker)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next loop go on at the place of `state_dict`."""
        worker, now = get_worker_info(), int(self._place[EPOCH])
        of = state.get("worker")
        if of != _name(worker):
            raise ValueError(
                f"the state is that of {of or 'a loop without workers'}; pass it to a "
                f"StatefulDataLoader with as many workers"
            )
        self._batches.load_state_dict(state)
        if (
            state["epoch"] < now
            and state["samples"] == self._batches.state_at(len(self))["samples"]
        ):
            return self._batches.set_epoch(now)  # all of that epoch has come
        first = self._batch_at(state["samples"])
        if worker is not None:
            self._next, self._resumed = first, True
            return None
        loaded = int(self._place[LOADED]) + 1
        self._place[:] = torch.tensor([state["epoch"], state["samples"], loaded, NOBODY])
        return None


class TorchWindows(Dataset[Any]):
    """Windows as tensors, for samplers of one's own; a list of numbers is one batch."""

    def __init__(self, batches: NumberedBatches) -> None:
        self._batches, self._selected = batches, batches.selected
        self._epoch = torch.tensor(batches.state_dict()["epoch"]).share_memory_()

    def __len__(self) -> int:
        return len(self._selected)

    def set_epoch(self, epoch: int) -> None:
        """What `augment` draws is of this epoch, in persistent workers too."""
        self._batches.set_epoch(epoch)
        self._epoch.fill_(epoch)

    def __getitem__(self, i: int | Sequence[int]) -> Any:
        if isinstance(i, Sequence):
            return self._read(i)
        return self.__getitems__([i])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        batch = self._read(numbers)
        return list(zip(*batch, strict=True) if isinstance(batch, tuple) else batch)

    def _read(self, numbers: Sequence[int]) -> Any:
        self._batches.set_epoch(int(self._epoch))
        return tensors(self._batches.read(self._selected[np.asarray(numbers, np.int64)]))


def tensors(batch: tuple[Any, ...]) -> Any:
    """X and y, or X alone, as tensors of the same memory."""
    found = known(batch)
    if isinstance(found, tuple):
        return tuple(torch.from_numpy(np.asarray(item)) for item in found)
    return torch.from_numpy(np.asarray(found))


def _name(worker: Any) -> str | None:
    return None if worker is None else f"worker {worker.id} of {worker.num_workers}"
