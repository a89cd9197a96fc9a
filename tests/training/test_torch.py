"""Data sets of PyTorch: workers and ranks share the batches, and a resume goes on with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_store import N, numbered_store

import pipeline as pl

torch = pytest.importorskip("torch")
from torch.utils import data  # noqa: E402

from pipeline.training.adaptors.torch import tensors, to_torch  # noqa: E402

SIZE, BATCHES = 8, 10
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*set_vital.*:UserWarning"),  # torchdata calls it
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # few cores
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_store(tmp_path_factory.mktemp("torch"))


def batches(store: Path, epoch: int = 0, **options: Any) -> pl.Batches:
    found = pl.Batches(store, SIZE, shuffle=True, **options)
    found.set_epoch(epoch)
    return found


def order(loop: Any) -> list[list[int]]:
    """The windows of each batch."""
    return [y.tolist() for _, y in loop]


def loader(dataset: Any, workers: int, **options: Any) -> Any:
    return data.DataLoader(dataset, batch_size=None, num_workers=workers, **options)


@pytest.mark.parametrize(
    ("workers", "context"), [(0, None), (1, "fork"), (3, "fork"), (1, "spawn")]
)
def test_workers_share_the_batches_in_their_order(
    store: Path, workers: int, context: str | None
) -> None:
    found = loader(to_torch(batches(store)), workers, multiprocessing_context=context)
    assert len(found) == BATCHES
    for (X, y), (expected_X, expected_y) in zip(found, batches(store), strict=True):
        assert X.dtype == torch.float32
        assert np.array_equal(X.numpy(), expected_X)
        assert np.array_equal(y.numpy(), expected_y)


def test_more_workers_than_batches(store: Path) -> None:
    some = batches(store, windows=np.arange(10))
    assert order(loader(to_torch(some), 4)) == order(some)


def test_tensors_are_of_the_same_memory(store: Path) -> None:
    batch = batches(store)[0]
    for tensor, array in zip(tensors(batch), batch, strict=True):
        assert np.shares_memory(tensor.numpy(), array)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_follow_set_epoch(store: Path, persistent: bool) -> None:
    dataset = to_torch(batches(store))
    found = loader(dataset, 2, persistent_workers=persistent)
    for epoch in (0, 3, 3, 1):
        dataset.set_epoch(epoch)
        assert order(found) == order(batches(store, epoch))


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_place_is_gone_on_at_once(store: Path, workers: int, persistent: bool) -> None:
    whole = order(batches(store, epoch=2))
    dataset = to_torch(batches(store))
    found = loader(dataset, workers, persistent_workers=persistent and workers > 0)
    assert order(found) == order(batches(store))
    for place in (3, 4):
        state = batches(store, epoch=2).state_dict() | {"samples": place * SIZE}
        dataset.load_state_dict(state)
        assert order(found) == whole[place:]
        assert order(found) == whole


def test_a_place_amid_a_batch_is_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="amid a batch of 8"):
        to_torch(batches(store)).load_state_dict(batches(store).state_dict() | {"samples": 3})


def test_the_state_of_a_worker_is_not_that_of_a_loop(store: Path) -> None:
    state = batches(store).state_dict() | {"worker": "worker 1 of 2"}
    with pytest.raises(ValueError, match="worker 1 of 2"):
        to_torch(batches(store)).load_state_dict(state)


def test_windows_without_labels_are_x_alone(tmp_path: Path) -> None:
    made = pl.Batches(numbered_store(tmp_path, labelled=False), SIZE)
    found = list(loader(to_torch(made), 2))
    assert np.array_equal(torch.cat(found).numpy(), np.concatenate([X for X, _ in made]))
    windows = data.DataLoader(to_torch(made, map_style=True), batch_size=SIZE)
    assert torch.equal(torch.cat(list(windows)), torch.cat(found))


def test_what_was_annotated_comes_third(store: Path) -> None:
    X, y, annotated = next(iter(loader(to_torch(batches(store, annotated=True)), 0)))
    assert annotated.dtype == torch.bool
    assert annotated.shape == y.shape
    assert len(X) == SIZE


def test_single_windows(store: Path) -> None:
    dataset = to_torch(pl.Batches(store, batch_size=None))
    assert [int(y) for _, y in loader(dataset, 2)] == list(range(N))
    collated = data.DataLoader(dataset, batch_size=10)
    assert [len(y) for _, y in collated] == [10] * 7 + [5]


def test_samplers_take_windows(store: Path) -> None:
    windows = to_torch(pl.Batches(store), map_style=True)
    assert len(windows) == N
    assert [int(y) for _, y in windows] == list(range(N))
    X, y = windows[-1]
    assert int(y) == N - 1
    assert np.array_equal(X.numpy(), pl.Batches(store, N)[0][0][-1])
    train, rest = data.random_split(windows, [50, 25])
    seen = [t for part in (train, rest) for t in order(data.DataLoader(part, 8, shuffle=True))]
    assert sorted(t for y in seen for t in y) == list(range(N))
    weights = torch.arange(N) == 7
    sampler = data.WeightedRandomSampler(weights.double(), 10)
    assert order(data.DataLoader(windows, 10, sampler=sampler, num_workers=1)) == [[7] * 10]


def test_a_list_of_windows_is_one_batch(store: Path) -> None:
    some = np.arange(10, 30)
    windows = to_torch(pl.Batches(store, windows=some), map_style=True)
    sampler = data.BatchSampler(data.SequentialSampler(windows), SIZE, drop_last=False)
    found = order(loader(windows, 2, sampler=sampler))
    assert found == [[*range(10, 18)], [*range(18, 26)], [*range(26, 30)]]


def test_windows_are_augmented_anew_in_each_epoch(store: Path) -> None:
    made = pl.Batches(store, augment=lambda X, y, rng: (X * 0 + rng.random(), y))
    windows = to_torch(made, map_style=True)
    found = data.DataLoader(windows, 8, num_workers=1, persistent_workers=True)
    seen = []
    for epoch in (0, 1, 0):
        windows.set_epoch(epoch)
        seen.append(torch.cat([X for X, _ in found]))
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_a_stateful_loader_goes_on_in_mid_epoch(
    store: Path, workers: int, persistent: bool
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    options = {"num_workers": workers, "persistent_workers": persistent and workers > 0}

    def made(epoch: int) -> tuple[Any, Any]:
        dataset = to_torch(batches(store))
        dataset.set_epoch(epoch)
        return dataset, stateful.StatefulDataLoader(dataset, batch_size=None, **options)

    whole = order(batches(store, epoch=1))
    for place in range(1, BATCHES + 1, 3):
        _, first = made(1)
        loop = iter(first)
        assert order(next(loop) for _ in range(place)) == whole[:place]
        state = first.state_dict()
        del loop
        dataset, again = made(1)
        again.load_state_dict(state)
        assert order(again) == whole[place:]
        dataset.set_epoch(2)
        assert order(again) == order(batches(store, epoch=2))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_goes_on_with_the_next_epoch(store: Path, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    first = stateful.StatefulDataLoader(to_torch(batches(store)), None, num_workers=workers)
    assert order(first) == order(batches(store))
    dataset = to_torch(batches(store))
    again = stateful.StatefulDataLoader(dataset, None, num_workers=workers)
    again.load_state_dict(first.state_dict())
    dataset.set_epoch(1)
    assert order(again) == order(batches(store, epoch=1))


RANK = """
import json, os, signal, sys, zlib
import pipeline as pl
from pipeline.training.adaptors.torch import to_torch
from torch import distributed
from torch.utils.data import DataLoader

store, folder, size, rank, world, stop = *sys.argv[1:3], *map(int, sys.argv[3:])
distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=world)
dataset = to_torch(pl.Batches(store, size, shuffle=True))
assert len(dataset) == 10
if os.path.exists(f"{folder}/state"):
    dataset.load_state_dict(json.load(open(f"{folder}/state")))
for place, (X, y) in enumerate(DataLoader(dataset, batch_size=None)):
    with open(f"{folder}/seen", "a") as file:
        for row, window in zip(X, y, strict=True):
            file.write(f"{window} {zlib.crc32(row.numpy())}\\n")
    distributed.barrier()
    if place + 1 == stop:
        if rank == 0:
            json.dump(dataset.state_dict(), open(f"{folder}/state", "w"))
        distributed.barrier()
        os.kill(os.getpid(), signal.SIGKILL)
distributed.destroy_process_group()
"""


def run_ranks(store: Path, folder: Path, world: int, stop: int) -> list[int]:
    (folder / "meeting").unlink(missing_ok=True)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RANK]
            + [str(v) for v in (store, folder, SIZE // world, rank, world, stop)],
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(world)
    ]
    return [process.wait(60) for process in running]


def test_ranks_that_were_killed_go_on_as_more_or_fewer(store: Path, tmp_path: Path) -> None:
    assert run_ranks(store, tmp_path, 2, 4) == [-signal.SIGKILL] * 2
    assert run_ranks(store, tmp_path, 1, 0) == [0]
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    X, y = pl.Batches(store, N)[0]
    expected = {str(t): str(zlib.crc32(row)) for row, t in zip(X, y, strict=True)}
    assert len(seen) == N
    assert dict(seen) == expected
