"""Gain control: the energy of bands, each divided by its own recent past."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from pipeline.kernels.frames import Counts, Doubles, Singles, groups

Initial = Literal["one", "first"]
LEFT_OUT = 1e-12  # of what is remembered, at the most
GROUP_BYTES = 1 << 20
LARGEST = np.finfo(np.float32).max
LARGEST_EXPONENT = np.float32(80)  # of e, in float32


@dataclass(frozen=True)
class GainControl:
    """Per-channel energy normalization: bands relative to what each was of late, compressed.

    What a band was of late is a mean that forgets: ``M[t] = (1 - b) M[t-1] + b S[t]``. It is
    made anew for each window, of the `memory` of frames before it, which is always as long: so
    it does not matter which windows are computed together. Where the recording begins within
    these frames, it begins as `initial` says.
    """

    gain: float
    bias: float
    power: float
    b: float
    eps: float
    max_size: int = 1
    initial: Initial = "one"

    @property
    def memory(self) -> int:
        """Frames after which all but `LEFT_OUT` is forgotten."""
        return 0 if self.b == 1 else math.ceil(math.log(LEFT_OUT) / math.log1p(-self.b))

    def largest(self, loudest: float) -> float:
        """What no value exceeds, of sums up to the loudest.

        What is remembered is at least `b` times the sum, which it is after silence. With a gain
        above 1, the value falls from some sum on: where its derivative is 0, or its exponent is
        no longer limited.
        """
        if self.gain > 1:
            limited = math.exp(-LARGEST_EXPONENT / self.gain) - self.eps
            loudest = min(loudest, max(self.eps / (self.gain - 1), limited) / self.b)
        sums = np.full(64, min(loudest, LARGEST), np.float32)
        values = np.empty_like(sums)
        with np.errstate(all="ignore"):
            self._normalize(sums, self.b * sums.astype(np.float64), values)
        return float(values[0])

    @cached_property
    def _weights(self) -> Singles:
        """Of the frames before a window in the mean that it begins with."""
        ages = np.arange(self.memory)[::-1]
        return (self.b * (1 - self.b) ** ages).astype(np.float32)

    def apply(self, sums: Singles, before: int, step: int, present: Counts, out: Singles) -> None:
        """Write the values (window, band, frame) of sums (band, frame) of one stretch.

        Windows begin every `step` frames, the first after as many as are `before` it. Which
        frames are in the recording: the first that is `present`, and the one after the last.
        """
        n_windows, _, n_frames = out.shape
        heard = self._heard(sums)
        means = self._first_means(heard, before, step, present, n_windows)
        own = np.lib.stride_tricks.sliding_window_view(sums[:, before:], n_frames, axis=1)
        own_heard = np.lib.stride_tricks.sliding_window_view(heard[:, before:], n_frames, axis=1)
        few = GROUP_BYTES // (8 * n_frames * len(sums))
        for rows in groups(n_windows, few):
            some = slice(rows.start * step, rows.stop * step, step)
            smooth = self._means(own_heard[:, some], means[:, rows])
            self._normalize(own[:, some], smooth, out[rows].swapaxes(0, 1))

    def _heard(self, sums: Singles) -> Singles:
        """What each band is compared with: the loudest of those around it."""
        if self.max_size == 1:
            return sums
        from scipy.ndimage import maximum_filter1d

        loudest: Singles = maximum_filter1d(sums, self.max_size, axis=0)
        return loudest

    def _first_means(
        self, heard: Singles, before: int, step: int, present: Counts, n_windows: int
    ) -> Singles:
        """The mean (band, window) that each window begins with."""
        first = int(present[0])
        means: Singles = np.zeros((len(heard), n_windows), np.float32)
        known = np.arange(n_windows) * step + before - first
        if before:
            past = np.lib.stride_tricks.sliding_window_view(heard, before, axis=1)[:, ::step]
            np.einsum("bwf,f->bw", past[:, :n_windows], self._weights, out=means)
        begun = known < self.memory
        initial = heard[:, min(first, heard.shape[1] - 1), None] if self.initial == "first" else 1
        means[:, begun] += np.float32(initial) * np.float32((1 - self.b) ** known[begun])
        return means

    def _means(self, heard: Singles, before: Singles) -> Doubles:
        """The mean (band, window, frame) at each frame, given those before the first."""
        from scipy.signal import lfilter

        state = (1 - self.b) * before.astype(np.float64)
        means, _ = lfilter([self.b], [1, self.b - 1], heard, axis=-1, zi=state[..., None])
        return np.asarray(means)

    def _normalize(self, sums: Singles, means: Doubles, out: Singles) -> None:
        values = np.add(means, self.eps, out=means).astype(np.float32)
        np.log(values, out=values)
        np.multiply(values, np.float32(-self.gain), out=values)
        np.minimum(values, LARGEST_EXPONENT, out=values)
        np.exp(values, out=values)
        np.multiply(values, sums, out=values)
        if self.power == 0:
            np.log1p(values, out=values)
        elif self.bias == 0:
            np.power(values, np.float32(self.power), out=values)
        else:
            np.divide(values, np.float32(self.bias), out=values)
            np.log1p(values, out=values)
            np.multiply(values, np.float32(self.power), out=values)
            with np.errstate(over="ignore"):  # it is limited below
                np.expm1(values, out=values)
                np.multiply(values, np.float32(self.bias**self.power), out=values)
        np.minimum(values, LARGEST, out=out)


gain_control = lru_cache(maxsize=16)(GainControl)  # that of the same parameters is made once
