"""Frames: windows at one level, where frames lie in them, and what precedes the DFT of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.kernels.taper import DEFAULT_TAPER, Taper, check_taper, taper_weights

Counts = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Singles = npt.NDArray[np.float32]
Detrend = Literal["constant", "linear"] | None

DETRENDED = {None: 0, "constant": 1, "linear": 2}  # samples, of which nothing is left


@dataclass(frozen=True)
class Frames:
    """Frames of a window of `n_samples`, one every `hop_length`, but no more than `at_most`.

    Each is detrended, pre-emphasized, tapered, and padded with zeros to `n_fft`.
    """

    n_samples: int
    frame_length: int
    hop_length: int
    n_fft: int
    taper: Taper = DEFAULT_TAPER
    detrend: Detrend = None
    at_most: int | None = None
    preemphasis: float = 0.0

    @property
    def n_frames(self) -> int:
        """Frames of a window."""
        return int(self.complete(self.n_samples))

    @property
    def n_bins(self) -> int:
        """Frequencies of the DFT, one-sided."""
        return self.n_fft // 2 + 1

    @property
    def centres(self) -> Floats:
        """Of each frame, in samples from the window's start."""
        return np.arange(self.n_frames) * self.hop_length + self.frame_length / 2

    def complete(self, n_samples: int | Counts) -> Counts:
        """How many frames are within the first `n_samples`."""
        n_frames = (n_samples - self.frame_length) // self.hop_length + 1
        return np.clip(n_frames, 0, self.at_most)

    def cut(self, windows: Singles) -> Singles:
        """The frames (window, frame, sample) of windows, without a copy."""
        view = np.lib.stride_tricks.sliding_window_view(windows, self.frame_length, axis=1)
        return view[:, :: self.hop_length][:, : self.n_frames]

    def detrended(self, frames: Floats) -> Floats:
        """Frames without their mean, or their trend."""
        if self.detrend == "constant":
            return np.asarray(frames - frames.mean(axis=-1, keepdims=True))
        if self.detrend == "linear":
            from scipy.signal import detrend

            return np.asarray(detrend(frames, axis=-1, type="linear"), frames.dtype)
        return frames

    def energies(self, frames: Singles) -> Singles:
        """Of each frame, before it is pre-emphasized and tapered."""
        detrended = self.detrended(frames)
        return np.asarray(np.sum(detrended * detrended, axis=-1))

    def prepared(self, frames: Floats) -> Floats:
        """Frames before they are tapered."""
        frames = self.detrended(frames)
        if not self.preemphasis:
            return frames
        before = np.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
        return np.asarray(frames - frames.dtype.type(self.preemphasis) * before)

    def weights(self) -> Doubles:
        """The taper, a factor for each sample of a frame."""
        return taper_weights(self.taper, self.frame_length)

    @property
    def largest_sum(self) -> float:
        """What the sizes of a tapered frame's samples, within full scale, add up to at most.

        To detrend is to project, which no energy is added by; Cauchy and Schwarz do the rest.
        """
        taper, gain = self.weights(), 1 + self.preemphasis
        if self.detrend:
            return float(gain * np.sqrt(self.frame_length * np.sum(taper * taper)))
        return float(gain * np.sum(np.abs(taper)))

    @property
    def largest_energy(self) -> float:
        """What their squares add up to at most."""
        squares, gain = self.weights() ** 2, 1 + self.preemphasis
        most = self.frame_length * squares.max() if self.detrend else squares.sum()
        return float(gain * gain * most)

    def check(self, because: str = "") -> None:
        """Refuse what leaves nothing of a frame, or cuts it; `because` is why it is so long."""
        length, left = self.frame_length, DETRENDED[self.detrend]
        if length <= left:  # all that is left of a frame is rounding
            raise ValueError(
                f"{because}frame_length is {length}, of which detrend {self.detrend!r} leaves "
                f"nothing; give a frame_length of at least {left + 1}, or detrend none"
            )
        if length > self.n_fft:
            raise ValueError(
                f"n_fft is {self.n_fft}, less than the {length} samples of a frame; raise n_fft "
                f"to at least {length}, or give a shorter frame_length"
            )
        check_taper(self.taper, length)


def normalized(windows: Floats, n_samples: Counts) -> tuple[Singles, npt.NDArray[np.bool_]]:
    """Windows at zero mean and unit standard deviation of the samples that they have.

    Also which of them are constant: these have no deviation, and are about zero.
    """
    result = np.zeros(windows.shape, np.float32)
    constant = np.ones(len(windows), np.bool_)
    for n in set(n_samples.tolist()) - {0}:  # mostly one; windows of as many go together
        found = n_samples == n
        rows = slice(None) if found.all() else np.flatnonzero(found)
        values = windows[rows, :n]
        steady = values.min(axis=1) >= values.max(axis=1)
        values = values.astype(np.float64)
        values -= values.mean(axis=1, keepdims=True)
        deviation = np.sqrt(np.mean(values * values, axis=1, keepdims=True))
        deviation[steady] = 1
        result[rows, :n] = np.divide(values, deviation, out=values)
        constant[rows] = steady
    return result, constant


def limited(windows: Floats, frame_length: float) -> Singles:
    """Windows no louder than what the power of a frame can hold; as they are, if they are so."""
    loudest = 1e18 / frame_length
    quiet = not windows.size or (windows.min() >= -loudest and windows.max() <= loudest)
    some = windows if quiet else np.clip(windows, -loudest, loudest)
    return some.astype(np.float32, copy=False)


def groups(length: int, size: int) -> Iterator[slice]:
    """Slices of `size`, at least 1, that make up a length; the last may go beyond it."""
    size = max(1, size)
    return (slice(start, start + size) for start in range(0, length, size))
