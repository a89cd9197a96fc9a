"""Lightning takes the batches: each epoch in its order, and a fit that was killed goes on."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from numbered_store import N, numbered_store

import pipeline as pl

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("pytorch_lightning")
stateful = pytest.importorskip("torchdata.stateful_dataloader")

from pipeline.training.adaptors.torch import to_torch  # noqa: E402

SIZE, EPOCHS = 8, 3
SAVED, KILLED = 14, 17  # steps: in the middle of the second epoch, of 10
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*set_vital.*:UserWarning"),  # torchdata calls it
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # few cores
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning asks for it
    pytest.mark.filterwarnings("ignore:The `srun` command:UserWarning"),  # where Slurm is
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),  # nor needs any
    pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning"),  # to go on from
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__`:UserWarning"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_store(tmp_path_factory.mktemp("lightning"))


@pytest.fixture(scope="module")
def expected(store: Path) -> list[list[int]]:
    """The windows of each step."""
    batches, steps = pl.Batches(store, SIZE, shuffle=True), []
    for epoch in range(EPOCHS):
        batches.set_epoch(epoch)
        steps += [y.tolist() for _, y in batches]
    return steps


class KilledError(Exception):
    """In place of a signal."""


class Noting(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
    """Notes the windows of each step, until it is killed."""

    def __init__(self, killed: int | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.killed, self.seen = killed, list[list[int]]()

    def training_step(self, batch: Any, _: int) -> Any:
        X, y = batch
        self.seen.append(y.tolist())
        return self.layer(X.mean().view(1, 1)).sum()

    def on_train_batch_end(self, *_: Any) -> None:
        if len(self.seen) == self.killed:
            raise KilledError

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class Setting(lightning.Callback):  # type: ignore[misc, unused-ignore]
    """Sets the epoch of what Lightning does not see in a loader."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
        self.dataset.set_epoch(trainer.current_epoch)


def fit(
    store: Path, folder: Path, workers: int | None, killed: int | None = None, again: bool = False
) -> list[list[int]]:
    """The windows of the steps of a fit; without a loader if the number of workers is None."""
    dataset, callbacks = to_torch(pl.Batches(store, SIZE, shuffle=True)), []
    data: Any = dataset
    if workers is not None:
        data = stateful.StatefulDataLoader(dataset, batch_size=None, num_workers=workers)
        callbacks = [Setting(dataset)]
    saving = lightning.callbacks.ModelCheckpoint(folder, "last", every_n_train_steps=SAVED)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[saving, *callbacks],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Noting(killed)
    try:
        trainer.fit(model, data, ckpt_path=folder / "last.ckpt" if again else None)
    except KilledError:
        assert len(model.seen) == killed
    return model.seen


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_each_epoch_has_an_order_of_its_own(
    store: Path, expected: list[list[int]], workers: int | None, tmp_path: Path
) -> None:
    assert fit(store, tmp_path, workers) == expected


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_a_fit_that_was_killed_goes_on_in_mid_epoch(
    store: Path, expected: list[list[int]], workers: int | None, tmp_path: Path
) -> None:
    assert fit(store, tmp_path, workers, KILLED) == expected[:KILLED]
    assert fit(store, tmp_path, workers, again=True) == expected[SAVED:]


def test_the_orders_are_of_every_window_and_differ(expected: list[list[int]]) -> None:
    epochs = [[*chain.from_iterable(expected[i : i + 10])] for i in (0, 10, 20)]
    assert [sorted(epoch) for epoch in epochs] == [[*range(N)]] * EPOCHS
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
