"""Batches as arrays of JAX, put ahead on a device; the state is that of what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_store import numbered_store

import pipeline as pl

jax = pytest.importorskip("jax")

from pipeline.training.adaptors.jax import to_jax  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_store(tmp_path_factory.mktemp("jax"))


def batches(store: Path, epoch: int = 0) -> pl.Batches:
    found = pl.Batches(store, 8, shuffle=True)
    found.set_epoch(epoch)
    return found


def order(loop: Any) -> list[list[int]]:
    return [y.tolist() for _, y in loop]


@pytest.mark.parametrize("ahead", [0, 2, 20])
def test_each_batch_comes_in_its_order_on_the_device(store: Path, ahead: int) -> None:
    device = jax.devices("cpu")[0]
    found = to_jax(batches(store), device, ahead)
    assert len(found) == 10
    for (X, y), (expected_X, expected_y) in zip(found, batches(store), strict=True):
        assert isinstance(X, jax.Array)
        assert X.devices() == {device}
        assert np.array_equal(X, expected_X)
        assert np.array_equal(y, expected_y)


def test_what_was_given_stays_while_memory_is_used_again(store: Path) -> None:
    kept = list(to_jax(batches(store)))
    for _ in range(3):
        list(to_jax(batches(store)))
    for (X, _), (expected, _) in zip(kept, batches(store), strict=True):
        assert np.array_equal(X, expected)


@pytest.mark.parametrize("ahead", [0, 2, 20])
def test_what_is_put_ahead_is_not_of_the_state(store: Path, ahead: int) -> None:
    whole = order(batches(store, epoch=1))
    for place in (0, 1, 5, 10):
        first = to_jax(batches(store), ahead=ahead)
        first.set_epoch(1)
        loop = iter(first)
        assert order(next(loop) for _ in range(place)) == whole[:place]
        again = to_jax(batches(store))
        again.load_state_dict(first.state_dict())
        assert again.state_dict() == first.state_dict()
        assert order(again) == whole[place:]
        again.set_epoch(2)
        assert order(again) == order(batches(store, epoch=2))


def test_windows_without_labels_are_x_alone(tmp_path: Path) -> None:
    made = pl.Batches(numbered_store(tmp_path, labelled=False), 8)
    for X, (expected, _) in zip(to_jax(made), made, strict=True):
        assert np.array_equal(X, expected)


def test_less_than_none_ahead_is_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="ahead"):
        to_jax(batches(store), ahead=-1)
