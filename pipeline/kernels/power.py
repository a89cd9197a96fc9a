"""Power: spectra of the frames of windows, by matrix products or by FFT."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import numpy as np

from pipeline.kernels.frames import Doubles, Frames, Singles, groups

Scaling = Literal["density", "spectrum"]
SCRATCH_BYTES = 1 << 21
# Frames that an FFT may take at once, on the widest of processors. It takes the last ones by
# other means where they are fewer, so that their last bit could hang on how many there are.
LANES = 16


class MatrixKernel:
    """The DFT of short frames as two matrix products.

    Detrend, taper, zero padding, DFT and scale are linear. The power does not
    change when time is counted from the middle of the frame; the real part is
    then of the frame's even half alone, the imaginary part of its odd half.
    """

    def __init__(self, frames: Frames, scale: Doubles) -> None:
        self.frames = frames
        length = frames.frame_length
        prepared = frames.prepared(np.eye(length)) * frames.weights()
        even, odd = prepared + prepared[:, ::-1], prepared - prepared[:, ::-1]
        self.n_even = (length + 1) // 2
        even[:, length // 2 : self.n_even] /= 2  # the middle sample is its own mirror image
        # Of a frame of odd length the middle sample is nothing in the odd half.
        halves = [even[:, : self.n_even], odd[:, : self.n_even]]
        self.halves = np.concatenate(halves, axis=1).T.astype(np.float32)
        angles = np.outer(
            2 * np.pi * np.arange(frames.n_bins) / frames.n_fft,
            (length - 1) / 2 - np.arange(self.n_even),
        )
        waves = np.sqrt(scale)[:, None] * np.stack([np.cos(angles), np.sin(angles)])
        self.waves = waves.astype(np.float32)

    def __call__(self, cut: Singles, scratch: Singles) -> Singles:
        halves = self.halves @ np.ascontiguousarray(cut).swapaxes(1, 2)
        np.matmul(self.waves, halves.reshape(len(cut), 2, self.n_even, -1), out=scratch)
        np.multiply(scratch, scratch, out=scratch)
        power: Singles = scratch[:, 0]
        np.add(power, scratch[:, 1], out=power)
        return power


class FourierKernel:
    """The DFT of long frames by FFT."""

    def __init__(self, frames: Frames, scale: Doubles) -> None:
        self.frames = frames
        self.weights = frames.weights().astype(np.float32)
        self.scale = scale.astype(np.float32)

    def __call__(self, cut: Singles, scratch: Singles) -> Singles:
        squares = squared_spectra(self.frames, self.weights, cut)
        unscaled = np.add(squares[..., 0], squares[..., 1]).reshape(*cut.shape[:2], -1)
        power: Singles = scratch[:, 0]
        np.multiply(unscaled.swapaxes(1, 2), self.scale[:, None], out=power)
        return power


def squared_spectra(frames: Frames, weights: Singles, cut: Singles) -> Singles:
    """Squares of the real and the imaginary part of the DFT of each frame, (frame, bin, 2)."""
    from scipy.fft import rfft

    n = math.prod(cut.shape[:2])
    prepared = np.zeros((-(-n // LANES) * LANES, frames.n_fft), np.float32)
    tapered = prepared[:n, : frames.frame_length].reshape(cut.shape)
    np.multiply(frames.prepared(cut), weights, out=tapered)
    spectrum = rfft(prepared, overwrite_x=True, workers=1)
    parts: Singles = spectrum[:n].view(np.float32).reshape(n, -1, 2)
    np.multiply(parts, parts, out=parts)
    return parts


Kernel = MatrixKernel | FourierKernel


@lru_cache(maxsize=16)
def power_kernel(frames: Frames, scaling: Scaling, samplerate: int) -> Kernel:
    """The faster kernel for the power of each bin; that of the same frames is made once."""
    scale = power_scale(frames, scaling, samplerate)
    # Products of L samples with n_fft columns cost as much as the FFT of
    # n_fft points near L = 13 log2(n_fft): see scripts/measure/choices.
    short = frames.frame_length <= 13 * math.log2(frames.n_fft)
    return MatrixKernel(frames, scale) if short else FourierKernel(frames, scale)


def power_scale(frames: Frames, scaling: Scaling, samplerate: int) -> Doubles:
    """Factor on re**2 + im**2, one-sided, as `scipy.signal.spectrogram` has it."""
    taper = frames.weights()
    density = scaling == "density"
    factor = 1 / (samplerate * np.sum(taper * taper) if density else np.sum(taper) ** 2)
    scale = np.full(frames.n_bins, 2 * factor)
    scale[0] = factor
    if frames.n_fft % 2 == 0:
        scale[-1] = factor
    return scale


def largest_power(
    frames: Frames, scaling: Scaling, samplerate: int, energy: float | None = None
) -> float:
    """What no bin exceeds, of frames of such an energy or, without one, of audio within full scale.

    The square of a bin is at most the energy of the frame times that of the taper.
    """
    taper = frames.weights()
    square = frames.largest_sum**2 if energy is None else energy * np.sum(taper * taper)
    return float(power_scale(frames, scaling, samplerate).max() * square)


def power_spectra(
    kernel: Kernel, windows: Singles, scratch: Singles
) -> Iterator[tuple[slice, Singles]]:
    """Power (window, bin, frame) of as many windows at a time as the scratch is for.

    It lies in the scratch, and may be overwritten.
    """
    cut = kernel.frames.cut(windows)
    for rows in groups(len(cut), len(scratch)):
        some = cut[rows]
        yield rows, kernel(some, scratch[: len(some)])


def scratch_for(frames: Frames, n_windows: int) -> Singles:
    """Room to compute at most `n_windows`, few enough to stay in the cache."""
    shape = 2, frames.n_bins, frames.n_frames
    few = min(n_windows, SCRATCH_BYTES // (4 * math.prod(shape)))
    return np.empty((max(1, few), *shape), np.float32)
