"""The waveform: the samples of windows themselves."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.checks import number, whole
from pipeline.features.feature import Axis
from pipeline.features.window_feature import WindowFeature
from pipeline.kernels import Counts, Floats, Singles

SHORTEST = 1e-30  # of windows, in seconds


@dataclass(frozen=True)
class Waveform(WindowFeature):
    """The samples of each window, as they are.

    Full scale is 1, as `soundfile.read` gives it. The axis `sample` has the
    time of each sample in seconds from the window's start, not its number: so
    it is a coordinate to select and plot by, as `time` of a spectrogram is.

    Parameters
    ----------
    samplerate : int, optional
        In Hz. Taken from the recordings where not given; 8000 until then.
    window : float, optional
        Length of a window in seconds. Taken from the grid where not given;
        1.0 until then.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or no sample fits in a window.

    Notes
    -----
    With ``dtype="int16"`` a sample is stored as ``round(sample * 32768)``: what
    a 16-bit recording holds, but for its lowest value. The code -32768 means
    that a window was never written, so a sample of -1 becomes -32767 / 32768;
    samples beyond full scale, which floating-point recordings may have, become
    the nearest code. Samples after the end of a recording are 0.
    """

    samplerate: int | None = None
    window: float | None = None

    long_name: ClassVar[str] = "amplitude, of which full scale is 1"
    units: ClassVar[str] = "1"
    floor: ClassVar[float] = 0.0
    limits: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    # Of each dtype of whole numbers that holds the values, from one of its codes to the next.
    steps: ClassVar[dict[str, float]] = {"int16": 2.0**-15}

    def __post_init__(self) -> None:
        if self.samplerate is not None:
            rate = whole("samplerate", self.samplerate, 1, "of Hz above 0")
            object.__setattr__(self, "samplerate", rate)
        if self.window is not None:
            window = number("window", self.window, SHORTEST, "of seconds above 0")
            object.__setattr__(self, "window", window)
        if self.shape[0] < 1:
            raise ValueError(
                f"window is {self.window} s, which is no sample at {self._rate} Hz; pass a "
                f"longer window"
            )

    @property
    def shape(self) -> tuple[int]:
        """(sample,) of one window."""
        return (self._window_samples,)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The time of each sample."""
        times = np.arange(self.shape[0]) / self._rate
        return (Axis("sample", times, "s", "time of the sample, from the window's start"),)

    def _compute(self, windows: Floats, n_samples: Counts, out: Singles) -> None:
        out[...] = windows
