"""Cepstrum: coefficients of the levels of bands, and how they change from frame to frame."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from pipeline.kernels.frames import Counts, Doubles, Singles

Delta = Literal["savgol", "regression"]


@dataclass(frozen=True)
class Cepstrum:
    """The first coefficients of a discrete cosine transform of bands, liftered."""

    n_mels: int
    n_mfcc: int
    dct_type: Literal[1, 2, 3] = 2
    norm: Literal["ortho"] | None = "ortho"
    lifter: float = 0.0
    lifter_first: int = 1  # which number the first coefficient has in the lifter

    @cached_property
    def matrix(self) -> Any:
        """As a sparse one, whose products have the same bits for any number of frames."""
        from scipy.fft import dct
        from scipy.sparse import csr_array

        rows = dct(np.eye(self.n_mels), type=self.dct_type, axis=0, norm=self.norm)[: self.n_mfcc]
        if self.lifter:
            numbers = np.arange(self.n_mfcc) + self.lifter_first
            rows *= (1 + self.lifter / 2 * np.sin(np.pi * numbers / self.lifter))[:, None]
        return csr_array(rows.astype(np.float32))

    def limits(self, low: float, high: float) -> tuple[Doubles, Doubles]:
        """The least and the largest of each coefficient of levels within a range."""
        weights = self.matrix.toarray().astype(np.float64)
        positive, negative = (part.sum(axis=1) for part in (weights.clip(0), weights.clip(None, 0)))
        return low * positive + high * negative, high * positive + low * negative

    def __call__(self, levels: Singles) -> Singles:
        """Coefficients (coefficient, window, frame) of levels (band, window, frame)."""
        coefficients: Singles = self.matrix @ levels.reshape(self.n_mels, -1)
        return coefficients.reshape(self.n_mfcc, *levels.shape[1:])


mel_cepstrum = lru_cache(maxsize=16)(Cepstrum)  # the matrix of the same parameters is made once


@dataclass(frozen=True)
class Deltas:
    """How coefficients change at each frame: the slope, or the curvature, of those around it.

    With "savgol" it is the derivative of a polynomial of that order through `width` frames,
    which is also that of the frames at an edge; with "regression" the slope of a line, of order 2
    the slope of slopes, where the frame at an edge goes on.
    """

    kind: Delta
    width: int
    order: int

    @cached_property
    def weights(self) -> Doubles:
        """Of the frames around the one that it is of."""
        if self.kind == "savgol":
            return _derivative(self.width, self.order)
        slope = _derivative(self.width, 1)
        # What is correlated with one after the other is so with their convolution.
        return slope if self.order == 1 else np.convolve(slope, slope)

    @property
    def steepest(self) -> float:
        """What values from -1 to 1 may have at most; with "savgol", where there are few frames."""
        weights = self.weights
        if self.kind == "savgol":
            weights = _derivative(self.order + 1, self.order)
        return float(np.abs(weights).sum())

    @property
    def beside(self) -> int:
        """How many frames before and after its own it may hang on."""
        return len(self.weights) - 1 if self.kind == "savgol" else len(self.weights) // 2

    def __call__(self, values: Singles, present: Counts, first: int, out: Singles) -> None:
        """Write the deltas (window, row, frame) of values (row, window, frame).

        Their frames are those from `first` on; those that are not `present` have none.
        """
        half, stop = len(self.weights) // 2, first + out.shape[-1]
        inner = (present[:, 0] <= first - half) & (present[:, 1] >= stop + half)
        if inner.any():
            around = values[..., first - half : stop + half]
            out[...] = _correlated(around, self.weights).swapaxes(0, 1)
        for row in np.flatnonzero(~inner).tolist():
            start, end = present[row].tolist()
            self._at_an_edge(values[:, row], start, end, first, out[row])

    def _at_an_edge(self, values: Singles, start: int, stop: int, first: int, out: Singles) -> None:
        """Write the deltas of a window near the end of its recording."""
        half, own = len(self.weights) // 2, np.arange(first, first + out.shape[-1])
        if stop <= start:
            out[...] = 0
        elif self.kind == "regression":
            frames = np.arange(own[0] - half, own[-1] + half + 1)
            out[...] = _correlated(values[:, np.clip(frames, start, stop - 1)], self.weights)
        elif stop - start >= self.width:
            slopes = _correlated(values, self.weights)
            out[...] = slopes[:, np.clip(own, start + half, stop - 1 - half) - half]
        else:
            out[...] = _correlated(values[:, start:stop], _derivative(stop - start, self.order))
        out[:, (own < start) | (own >= stop)] = 0


@lru_cache(maxsize=64)
def _derivative(width: int, order: int) -> Doubles:
    """Weights of evenly spaced values: the derivative of the polynomial of that order nearest."""
    if width <= order:
        return np.zeros(width)
    places = np.arange(width) - (width - 1) / 2
    powers = np.vander(places, order + 1, increasing=True)
    return np.asarray(math.factorial(order) * np.linalg.pinv(powers)[order])


def _correlated(values: Singles, weights: Doubles) -> Singles:
    """Sums of values (..., frame), weighted, at each frame that has all of them around it."""
    n_frames = values.shape[-1] - len(weights) + 1
    result = np.zeros((*values.shape[:-1], n_frames), np.float32)
    weighted = np.empty_like(result)
    for first, weight in enumerate(weights.astype(np.float32)):
        np.multiply(values[..., first : first + n_frames], weight, out=weighted)
        np.add(result, weighted, out=result)
    return result
