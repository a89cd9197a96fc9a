"""Batches as arrays of JAX, put ahead on a device; the state is that of what was given."""

from __future__ import annotations

from itertools import chain
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


@pytest.fixture(scope="module", params=["float32", "int16"])
def any_store(request: pytest.FixtureRequest, store: Path) -> Path:
    if request.param == "float32":
        return store
    out = store.with_name("coded.zarr")
    assert pl.extract(store.with_name("x.wav"), out, pl.Waveform(), dtype=request.param).ok
    return out


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


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_size": 3},
        {"batch_size": None},
        {"batch_size": 100},
        {"mix": 2, "batch_size": 7},
        {"weights": np.arange(75)},
        {"augment": lambda X, y, rng: (X * rng.random(dtype=np.float32), y)},
    ],
    ids=lambda settings: "-".join(map(str, settings)) or "default",
)
def test_jax_takes_features_without_a_copy_and_keeps_them(
    any_store: Path, settings: dict[str, Any]
) -> None:
    made = pl.Batches(any_store, **{"batch_size": 8, "shuffle": True, **settings})
    kept = []
    for batch in chain(made, [made[1 % len(made)]]):
        X = jax.device_put(batch[0], jax.devices("cpu")[0])
        assert X.unsafe_buffer_pointer() == batch[0].ctypes.data
        kept.append((X, batch[0].copy()))
        del batch
    for _ in range(2):
        list(made)  # in memory that is used again
    assert all(np.array_equal(X, expected) for X, expected in kept)


def test_windows_without_labels_are_x_alone(tmp_path: Path) -> None:
    made = pl.Batches(numbered_store(tmp_path, labelled=False), 8)
    for X, (expected, _) in zip(to_jax(made), made, strict=True):
        assert np.array_equal(X, expected)


def test_less_than_none_ahead_is_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="ahead"):
        to_jax(batches(store), ahead=-1)
