"""What features of levels in mel bands share: the parameters of these, and their scale."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.checks import number
from pipeline.features.melparameters import ALLOWED, LEAST, MOST
from pipeline.features.melsums import MelSums
from pipeline.kernels import Counts, Floats, Output, Scale, Singles


@dataclass(frozen=True, kw_only=True)
class MelLevels(MelSums, ABC):
    """Levels of the frames of windows in mel bands, of which a feature is made."""

    power: float = 2.0
    output: Output = "db"
    ref: float | Literal["max"] = 1.0
    amin: float = 1e-10
    top_db: float | None = None

    def _numbers(self) -> dict[str, Any]:
        found = super()._numbers()
        for name in ("power", "amin"):
            found[name] = number(name, getattr(self, name), LEAST, ALLOWED, MOST)
        if self.ref != "max":
            found["ref"] = number("ref", self.ref, LEAST, f"{ALLOWED}, or 'max'", MOST)
        if self.top_db is not None:
            found["top_db"] = number("top_db", self.top_db, 0, "of dB from 0, or None", MOST)
        return found

    @property
    def _exponent(self) -> float:
        return self.power

    @property
    def _scale(self) -> Scale:
        return Scale(self.output, self.power, self.ref, self.amin, self.top_db)

    @property
    def units(self) -> str:
        """Of the values."""
        return self._scale.units

    def __call__(
        self, windows: Floats, inside: Counts | None = None, out: Singles | None = None
    ) -> Singles:
        r"""Compute the features of a block of windows.

        Parameters
        ----------
        windows : numpy.ndarray, shape (window, sample)
            Each with `margins` of the recording around it, and zeros outside of it.
        inside : numpy.ndarray of int, shape (window, 2), optional
            The first sample of each row that is in the recording, and the one
            after the last; all are if not given.
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
        if out is None:
            out = np.empty((len(windows), *self.shape), np.float32)
        for rows, cut, present in self._cut(windows, inside):
            self._compute(cut, present, out[rows])
        return out

    @abstractmethod
    def _compute(self, cut: Singles, present: Counts, out: Singles) -> None:
        """Write the features of a few windows, given their frames and which these have."""
