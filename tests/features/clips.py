"""Recordings for tests of features, and their windows with context as the reader has them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from test_features import RECORDINGS as RECORDINGS

from pipeline.grid import count_windows

Array = npt.NDArray[Any]

STORED = np.load(Path(__file__).with_name("torchaudio.npz"))  # what torchaudio 2.11 made of chirp()


def chirp() -> Array:
    """A quarter of a second at 16 kHz."""
    rng, t = np.random.default_rng(3), np.arange(4000) / 16000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 9000 * t) * t) + 0.02 * rng.standard_normal(4000)
    return wave.astype(np.float32)


def read(path: Path, seconds: float = 12.3) -> tuple[Array, int]:
    """A recording that ends in the middle of a window: loud, then clipped, then silent."""
    samples, rate = soundfile.read(path, dtype="float32", stop=round(seconds * 48000))
    samples = samples[: round(seconds * rate)].copy()
    third = len(samples) // 3
    samples[third : third + rate] = np.clip(50 * samples[third : third + rate], -1, 1)
    samples[2 * third : 2 * third + rate] = 0
    return samples, rate


def windows_of(feature: Any, samples: Array, hop: int | None = None) -> tuple[Array, Array]:
    """Windows of a recording with their context, and which samples of each are inside it."""
    window, n = round(feature.window * feature.samplerate), len(samples)
    before, after = feature.margins
    hop = hop or window
    starts = np.arange(int(count_windows(n, window, hop))) * hop - before
    length = before + window + after
    around = np.zeros(starts[-1] + before + length, np.float32)
    around[before : before + n] = samples[: len(around) - before]
    view = np.lib.stride_tricks.sliding_window_view(around, length)[::hop]
    inside = np.stack([np.maximum(0, -starts), np.minimum(n - starts, length)], axis=1)
    return view, inside


def side_by_side(feature: Any, samples: Array) -> Array:
    """The columns of all windows of a recording, one after the other."""
    return np.concatenate([*feature(*windows_of(feature, samples))], axis=-1)


def assert_near(found: Array, expected: Array, least_range: float = 1e-3) -> None:
    """Within 1e-4 of the range of what is expected."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * max(least_range, np.ptp(expected))


def noise(n_samples: int) -> Array:
    """Reproducible, another for each length."""
    return np.random.default_rng(n_samples).standard_normal(n_samples).astype(np.float32)


def assert_seamless(feature: Any, samples: Array) -> None:
    """The columns of windows are bit for bit those of one window that is as long as all."""
    found = side_by_side(feature, samples)
    seconds = round(found.shape[1] / feature.shape[1]) * feature.window
    whole = dataclasses.replace(feature, window=seconds)
    assert np.array_equal(found, side_by_side(whole, samples))


def assert_same_in_any_block(feature: Any, lengths: list[int], hop: int | None, size: int) -> None:
    """Windows of recordings of such lengths have the same bits in blocks of a size as together."""
    parts = [windows_of(feature, noise(n), hop) for n in lengths]
    windows, inside = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    whole = feature(windows, inside)
    assert np.isfinite(whole).all()
    for a in range(0, len(windows), size):
        some = slice(a, a + size)
        assert np.array_equal(feature(windows[some], inside[some]), whole[some])
