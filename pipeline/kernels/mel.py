"""Mel: bands of frequencies as people hear them, and the kernel that sums frames into them."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from pipeline.kernels.frames import Doubles, Floats, Frames, Singles
from pipeline.kernels.power import squared_spectra

MelScale = Literal["slaney", "htk"]
LINEAR_HZ, LINEAR_MEL = 1000.0, 15.0  # where Slaney's scale goes from linear to logarithmic
LOG_STEP = np.log(6.4) / 27


@dataclass(frozen=True)
class MelBands:
    """Triangular bands, evenly spaced in mel.

    Each rises from the centre of the one before to its own, and falls to that of the next,
    linearly in Hz or in mel; with norm "slaney" they have equal areas.
    """

    n_mels: int
    fmin: float
    fmax: float
    scale: MelScale = "slaney"
    norm: Literal["slaney"] | None = "slaney"
    linear_in: Literal["hz", "mel"] = "hz"

    @property
    def edges(self) -> Doubles:
        """Frequencies where bands begin, peak and end, in Hz, shape (n_mels + 2,)."""
        low, high = hz_to_mel(np.array([self.fmin, self.fmax]), self.scale)
        return mel_to_hz(np.linspace(low, high, self.n_mels + 2), self.scale)

    def filters(self, frequencies: Floats) -> Doubles:
        """The weight of each frequency in each band, shape (n_mels, frequency)."""
        edges, places = self.edges, frequencies
        if self.linear_in == "mel":
            edges, places = hz_to_mel(edges, self.scale), hz_to_mel(frequencies, self.scale)
        low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        rising, falling = (places - low) / (peak - low), (high - places) / (high - peak)
        weights = np.maximum(0, np.minimum(rising, falling))
        if self.norm == "slaney":
            weights *= 2 / (self.edges[2:] - self.edges[:-2])[:, None]
        return np.asarray(weights)


def hz_to_mel(hz: Floats, scale: MelScale) -> Doubles:
    """Frequencies in mel: HTK's formula, or that of Slaney's Auditory Toolbox."""
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hz / 700))
    above = LINEAR_MEL + np.log(np.maximum(hz, LINEAR_HZ) / LINEAR_HZ) / LOG_STEP
    return np.where(hz < LINEAR_HZ, hz * LINEAR_MEL / LINEAR_HZ, above)


def mel_to_hz(mel: Doubles, scale: MelScale) -> Doubles:
    """The inverse of `hz_to_mel`."""
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    above = LINEAR_HZ * np.exp(LOG_STEP * np.maximum(0, mel - LINEAR_MEL))
    return np.where(mel < LINEAR_MEL, mel * LINEAR_HZ / LINEAR_MEL, above)


@dataclass(frozen=True)
class MelKernel:
    """Sums of the bands of frames: of their power, or of another exponent of the magnitude."""

    frames: Frames
    bands: MelBands
    samplerate: int
    exponent: float = 2.0
    full_scale: float = 1.0  # what a sample of 1 counts as

    @cached_property
    def filters(self) -> Any:
        """As a sparse matrix: each frequency is in two bands at most."""
        from scipy.sparse import csr_array

        frequencies = np.fft.rfftfreq(self.frames.n_fft, 1 / self.samplerate)
        return csr_array(self.bands.filters(frequencies).astype(np.float32))

    @cached_property
    def weights(self) -> Singles:
        """The taper."""
        return (self.frames.weights() * self.full_scale).astype(np.float32)

    @property
    def largest(self) -> float:
        """What no sum exceeds, of audio within full scale.

        A bin has at most the sum of a frame's samples; the squares of all bins, by Parseval, half
        of `n_fft` times its energy, of which Hoelder's inequality says the largest weighted sum.
        """
        filters, p = self.filters.toarray().astype(np.float64), self.exponent
        filters = filters[filters.max(axis=1) > 0]
        if not len(filters):
            return 0.0
        scale, peaks = np.float64(self.full_scale), filters.max(axis=1)
        most = scale * self.frames.largest_sum
        energy = scale * scale * self.frames.largest_energy * self.frames.n_fft / 2
        order = 2 / (2 - p) if p < 2 else np.inf
        weights = peaks * np.linalg.norm(filters / peaks[:, None], order, axis=1)
        with np.errstate(over="ignore"):
            by_energy = weights * energy ** (min(p, 2) / 2) * most ** max(p - 2, 0)
            by_bins = filters.sum(axis=1) * most**p
        return float(np.minimum(by_bins, by_energy).max())

    def __call__(self, cut: Singles) -> Singles:
        """Sums (band, window, frame) of frames (window, frame, sample)."""
        n_windows, n_frames, _ = cut.shape
        squares = squared_spectra(self.frames, self.weights, cut)
        power = np.empty((self.frames.n_bins, n_windows * n_frames), np.float32)
        np.add(squares[..., 0].T, squares[..., 1].T, out=power)
        if self.exponent == 1:
            np.sqrt(power, out=power)
        elif self.exponent != 2:
            np.power(power, self.exponent / 2, out=power)
        sums: Singles = self.filters @ power
        return sums.reshape(-1, n_windows, n_frames)


mel_kernel = lru_cache(maxsize=16)(MelKernel)  # that of the same frames and bands is made once
