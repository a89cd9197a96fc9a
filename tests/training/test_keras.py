"""Batches as a PyDataset of Keras: each in its order, the next epoch when one has ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_store import N, numbered_store

import pipeline as pl

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip(os.environ["KERAS_BACKEND"])
keras = pytest.importorskip("keras")

from pipeline.training.adaptors.keras import to_keras  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # Keras


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_store(tmp_path_factory.mktemp("keras"))


def test_it_is_sized_and_indexed_as_batches(store: Path) -> None:
    batches = pl.Batches(store, 8, shuffle=True)
    data = to_keras(batches)
    assert len(data) == len(batches) == 10
    for i in (0, 9, 3):
        for item, expected in zip(data[i], batches[i], strict=True):
            assert np.array_equal(item, expected)


def noting(seen: list[list[int]]) -> Any:
    """A model that notes the windows that come."""

    class Windows(keras.losses.Loss):  # type: ignore[misc, unused-ignore]
        """Notes the windows that come, by their labels."""

        def call(self, y: Any, predicted: Any) -> Any:
            seen.append(keras.ops.convert_to_numpy(y).astype(int).ravel().tolist())
            return keras.ops.mean(predicted)

    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(loss=Windows(), run_eagerly=True)
    return model


def order(store: Path, epochs: int) -> list[list[int]]:
    batches, found = pl.Batches(store, 8, shuffle=True), []
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        found += [y.tolist() for _, y in batches]
    return found


def test_fit_takes_every_window_once_an_epoch(store: Path) -> None:
    seen: list[list[int]] = []
    data = to_keras(pl.Batches(store, 8, shuffle=True))
    noting(seen).fit(data, epochs=2, shuffle=False, verbose=0)
    assert seen[-20:] == order(store, 2)


def test_what_is_left_of_an_epoch_comes_before_fit(store: Path) -> None:
    seen: list[list[int]] = []
    first, batches = pl.Batches(store, 8, shuffle=True), pl.Batches(store, 8, shuffle=True)
    first.set_epoch(1)
    batches.load_state_dict(first.state_at(4))
    model = noting(seen)
    for X, y in batches:
        model.train_on_batch(X, y)
    batches.set_epoch(2)
    model.fit(to_keras(batches), initial_epoch=2, epochs=4, shuffle=False, verbose=0)
    assert seen[-6 - 20 :] == order(store, 4)[14:]


def test_windows_without_labels_are_x_alone(tmp_path: Path) -> None:
    made = pl.Batches(numbered_store(tmp_path, labelled=False), 8)
    model = keras.Sequential([keras.layers.Flatten()])
    found = model.predict(to_keras(made), verbose=0)
    assert found.shape[0] == N
    assert np.array_equal(found.ravel(), np.concatenate([X for X, _ in made]).ravel())
