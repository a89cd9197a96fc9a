"""What scripts/measure/benchmark compares: each a function that does the work once.

A contender runs in a process of its own. It takes the `Files`, and gives the
number of windows that it has worked on. Only the call is timed, not the imports.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.fft
import scipy.signal
import soundfile

RATE = 8000
SHAPE = (257, 400)
BATCH = 64
WORKERS = 2


@dataclass(frozen=True)
class Files:
    """Where the audio is, and where contenders write."""

    folder: Path
    windows: int

    @property
    def wav(self) -> Path:
        return self.folder / f"{self.windows}.wav"

    @property
    def speech(self) -> Path:
        """Audio at 16 kHz."""
        return self.folder / f"{self.windows}-speech.wav"

    @property
    def hdf5(self) -> Path:
        """The same audio as the article has it."""
        return self.folder / f"{self.windows}-audio.h5"

    def store(self, name: str) -> Path:
        return self.folder / f"{self.windows}-{name}"

    def out(self, ending: str) -> Path:
        return self.folder / f"out.{ending}"


# The article's three ideas, and the third writing what it yields.


def spectrogram(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x = (x - x.mean()) / x.std()
    _, _, power = scipy.signal.spectrogram(x, RATE, nperseg=20, noverlap=0, nfft=512)
    return np.log(power + 1e-6)


def big_tensor(files: Files) -> int:
    with h5py.File(files.hdf5) as file:
        audio = file["audio"][:, 0].astype(float)
    tensor = np.stack([spectrogram(x) for x in audio.reshape(-1, RATE)])
    return len(tensor)


def one_at_a_time(files: Files) -> int:
    for t in range(files.windows):
        with h5py.File(files.hdf5) as file:
            spectrogram(file["audio"][t * RATE : (t + 1) * RATE, 0].astype(float))
    return files.windows


def _generate(files: Files) -> Iterator[np.ndarray[Any, Any]]:
    with h5py.File(files.hdf5) as file:
        for t in range(files.windows):
            yield spectrogram(file["audio"][t * RATE : (t + 1) * RATE, 0].astype(float))


def generator(files: Files) -> int:
    return sum(1 for _ in _generate(files))


def generator_to_hdf5(files: Files) -> int:
    with h5py.File(files.out("hand.h5"), "w") as file:
        features = file.create_dataset(
            "features", (files.windows, *SHAPE), "f4", chunks=(1, *SHAPE)
        )
        for t, x in enumerate(_generate(files)):
            features[t] = x
    return files.windows


# What one would write by hand.

TAPER = scipy.signal.get_window(("tukey", 0.25), 20)
SCALE = np.full(257, 2 / (RATE * np.sum(TAPER**2)), np.float32)
SCALE[[0, -1]] /= 2


def _blocks(files: Files) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """Batches of spectrograms, in float32 by FFT."""
    taper = TAPER.astype(np.float32)
    for start, block in enumerate(
        soundfile.blocks(files.wav, BATCH * RATE, dtype="float32"), start=0
    ):
        x = block.reshape(-1, RATE)
        x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        frames = x.reshape(len(x), 400, 20)
        frames = (frames - frames.mean(axis=2, keepdims=True)) * taper
        spectrum = scipy.fft.rfft(frames, 512)
        power = (spectrum.real**2 + spectrum.imag**2) * SCALE
        yield start * BATCH, np.log(power + np.float32(1e-6)).transpose(0, 2, 1)


def by_hand_h5py(files: Files) -> int:
    with h5py.File(files.out("hand.h5"), "w") as file:
        features = file.create_dataset(
            "features", (files.windows, *SHAPE), "f4", chunks=(1, *SHAPE)
        )
        for start, block in _blocks(files):
            features[start : start + len(block)] = block
    return files.windows


def by_hand_zarr(files: Files) -> int:
    import zarr

    array = zarr.create_array(
        files.out("hand.zarr"),
        shape=(files.windows, *SHAPE),
        chunks=(1, *SHAPE),
        shards=(BATCH, *SHAPE),
        dtype="f4",
        overwrite=True,
    )
    for start, block in _blocks(files):
        array[start : start + len(block)] = block
    return files.windows


def torch_loader(files: Files) -> int:
    import torch

    taper = torch.from_numpy(TAPER.astype(np.float32))
    scale = torch.from_numpy(SCALE)

    class Windows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return files.windows

        def __getitem__(self, t: int) -> Any:
            x, _ = soundfile.read(files.wav, RATE, t * RATE, dtype="float32")
            frames = torch.from_numpy((x - x.mean()) / x.std()).reshape(400, 20)
            spectrum = torch.fft.rfft((frames - frames.mean(dim=1, keepdim=True)) * taper, 512)
            return torch.log(spectrum.abs() ** 2 * scale + 1e-6).T

    loader = torch.utils.data.DataLoader(Windows(), BATCH, num_workers=WORKERS)
    return sum(len(X) for X in loader)


# The project.


def stream(files: Files) -> int:
    import pipeline as pl

    return sum(len(X) for X, _ in pl.stream(files.wav, batch_size=BATCH))


def extract_zarr(files: Files) -> int:
    return _extract(files, "zarr")


def extract_hdf5(files: Files) -> int:
    return _extract(files, "h5")


def extract_zarr_lz4(files: Files) -> int:
    return _extract(files, "zarr", compression="lz4")


def extract_zarr_float16(files: Files) -> int:
    return _extract(files, "zarr", dtype="float16")


def extract_int16(files: Files) -> int:
    return _extract(files, "zarr", dtype="int16")


def extract_uint8(files: Files) -> int:
    return _extract(files, "zarr", dtype="uint8")


def _extract(files: Files, ending: str, **settings: Any) -> int:
    import pipeline as pl

    report = pl.extract(files.wav, files.out(ending), overwrite=True, **settings)
    assert report.ok, report
    return report.windows


# The limits.


def kernel(_: Files, threads: int | None = None) -> int:
    """The feature alone, on windows in memory, on all cores."""
    import pipeline as pl
    from pipeline.process.resources import keep_freed_memory, one_blas_thread

    keep_freed_memory()
    feature = pl.Spectrogram(samplerate=RATE, window=1.0)
    windows = np.random.default_rng(0).standard_normal((32, RATE)).astype(np.float32)
    blocks = 1024  # so many that its first memory does not count

    def work(_: int) -> None:
        feature(windows)

    with one_blas_thread(), ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        list(pool.map(work, range(blocks)))
    return blocks * 32


def kernel_one_thread(files: Files) -> int:
    return kernel(files, threads=1)


def raw_write(files: Files) -> int:
    """As many bytes as extract stores, in files of the same size, on all cores."""
    sizes = [path.stat().st_size for path in files.store("x.zarr").glob("features/c.*")]
    data = np.random.default_rng(0).bytes(max(sizes))
    folder = files.out("raw")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def write(item: tuple[int, int]) -> None:
        with open(folder / str(item[0]), "wb", buffering=0) as file:
            file.write(memoryview(data)[: item[1]])

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(write, enumerate(sizes)))
    return files.windows


# Reading what was stored.


def batches_in_order(files: Files) -> int:
    return _batches(files, "x.zarr", shuffle=False)


def batches_shuffled(files: Files) -> int:
    return _batches(files, "x.zarr", shuffle=True)


def batches_shuffled_lz4(files: Files) -> int:
    return _batches(files, "lz4.zarr", shuffle=True)


def batches_shuffled_uint8(files: Files) -> int:
    return _batches(files, "uint8.zarr", shuffle=True)


def batches_shuffled_codes(files: Files) -> int:
    return _batches(files, "uint8.zarr", shuffle=True, decode=False)


def batches_in_order_hdf5(files: Files) -> int:
    return _batches(files, "x.h5", shuffle=False)


def batches_shuffled_hdf5(files: Files) -> int:
    return _batches(files, "x.h5", shuffle=True)


def _batches(files: Files, name: str, **settings: Any) -> int:
    import pipeline as pl

    return sum(len(X) for X, _ in pl.Batches(files.store(name), BATCH, **settings))


def torch_over_h5py(files: Files) -> int:
    """A DataLoader over a plain HDF5 file, each worker with a handle of its own."""
    import torch

    class Windows(torch.utils.data.Dataset[Any]):
        file: h5py.File | None = None

        def __len__(self) -> int:
            return files.windows

        def __getitem__(self, t: int) -> Any:
            if self.file is None:
                self.file = h5py.File(files.store("plain.h5"))
            return torch.from_numpy(self.file["features"][t])

    loader = torch.utils.data.DataLoader(Windows(), BATCH, shuffle=True, num_workers=WORKERS)
    return sum(len(X) for X in loader)


def h5py_fancy(files: Files) -> int:
    order = np.random.default_rng(0).permutation(files.windows)
    with h5py.File(files.store("plain.h5")) as file:
        features = file["features"]
        for start in range(0, len(order) // 8, BATCH):  # an eighth, for it is slow
            features[np.sort(order[start : start + BATCH])]
    return len(range(0, len(order) // 8, BATCH)) * BATCH


def zarr_oindex(files: Files) -> int:
    import zarr

    features: Any = zarr.open_group(files.store("x.zarr"), mode="r")["features"]
    order = np.random.default_rng(0).permutation(files.windows)
    for start in range(0, len(order) // 8, BATCH):  # an eighth, for it is slow
        features.oindex[order[start : start + BATCH]]
    return len(range(0, len(order) // 8, BATCH)) * BATCH


def raw_read(files: Files) -> int:
    """The array uncompressed in one file, read through a buffer of one batch."""
    buffer = np.empty((BATCH, *SHAPE), np.float32)
    with open(files.store("raw"), "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return files.windows


COMPUTING: dict[str, Callable[[Files], int]] = {
    "article 1: one big tensor": big_tensor,
    "article 2: one window at a time": one_at_a_time,
    "article 3: generator": generator,
    "article 3, writing HDF5": generator_to_hdf5,
    "torch DataLoader, rfft, 2 workers": torch_loader,
    "SciPy rfft and h5py by hand": by_hand_h5py,
    "SciPy rfft and zarr-python by hand": by_hand_zarr,
    "stream": stream,
    "extract to Zarr": extract_zarr,
    "extract to Zarr, lz4": extract_zarr_lz4,
    "extract to Zarr, float16": extract_zarr_float16,
    "extract, int16": extract_int16,
    "extract, uint8": extract_uint8,
    "extract to HDF5": extract_hdf5,
    "limit: kernel, one thread": kernel_one_thread,
    "limit: kernel, all cores": kernel,
    "limit: raw write": raw_write,
}
READING: dict[str, Callable[[Files], int]] = {
    "h5py, fancy index": h5py_fancy,
    "zarr-python, oindex": zarr_oindex,
    "torch DataLoader over h5py, 2 workers": torch_over_h5py,
    "Batches, in order": batches_in_order,
    "Batches, shuffled": batches_shuffled,
    "Batches of lz4, shuffled": batches_shuffled_lz4,
    "Batches of uint8, shuffled": batches_shuffled_uint8,
    "Batches of uint8, shuffled, codes": batches_shuffled_codes,
    "Batches, shuffled, from a cold disk": batches_shuffled,
    "Batches of uint8, shuffled, from a cold disk": batches_shuffled_uint8,
    "Batches of HDF5, in order": batches_in_order_hdf5,
    "Batches of HDF5, shuffled": batches_shuffled_hdf5,
    "limit: raw read": raw_read,
}
NEEDS = {torch_loader: "torch", torch_over_h5py: "torch"}
