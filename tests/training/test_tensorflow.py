"""Batches as a tf.data.Dataset with their signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_store import N, numbered_store

import pipeline as pl

pytest.importorskip("tensorflow")

from pipeline.training.adaptors.tensorflow import to_tensorflow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_store(tmp_path_factory.mktemp("tensorflow"))


def order(loop: Any) -> list[list[int]]:
    return [y.tolist() for _, y in loop]


def test_batches_come_in_their_order_and_each_epoch_anew(store: Path) -> None:
    batches = pl.Batches(store, 8, shuffle=True)
    data = to_tensorflow(batches)
    for epoch in range(2):
        batches.set_epoch(epoch)
        found = list(data.as_numpy_iterator())
        for (X, y), (expected_X, expected_y) in zip(found, batches, strict=True):
            assert X.dtype == expected_X.dtype
            assert np.array_equal(X, expected_X)
            assert np.array_equal(y, expected_y)


def test_the_signature_leaves_only_the_size_of_a_batch_open(store: Path) -> None:
    X = pl.Batches(store, 8)[0][0]
    found_X, found_y = to_tensorflow(pl.Batches(store, 8)).element_spec
    assert found_X.shape.as_list() == [None, *X.shape[1:]]
    assert found_y.shape.as_list() == [None]
    assert found_X.dtype.as_numpy_dtype == X.dtype
    found_X, found_y = to_tensorflow(pl.Batches(store, batch_size=None)).element_spec
    assert found_X.shape.as_list() == [*X.shape[1:]]
    assert found_y.shape.as_list() == []


def test_a_place_is_gone_on_at(store: Path) -> None:
    batches = pl.Batches(store, 8, shuffle=True)
    loop = to_tensorflow(batches).as_numpy_iterator()
    seen = order(next(loop) for _ in range(4))
    again = pl.Batches(store, 8, shuffle=True)
    again.load_state_dict(batches.state_at(4))
    seen += order(to_tensorflow(again).as_numpy_iterator())
    assert seen == order(pl.Batches(store, 8, shuffle=True))


def test_single_windows_are_batched_by_tensorflow(store: Path) -> None:
    data = to_tensorflow(pl.Batches(store, batch_size=None)).batch(10)
    assert [t for y in order(data.as_numpy_iterator()) for t in y] == list(range(N))


def test_windows_without_labels_are_x_alone(tmp_path: Path) -> None:
    made = pl.Batches(numbered_store(tmp_path, labelled=False), 8)
    for X, (expected, _) in zip(to_tensorflow(made).as_numpy_iterator(), made, strict=True):
        assert np.array_equal(X, expected)


def test_no_batch_is_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="no batch"):
        to_tensorflow(pl.Batches(store, 80, drop_last=True))
