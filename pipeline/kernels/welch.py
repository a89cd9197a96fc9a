"""Welch's method: the power of each bin of a window, averaged over its frames."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from pipeline.kernels.frames import Doubles, Floats, Frames, Singles, groups
from pipeline.kernels.power import power_scale

AT_ONCE = 8  # frames of float32, at least, that an FFT takes, and half as many of float64
GROUP_BYTES = 1 << 19
RESOLVED = 1e6  # from the mean of all bins down to the weakest, which float32 resolves


def squares_of_window(frames: Frames, weights: Floats, cut: Floats) -> Iterator[Floats]:
    """Squares of the real and the imaginary parts (frame, 2 bin) of the DFT of one window's frames.

    Some at a time, and always the same ones together, in the dtype of the weights.
    """
    from scipy.fft import rfft

    few = AT_ONCE * 4 // weights.itemsize
    at_once = few * max(1, GROUP_BYTES // (few * frames.n_fft * weights.itemsize))
    tapered = np.zeros((min(at_once, len(cut)), frames.n_fft), weights.dtype)
    for rows in groups(len(cut), len(tapered)):
        some = cut[rows]
        n = len(some)
        prepared = frames.prepared(some.astype(weights.dtype)) if frames.detrend else some
        np.multiply(prepared, weights, out=tapered[:n])
        tapered[n:] = 0  # a full group is the fastest
        squares = rfft(tapered, workers=1)[:n].view(weights.dtype)
        yield np.multiply(squares, squares, out=squares)


class WelchKernel:
    """The mean power of each bin over frames of a window.

    An FFT in float32 takes half the time, and adds to each bin about 1e-7 of the mean
    amplitude of all. Where weaker bins than it resolves are found, or there are too few
    frames to be sure of that, the window is computed in float64.
    """

    def __init__(self, frames: Frames, samplerate: int) -> None:
        self.frames = frames
        self.weights = frames.weights()
        self.singles = self.weights.astype(np.float32)
        self.scale = power_scale(frames, "density", samplerate)

    def __call__(self, window: Singles, n_frames: int) -> Doubles:
        """Power per Hz, of the first frames of a window, of which there is at least one."""
        cut = self.frames.cut(window[None])[0, :n_frames]
        if n_frames >= AT_ONCE:
            with np.errstate(over="ignore", invalid="ignore"):  # float64 holds them
                power = self._mean(cut, self.singles)
            if power.mean() <= min(RESOLVED * power.min(), np.finfo(np.float32).max):
                return power * self.scale
        return self._mean(cut, self.weights) * self.scale

    def _mean(self, cut: Singles, weights: Floats) -> Doubles:
        total = np.zeros(2 * self.frames.n_bins)
        for squares in squares_of_window(self.frames, weights, cut):
            total += squares.sum(axis=0)
        parts = total.reshape(-1, 2)
        return (parts[:, 0] + parts[:, 1]) / len(cut)


@lru_cache(maxsize=16)
def welch_kernel(frames: Frames, samplerate: int) -> WelchKernel:
    """The kernel for such frames, which is made once."""
    return WelchKernel(frames, samplerate)
