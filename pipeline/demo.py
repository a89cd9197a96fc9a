"""Demo: a recording made up on the spot, and the whole chain run on it."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from pipeline.job import Progress, extract
from pipeline.reports import write_report
from pipeline.training import Batches
from pipeline.views import plot_window

RATE = 8000
MINUTE = 60
LONGEST = 1000


def run_demo(hours: float, folder: Path, progress: Callable[[Progress], None]) -> Iterator[str]:
    """Make a labelled recording, extract its features, iterate and draw them; yields lines.

    All is written to `folder`; a recording of the same length that is there is used again.
    """
    if not 1 / 3600 <= hours <= LONGEST:
        raise ValueError(
            f"hours is {hours}; it must be from {1 / 3600:.4g}, a second, to {LONGEST}"
        )
    seconds = round(hours * 3600)
    folder.mkdir(parents=True, exist_ok=True)
    recording, store = folder / f"recording-{seconds}s.h5", folder / f"features-{seconds}s.zarr"
    if not recording.exists():
        synthesize(recording, seconds)
    yield f"recording  {recording}: {seconds} s at {RATE} Hz, a label for each second"
    # A store that is there may be of another version.
    report = extract(recording, store, overwrite=True, progress=progress)
    yield f"store      {report}"
    batches = Batches(store, batch_size=64, shuffle=True)
    X, y = batches[0]
    assert y is not None
    yield f"batches    {len(batches)} of X {X.shape} {X.dtype} and y {y.shape}, shuffled"
    if importlib.util.find_spec("matplotlib") is None:
        yield "picture    none, for matplotlib is not installed"
    else:
        picture = folder / "window.png"
        plot_window(store, min(4, seconds - 1), picture)
        yield f"picture    {picture}"
    page = folder / "report.html"
    write_report(store, page, audio=True)
    yield f"report     {page}: open it in a browser, as {page.absolute().as_uri()}"


def synthesize(path: Path, seconds: int, seed: int = 0) -> None:
    """Noise, with a chirping call in every third second or so, labelled 1."""
    rng = np.random.default_rng(seed)
    label = (rng.random(seconds) < 0.35).astype(np.int8)
    time = np.arange(RATE) / RATE
    call = 0.25 * np.sin(2 * np.pi * (900 + 1100 * time) * time) * np.hanning(RATE)
    aside = path.with_suffix(".partial")
    with h5py.File(aside, "w") as file:
        chunk = (min(MINUTE, seconds) * RATE, 1)
        audio = file.create_dataset("audio", (seconds * RATE, 1), np.int16, chunks=chunk)
        audio.attrs["sampling_rate"] = RATE
        file["label"] = label
        for second in range(0, seconds, MINUTE):
            part = label[second : second + MINUTE]
            samples = 0.02 * rng.standard_normal((len(part), RATE)) + part[:, None] * call
            values = (samples * 32767).astype(np.int16).reshape(-1, 1)
            audio[second * RATE : second * RATE + len(values)] = values
    os.replace(aside, path)
