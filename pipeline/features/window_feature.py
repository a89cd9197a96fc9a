"""What our features share: what they know of the recordings, and how they are called."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from pipeline.features.feature import check_length
from pipeline.kernels import Counts, Floats, Singles

ARTICLE_RATE = 8000
LARGEST = 2**31  # that a number of samples stays below


class Bound:
    """What a feature knows of the recordings: its fields `samplerate` and `window`, or defaults."""

    _default_rate: ClassVar[int] = ARTICLE_RATE

    samplerate: int | None
    window: float | None

    @property
    def _rate(self) -> int:
        return self._default_rate if self.samplerate is None else self.samplerate

    @property
    def _window_samples(self) -> int:
        return round((1.0 if self.window is None else self.window) * self._rate)


class WindowFeature(Bound, ABC):
    """A feature of the samples of each window, without those around it."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]: ...

    def __call__(
        self, windows: Floats, n_samples: Counts | None = None, out: Singles | None = None
    ) -> Singles:
        r"""Compute the features of a block of windows.

        Parameters
        ----------
        windows : numpy.ndarray, shape (window, sample)
            Each padded with zeros after its own samples.
        n_samples : numpy.ndarray of int, shape (window,), optional
            How many samples each window really has; all if not given.
        out : numpy.ndarray of float32, shape (window, \*shape), optional
            Where the result is written.

        Returns
        -------
        numpy.ndarray of float32, shape (window, \*shape)
            `out`, or a new array.

        Raises
        ------
        ValueError
            If the windows are not of the length that the feature is for.
        """
        check_length(windows, self._window_samples)
        if out is None:
            out = np.empty((len(windows), *self.shape), np.float32)
        if n_samples is None:
            n_samples = np.full(len(windows), self._window_samples)
        self._compute(windows, n_samples, out)
        return out

    @abstractmethod
    def _compute(self, windows: Floats, n_samples: Counts, out: Singles) -> None:
        """Write the features of windows of the right length."""
