"""Fixtures and helpers that several test files share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import settings

import pipeline as pl
from pipeline.cli import main
from pipeline.readers import open_reader, probe

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("ci")

SHARED_AUDIO = Path(__file__).parents[2] / "shared" / "audio"

SUFFIXES = (".zarr", ".h5")
TINY = np.finfo(np.float32).tiny

Write = Callable[..., Path]
Array = npt.NDArray[Any]
Samples = npt.NDArray[np.float32]


class Result(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture(scope="session")
def audio() -> Path:
    """The folder of real recordings beside the checkout."""
    if not SHARED_AUDIO.is_dir():
        pytest.skip(f"the real recordings are not at {SHARED_AUDIO}")
    return SHARED_AUDIO


@pytest.fixture
def write_wav(tmp_path: Path) -> Write:
    """Writes reproducible noise, seconds or samples of it, as a sound file."""

    def write(
        name: str = "noise.wav",
        seconds: float = 3.0,
        samplerate: int = 8000,
        channels: int = 1,
        seed: int = 0,
        subtype: str | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        samples = 0.1 * rng.standard_normal((round(seconds * samplerate), channels))
        soundfile.write(path, samples, samplerate, subtype=subtype)
        return path

    return write


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs the command line in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["audio-pipeline", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return call


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every path below a folder, with modification time and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def features_of(path: Path) -> np.ndarray[Any, Any]:
    return np.concatenate([X for X, _ in pl.Batches(path)])


class Sequential(soundfile.SoundFile):
    """The oracle: decodes from the first sample on and never seeks."""

    def seekable(self) -> bool:
        return False


def decode(path: Path) -> Samples:
    """The whole file, decoded from its start without a seek."""
    pieces = []
    with Sequential(path) as file:
        while len(piece := file.read(44100, dtype="float32", always_2d=True)):
            pieces.append(piece)
    samples = np.concatenate(pieces)
    if path.suffix in (".ogg", ".opus"):  # denormals depend on the decoder's past
        samples[np.abs(samples) < TINY] = 0
    return samples


def read(path: Path, start: int, stop: int) -> Samples:
    reader = open_reader(path)
    try:
        return reader.read(start, stop)
    finally:
        reader.close()


def read_all(path: Path) -> Samples:
    return read(path, 0, probe(path).n_samples)


def sound(seconds: float, samplerate: int, channels: int) -> npt.NDArray[np.float64]:
    """Noise and a different tone in each channel, with a quiet and a silent stretch."""
    rng = np.random.default_rng(samplerate + channels)
    seconds_from_start = np.arange(round(seconds * samplerate))[:, None] / samplerate
    tones = np.sin(2 * np.pi * 300 * (1 + np.arange(channels)) * seconds_from_start)
    samples = 0.3 * tones + 0.05 * rng.standard_normal(tones.shape)
    third = len(samples) // 3
    samples[third : third + third // 4] *= 1e-4
    samples[2 * third : 2 * third + third // 4] = 0
    return samples


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def wait_until(condition: Callable[[], bool]) -> bool:
    """Threads that feed a pipe end a little after the pipe is closed."""
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def write_sound(
    folder: Path, name: str, subtype: str, rate: int, channels: int, seconds: float
) -> Path:
    path, samples, kind = folder / name, sound(seconds, rate, channels), None
    if subtype == "OPUS":  # silence after sound is what its decoder remembers longest
        samples[np.arange(len(samples)) // rate % 7 > 0] = 0
        kind = "OGG"
    soundfile.write(path, samples, rate, subtype, format=kind)
    return path


def save_npy(path: Path, values: npt.NDArray[Any]) -> Path:
    np.save(path.with_suffix(".npy"), values)
    return path.with_suffix(".npy")


def save_hdf5(path: Path, values: npt.NDArray[Any], rate: Any = 250.0) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["audio"] = values
        if rate is not None:
            file["audio"].attrs["sampling_rate"] = rate
    return path.with_suffix(".h5")
