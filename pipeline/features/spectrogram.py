"""The spectrogram of windows, the default feature."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from pipeline.checks import number, one_of, whole
from pipeline.features.feature import Axis, spectral_axes
from pipeline.features.window_feature import LARGEST, WindowFeature
from pipeline.kernels import (
    DEFAULT_TAPER,
    Counts,
    Detrend,
    Floats,
    Frames,
    Scaling,
    Singles,
    Taper,
    as_taper,
    groups,
    largest_power,
    limited,
    normalized,
    power_kernel,
    power_spectra,
    scratch_for,
)

SEGMENTS_PER_SECOND = 400
# Samples that are normalised at a time. Threads wait for each other between any two calls
# of NumPy: these must be few, yet what they work on should stay in the cache.
GROUP_SAMPLES = 1 << 18
OUTPUTS = ("log", "db", "power", "magnitude")
DECIBEL = 10 / math.log(10)  # of a natural logarithm
FINEST = 1e-30  # well within float32


@dataclass(frozen=True)
class Spectrogram(WindowFeature):
    """Spectrogram of each window: `scipy.signal.spectrogram` in float32.

    The defaults are those of the article: normalised windows, frames of
    ``int(samplerate / 400)`` samples side by side, 512-point DFT, Tukey 0.25
    taper, constant detrend, density scaling, ``log(power + 1e-6)``.

    Parameters
    ----------
    n_fft : int
        Length of the DFT; frames are padded with zeros up to it.
    frame_length : int, optional
        Samples in a frame; ``int(samplerate / 400)`` if not given.
    hop_length : int, optional
        Samples between frame starts; `frame_length` if not given. With neither
        of the two given, frames after the first 400 a second are left out.
    taper : str, or tuple of a str and numbers
        Any window that `scipy.signal.get_window` knows.
    scaling : {"density", "spectrum"}
        Power per Hz, or power.
    detrend : {"constant", "linear"} or None
        What is taken off each frame.
    normalize : bool
        Bring each window to zero mean and unit standard deviation (ddof 0),
        over the samples that it has.
    log_offset : float or None
        Added to the power before its logarithm is taken. With None, `output`
        "log" is the power itself.
    output : {"log", "db", "power", "magnitude"}
        Natural logarithm of the power, decibels (10 times the decimal logarithm),
        the power itself, or its square root.
    samplerate : int, optional
        In Hz. Taken from the recordings where not given; 8000 until then.
    window : float, optional
        Length of a window in seconds. Taken from the grid where not given;
        1.0 until then.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or no frame fits in a window.

    Notes
    -----
    Frames that the samples of a partial window do not fill, and constant
    windows (they have no standard deviation), get the floor:
    ``log(log_offset)``, or 0 without logarithm. The formula is that of
    `scipy.signal.spectrogram`, with whose power ours agrees within 2e-6 of the
    window's largest. With the defaults the feature agrees within 1e-4; with
    ``scaling="spectrum"``, where powers are larger, within 1e-3; and with a
    `log_offset` of 1e-12 within 0.01, or 0.05 with both.

    The `limits` are proven: no frame has more energy than its window, which normalised
    has that of its number of samples, and the power of a bin is at most that energy times
    the taper's (Cauchy-Schwarz), or ``2 * window`` as a density. Not normalised, a
    frame has at most that of a constant at full scale.

    A window is computed by itself, in an order of operations that depends on
    the parameters alone, so its bits are the same in whatever block it comes.
    """

    n_fft: int = 512
    frame_length: int | None = None
    hop_length: int | None = None
    taper: Taper = DEFAULT_TAPER
    scaling: Scaling = "density"
    detrend: Detrend = "constant"
    normalize: bool = True
    log_offset: float | None = 1e-6
    output: Literal["log", "db", "power", "magnitude"] = "log"
    samplerate: int | None = None
    window: float | None = None

    # In float32: to look would take a fifth of the time that it takes to compute.
    always_finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "taper", as_taper(self.taper))
        for name in ("n_fft", "frame_length", "hop_length", "samplerate"):
            value = getattr(self, name)
            if value is not None or name == "n_fft":
                allowed = f"of at least 1, below {LARGEST}"
                object.__setattr__(self, name, whole(name, value, 1, allowed, LARGEST - 1))
        one_of("scaling", self.scaling, get_args(Scaling))
        one_of("detrend", self.detrend, ("constant", "linear", None))
        one_of("output", self.output, OUTPUTS)
        if self.output == "db" and self.log_offset is None:
            raise ValueError("output is 'db', of which log_offset is none; pass a number above 0")
        one_of("normalize", self.normalize, (True, False))
        object.__setattr__(self, "normalize", bool(self.normalize))
        for name in ("log_offset", "window"):
            if (value := getattr(self, name)) is not None:
                allowed = f"above 0, or None, and from {FINEST:g} to {1 / FINEST:g}"
                object.__setattr__(self, name, number(name, value, FINEST, allowed, 1 / FINEST))
        self._check_geometry()

    def _check_geometry(self) -> None:
        frames = self._frames
        if frames.frame_length < 1:
            raise ValueError(
                f"samplerate is {self._rate} Hz, which gives frames of "
                f"int(samplerate / {SEGMENTS_PER_SECOND}) = 0 samples; give a frame_length"
            )
        frames.check("" if self.frame_length else f"samplerate is {self._rate} Hz, so that ")
        bound = self.samplerate is not None and self.window is not None
        if bound and frames.frame_length > frames.n_samples:
            raise ValueError(
                f"frame_length is {frames.frame_length} samples, more than the "
                f"{frames.n_samples} of a window; give a shorter frame_length or a longer window"
            )

    @property
    def _frames(self) -> Frames:
        n_samples = self._window_samples
        length = self.frame_length or self._rate // SEGMENTS_PER_SECOND
        at_most = None
        if self.frame_length is None and self.hop_length is None:
            at_most = max(1, SEGMENTS_PER_SECOND * n_samples // self._rate)
        hop = self.hop_length or length
        return Frames(n_samples, length, hop, self.n_fft, self.taper, self.detrend, at_most)

    @property
    def shape(self) -> tuple[int, int]:
        """(frequency, time) of one window's features."""
        return self._frames.n_bins, self._frames.n_frames

    @property
    def frequencies(self) -> Floats:
        """Frequency of each row, in Hz, shape (frequency,)."""
        return np.fft.rfftfreq(self.n_fft, 1 / self._rate)

    @property
    def times(self) -> Floats:
        """Centre of each frame, in seconds from the window's start, shape (time,)."""
        return self._frames.centres / self._rate

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Frequency and time."""
        return spectral_axes(self.frequencies, self.times)

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        power = "power" + (" spectral density" if self.scaling == "density" else "")
        if self.linear:
            return f"square root of {power}" if self.output == "magnitude" else power
        logarithm = f"log({power} + {self.log_offset:g})"
        return logarithm if self.output == "log" else f"10 log10({power} + {self.log_offset:g})"

    @property
    def units(self) -> str:
        """Of the values."""
        return "dB" if self.output == "db" else "1"

    @property
    def linear(self) -> bool:
        """Whether the values are powers, which float16 does not resolve."""
        return self.log_offset is None or self.output in ("power", "magnitude")

    @property
    def floor(self) -> float:
        """The value where there is nothing to be heard."""
        return self._value(0.0)

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value of audio within full scale, of all if normalised."""
        frames = self._frames
        energy = float(frames.n_samples) if self.normalize else None
        return self.floor, self._value(largest_power(frames, self.scaling, self._rate, energy))

    def _value(self, power: float) -> float:
        value = np.full(64, min(power, np.finfo(np.float32).max), np.float32)
        self._finish(value, value)
        return float(value[0])

    def _compute(self, windows: Floats, n_samples: Counts, out: Singles) -> None:
        frames = self._frames
        kernel = power_kernel(frames, self.scaling, self._rate)
        scratch = scratch_for(frames, len(windows))
        for group in groups(len(windows), GROUP_SAMPLES // frames.n_samples):
            prepared, n_frames = self._prepare(windows[group], n_samples[group], frames)
            results = out[group]
            for rows, power in power_spectra(kernel, prepared, scratch):
                self._finish(power, results[rows])
            for row in np.flatnonzero(n_frames < frames.n_frames).tolist():
                results[row, :, n_frames[row] :] = self.floor

    def _prepare(
        self, windows: Floats, n_samples: Counts, frames: Frames
    ) -> tuple[Singles, Counts]:
        """The windows that frames are cut from, and how many of these each has."""
        n_frames = frames.complete(n_samples)
        if not self.normalize:
            return limited(windows, frames.frame_length), n_frames
        prepared, constant = normalized(windows, n_samples)
        return prepared, np.where(constant, 0, n_frames)

    def _finish(self, power: Singles, result: Singles) -> None:
        """Write the values, given the power, which is lost."""
        if self.log_offset is None or self.linear:
            np.minimum(power, np.finfo(np.float32).max, out=result)
            if self.output == "magnitude":
                np.sqrt(result, out=result)
            return
        np.add(power, self.log_offset, out=power)
        np.log(power, out=result)
        if self.output == "db":
            np.multiply(result, DECIBEL, out=result)
