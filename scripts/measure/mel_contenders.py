"""What scripts/measure/benchmark compares of the features that people extract.

The log-mel spectrogram of speech at 16 kHz, in frames of 25 ms every 10 ms, as a whole program
and as a kernel; and the other kernels beside it. A contender is as in `contenders`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
import scipy.signal
import soundfile
from contenders import BATCH, WORKERS, Files

RATE, N_MELS, N_FFT, FRAME, HOP = 16000, 80, 512, 400, 160
FRAMES = RATE // HOP
LEVELS_RATE, LEVELS_SECONDS = 48000, 60


def _feature(name: str = "MelSpectrogram", **more: Any) -> Any:
    import pipeline as pl

    options = {"n_fft": N_FFT, "frame_length": FRAME, "hop_length": HOP, "n_mels": N_MELS}
    return getattr(pl, name)(**options, **more)


# What one would write by hand, or another library does.


def librosa_h5py(files: Files) -> int:
    import librosa

    shape = (files.windows, N_MELS, FRAMES + 1)
    with h5py.File(files.out("hand.h5"), "w") as file:
        features = file.create_dataset("features", shape, "f4", chunks=(1, *shape[1:]))
        for t, x in enumerate(soundfile.blocks(files.speech, RATE, dtype="float32")):
            mel = librosa.feature.melspectrogram(
                y=x, sr=RATE, n_fft=N_FFT, win_length=FRAME, hop_length=HOP, n_mels=N_MELS
            )
            features[t] = librosa.power_to_db(mel, top_db=None)
    return files.windows


def lhotse_batch(files: Files) -> int:
    """Its own way to features of many cuts, on as many workers as there are cores."""
    import lhotse

    recording = lhotse.Recording.from_file(files.speech)
    cuts = lhotse.CutSet.from_cuts([recording.to_cut()]).cut_into_windows(1.0).to_eager()
    options = lhotse.FbankConfig(sampling_rate=RATE, num_filters=N_MELS)
    cuts.compute_and_store_features_batch(
        extractor=lhotse.Fbank(options),
        storage_path=files.out("lhotse"),
        num_workers=WORKERS,
        overwrite=True,
    )
    return files.windows


def torch_loader(files: Files) -> int:
    """Delivered, and not stored."""
    import librosa
    import torch

    taper = torch.hann_window(FRAME)
    filters = torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=N_MELS))

    class Windows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return files.windows

        def __getitem__(self, t: int) -> Any:
            x, _ = soundfile.read(files.speech, RATE, t * RATE, dtype="float32")
            spectrum = torch.stft(
                torch.from_numpy(x), N_FFT, HOP, FRAME, taper, return_complex=True
            )
            return torch.log(torch.clamp(filters @ spectrum.abs() ** 2, min=1e-10))

    loader = torch.utils.data.DataLoader(Windows(), BATCH, num_workers=WORKERS)
    return sum(len(X) for X in loader)


# The project.


def stream(files: Files) -> int:
    import pipeline as pl

    return sum(len(X) for X, _ in pl.stream(files.speech, _feature(), batch_size=BATCH))


def extract_zarr(files: Files) -> int:
    import pipeline as pl

    report = pl.extract(files.speech, files.out("zarr"), _feature(), overwrite=True)
    assert report.ok, report
    return report.windows


# Kernels: the features alone, on windows in memory.


def _kernel(feature: Any, threads: int | None, blocks: int, block: int) -> int:
    from pipeline.features import margins_of, takes
    from pipeline.process.resources import keep_freed_memory, one_blas_thread

    keep_freed_memory()
    rate, hop = feature.samplerate, round(feature.window * feature.samplerate)
    before, after = margins_of(feature, rate)
    audio = np.random.default_rng(0).standard_normal(before + block * hop + after)
    rows = np.lib.stride_tricks.sliding_window_view(
        (0.1 * audio).astype(np.float32), before + hop + after
    )[::hop]
    options = {"hop_samples": hop} if takes(feature, "hop_samples") else {}

    def work(_: int) -> None:
        feature(rows, **options)

    with one_blas_thread(), ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        list(pool.map(work, range(blocks)))
    return blocks * block


def _of_a_second(name: str, threads: int | None) -> Callable[[Files], int]:
    def contender(_: Files) -> int:
        return _kernel(_feature(name, samplerate=RATE, window=1.0), threads, 128, 64)

    return contender


def levels(_: Files) -> int:
    import pipeline as pl

    feature = pl.Levels(samplerate=LEVELS_RATE, window=float(LEVELS_SECONDS))
    return _kernel(feature, 1, 8, 1)


def welch(_: Files) -> int:
    audio = np.random.default_rng(0).standard_normal(LEVELS_SECONDS * LEVELS_RATE)
    for _ in range(4):
        _, power = scipy.signal.welch(
            audio, LEVELS_RATE, nperseg=LEVELS_RATE, detrend=False, noverlap=LEVELS_RATE // 2
        )
        10 * np.log10(power)
    return 4


MEL: dict[str, Callable[[Files], int]] = {
    "log-mel: librosa and h5py by hand": librosa_h5py,
    "log-mel: lhotse, batch": lhotse_batch,
    "log-mel: torch DataLoader, 2 workers": torch_loader,
    "log-mel: stream": stream,
    "log-mel: extract to Zarr": extract_zarr,
    "kernel: log-mel, one thread": _of_a_second("MelSpectrogram", 1),
    "kernel: log-mel, all cores": _of_a_second("MelSpectrogram", None),
    "kernel: MFCC, one thread": _of_a_second("MFCC", 1),
    "kernel: PCEN, one thread": _of_a_second("PCEN", 1),
    "kernel: levels of 60 s at 48 kHz": levels,
    "kernel: SciPy's welch of the same": welch,
}
MEL_NEEDS = {librosa_h5py: "librosa", lhotse_batch: "lhotse", torch_loader: "torch"}
