"""A store of windows whose label is their number, or that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

import pipeline as pl

N = 75


def numbered_store(folder: Path, labelled: bool = True) -> Path:
    samples = np.random.default_rng(0).standard_normal(N * 1000) / 10
    soundfile.write(folder / "x.wav", samples, 1000)
    out = folder / "x.zarr"
    feature = pl.Spectrogram(n_fft=32, frame_length=20)
    assert pl.extract(folder / "x.wav", out, feature, labels=np.arange(N) if labelled else None).ok
    return out
