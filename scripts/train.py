#!/usr/bin/env python3
"""Train a small network to tell windows with a call from those without.

First from a store, then straight from the recordings, with the same losses to the last bit. The
recordings are made up on the spot, unless there is a SOURCE.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader

import pipeline as pl
from pipeline.demo import synthesize
from pipeline.training import store_split

Numbers = npt.NDArray[np.int64]
PARTS = {"train": 0.8, "test": 0.2}
RECORDINGS = 20


def make_recordings(folder: Path, minutes: float) -> Path:
    """Labelled recordings, each with noise of its own."""
    seconds = round(minutes * 60 / RECORDINGS)
    if seconds < 1:
        raise ValueError(f"minutes is {minutes:g}; it must be {RECORDINGS / 60:.2g} or more")
    folder = folder / f"recordings-{seconds}s"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(RECORDINGS):
        path = folder / f"recording-{i:02}.h5"
        if not path.exists():
            synthesize(path, seconds, seed=i)
    return folder


def divide(store: Path) -> tuple[dict[str, Numbers], bool]:
    """Windows to learn from and to test on, and whether mean and std of the former are stored."""
    batches = pl.Batches(store)
    usable = batches.valid
    if batches.annotated is not None:
        usable = usable & batches.annotated.all(axis=1)  # elsewhere nobody has looked
    parts = {name: part[usable[part]] for name, part in pl.split(store, PARTS).items()}
    if all(len(part) for part in parts.values()):
        store_split(store, PARTS)
        pl.statistics(store, split="train")
        return parts, True
    print("parts       too few recordings: the last fifth is the test, X is not normalized")
    numbers = np.flatnonzero(usable)
    if len(numbers) < 5:
        raise ValueError(f"{len(numbers)} windows are annotated; pass recordings with 5 or more")
    cut = round(PARTS["train"] * len(numbers))
    return {"train": numbers[:cut], "test": numbers[cut:]}, False


def calls(y: torch.Tensor) -> torch.Tensor:
    """Whether there is a call of any class in each window, as a number."""
    return y.reshape(len(y), -1).amax(dim=1).clamp(0, 1).float()


def train(batches: pl.Batches, epochs: int) -> tuple[nn.Module, list[float]]:
    """A trained network, and the loss of each batch."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.AvgPool2d(4), nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AdaptiveMaxPool2d((8, 1)), nn.Flatten(), nn.Linear(128, 1), nn.Flatten(0)),
    )
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    windows = batches.to_torch()
    loader = DataLoader(windows, batch_size=None)  # threads of the batches read ahead
    losses: list[float] = []
    for epoch in range(epochs):
        windows.set_epoch(epoch)
        for X, y in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(network(X[:, None]), calls(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}     loss {np.mean(losses[-len(loader) :]):.6f}", flush=True)
    return network, losses


@torch.no_grad()
def test(network: nn.Module, batches: pl.Batches) -> str:
    """Accuracy and average precision on windows that were not learnt from."""
    network.eval()
    pairs = [(network(X[:, None]), calls(y)) for X, y in batches.to_torch()]
    score, call = (torch.cat(items).numpy() for items in zip(*pairs, strict=True))
    if not call.any():
        raise ValueError(f"none of the {len(call)} windows to test on has a call; pass more labels")
    accuracy = np.mean((score > 0) == call)
    return f"accuracy {accuracy:.4f}, average precision {average_precision(call, score):.4f}"


def average_precision(call: npt.NDArray[Any], score: npt.NDArray[Any]) -> float:
    """Mean, over the windows with a call, of the precision among those that score as high."""
    order = np.argsort(-score, kind="stable")
    precision = np.cumsum(call[order]) / np.arange(1, len(order) + 1)
    return float(np.average(precision, weights=call[order]))


def run(options: argparse.Namespace) -> int:
    """Make, extract, train and test; the exit code."""
    start, store = time.perf_counter(), options.folder / "features.zarr"
    sources = options.sources or [make_recordings(options.folder, options.minutes)]
    settings: dict[str, Any] = {
        "labels": options.labels,
        "window": options.window,
        "dtype": options.dtype,
        "classes": options.classes,
    }
    print(f"store       {pl.extract(sources, store, overwrite=True, **settings)}")
    if pl.Batches(store)[0][1] is None:
        raise ValueError("the recordings have no labels; pass --labels FILE")
    parts, standard = divide(store)
    print(f"windows     {len(parts['train'])} to learn from, {len(parts['test'])} to test on")
    learn: dict[str, Any] = {"batch_size": 64, "shuffle": True, "windows": parts["train"]}
    network, losses = train(pl.Batches(store, normalize=standard, **learn), options.epochs)
    rest = pl.Batches(store, normalize=standard, windows=parts["test"])
    print(f"test        {test(network, rest)}")
    print("the same straight from the recordings, with nothing stored:")
    streamed = pl.stream(sources, **settings, normalize=store if standard else False, **learn)
    _, again = train(streamed, options.epochs)
    same = losses == again
    print(f"losses      of {len(losses)} batches are {'' if same else 'NOT '}the same")
    print(f"in all      {time.perf_counter() - start:.0f} s")
    return 0 if same else 1


def main() -> int:
    """The command; its exit code is 1 if the losses differ, 2 if the input is wrong."""
    parser = argparse.ArgumentParser("train-demo", description=__doc__)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="recordings of your own")
    parser.add_argument("--labels", metavar="FILE", help="events in them")
    parser.add_argument("--classes", metavar="A,B,...", help="classes of events that are calls")
    parser.add_argument("--window", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--dtype", default="float32", help="of the store")
    parser.add_argument("--folder", type=Path, default=Path("demo"), metavar="DIR")
    parser.add_argument("--minutes", type=float, default=20, help="of what is made up")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the other cores read and compute the next batches
    try:
        return run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
