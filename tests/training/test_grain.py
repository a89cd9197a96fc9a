"""Batches as a source of Grain, whose loaders go on where they were."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_store import numbered_store

import pipeline as pl

grain = pytest.importorskip("grain")

from pipeline.training.adaptors.grain import to_grain  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_store(tmp_path_factory.mktemp("grain"))


def loader(source: Any, workers: int, **options: Any) -> Any:
    sampler = grain.samplers.IndexSampler(len(source), num_epochs=1, **options)
    return grain.DataLoader(data_source=source, sampler=sampler, worker_count=workers)


def order(loop: Any) -> list[list[int]]:
    return [y.tolist() for _, y in loop]


def test_batches_come_in_their_order(store: Path) -> None:
    batches = pl.Batches(store, 8, shuffle=True)
    assert order(loader(to_grain(batches), 0)) == order(batches)
    assert order(grain.MapDataset.source(to_grain(batches)).to_iter_dataset()) == order(batches)


def test_windows_are_shuffled_by_grain_and_shared_by_shards(store: Path) -> None:
    source = to_grain(pl.Batches(store, batch_size=None, windows=range(74)))  # as many for each
    seen: list[int] = []
    for shard in range(2):
        of = grain.sharding.ShardOptions(shard, 2)
        part = [int(y) for _, y in loader(source, 0, shuffle=True, seed=1, shard_options=of)]
        assert part != sorted(part)
        seen += part
    assert sorted(seen) == list(range(74))


def test_a_loader_goes_on_with_a_source_made_anew(store: Path) -> None:
    def source() -> Any:
        return to_grain(pl.Batches(store, 8, shuffle=True))

    whole = order(loader(source(), 0))
    first = iter(loader(source(), 0))
    assert order(next(first) for _ in range(4)) == whole[:4]
    again = iter(loader(source(), 0))
    again.set_state(first.get_state())
    assert order(again) == whole[4:]


def test_the_repr_is_that_of_what_the_batches_follow_from(store: Path) -> None:
    def text(epoch: int = 0, **options: Any) -> str:
        batches = pl.Batches(store, shuffle=True, **options)
        batches.set_epoch(epoch)
        return repr(to_grain(batches))

    source = to_grain(pl.Batches(store, shuffle=True))
    assert repr(pickle.loads(pickle.dumps(source))) == repr(source) == text()
    others = [{"seed": 1}, {"batch_size": 8}, {"epoch": 1}, {"windows": range(9)}]
    others += [{"world_size": 2}, {"world_size": 2, "rank": 1}]
    assert len({text(), *(text(**other) for other in others)}) == 1 + len(others)


def test_a_source_that_was_pickled_gives_the_same(store: Path) -> None:
    source = to_grain(pl.Batches(store, 8, shuffle=True))
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again[3][0], source[3][0])


def test_windows_without_labels_are_x_alone(tmp_path: Path) -> None:
    made = pl.Batches(numbered_store(tmp_path, labelled=False), 8)
    assert np.array_equal(to_grain(made)[2], made[2][0])
