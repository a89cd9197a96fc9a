"""Sound levels of windows: spectral density by Welch's method, in bins or in bands."""

from dataclasses import dataclass
from typing import get_args

import numpy as np

from pipeline.checks import number, one_of, whole
from pipeline.features.feature import Axis
from pipeline.features.window_feature import LARGEST, WindowFeature
from pipeline.kernels import (
    BandKind,
    BandMeans,
    Counts,
    Doubles,
    Floats,
    Frames,
    Singles,
    band_means,
    largest_power,
    welch_kernel,
)

NAMES = {
    "psd": "power spectral density level",
    "decidecade": "power spectral density level of decidecade bands",
    "millidecade": "power spectral density level of hybrid millidecade bands",
}
WEAKEST = 1e-30  # power per Hz, of full scale 1: a hundred dB under the noise of 24 bits
LOWEST_DECIDECADE = 10.0  # Hz


@dataclass(frozen=True)
class Levels(WindowFeature):
    """Sound levels of each window: its power spectral density in decibels.

    Power is averaged over the frames of a window by Welch's method (periodic
    Hann taper, no detrend), then over the bins of each band; the logarithm comes
    last. There is one spectrum a window: windows of a minute are usual.

    Parameters
    ----------
    bands : {"psd", "decidecade", "millidecade"}
        What the levels are of: each bin of the DFT, decidecade bands, or hybrid
        millidecade bands.
    n_fft : int, optional
        Length of a frame and of its DFT in samples. If not given, one second,
        which makes bins of 1 Hz at any rate.
    overlap : float
        How much of a frame is shared with the next, from 0 to 0.99.
    fmin : float, optional
        Levels begin with the band that holds this frequency, in Hz. If not
        given, 10 for decidecade bands, and else 0.
    fmax : float, optional
        Levels end with the band that holds this frequency, in Hz. If not given,
        half of the rate.
    end_to_end_db : float, optional
        Level of full scale in dB re 1 uPa, of recorder and hydrophone together.
        If not given, levels are relative to full scale.
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
    Values are ``10 log10(P) + end_to_end_db``, where P is the mean power per Hz of
    a bin or band, of samples from -1 to 1: dB re 1 uPa^2/Hz, also for bands. The
    level of all that a band holds is 10 log10 of its width in Hz higher; a
    decidecade is 0.2308 of its centre wide. `end_to_end_db` is what calibration
    sheets call end-to-end, such as 176: what a peak of full scale is in the water.
    A sensitivity in dB re 1 V/uPa, which is negative, is another quantity.

    The PSD is that of `scipy.signal.welch` with ``detrend=False``, and agrees
    within 0.01 dB. Decidecades have their centres at ``10 * 10**(n / 10)`` Hz
    whatever `fmin` is (IEC 61260, base 10). Hybrid millidecades (Martin et al.
    2021, https://doi.org/10.1121/10.0003324, as pypam and MANTA have them) are
    bins up to 434 Hz and thousandths of a decade from 435 Hz on, with bins of
    1 Hz. A bin that an edge cuts counts in both bands, in the ratio of its parts.

    The band that Nyquist cuts has the mean of what is below, and Nyquist for its
    coordinate, as in pypam: so it is not taken for the whole band that other
    rates have there. An `fmax` leaves it out.

    A partial window has the frames that its samples fill; one without any, and
    bins without power, get the floor, 300 dB below full scale.

    The `limits` are proven, from that floor to the density of a constant at full scale
    in one bin, of which no mean over frames and bins has more. Most of that range is far
    below what recorders hear: limits that are passed resolve levels better.
    """

    bands: BandKind = "psd"
    n_fft: int | None = None
    overlap: float = 0.5
    fmin: float | None = None
    fmax: float | None = None
    end_to_end_db: float | None = None
    samplerate: int | None = None
    window: float | None = None

    def __post_init__(self) -> None:
        one_of("bands", self.bands, get_args(BandKind))
        counts, least = f"of at least 2, below {LARGEST}", 1e-30
        found: dict[str, object] = {
            "overlap": number("overlap", self.overlap, 0, "from 0 to 0.99", 0.99)
        }
        for name in ("n_fft", "samplerate"):
            if (value := getattr(self, name)) is not None:
                found[name] = whole(name, value, 2, counts, LARGEST - 1)
        for name in ("fmin", "fmax"):
            if (value := getattr(self, name)) is not None:
                found[name] = number(name, value, 0, "of Hz from 0, or None")
        if self.window is not None:
            found["window"] = number("window", self.window, least, "of seconds above 0")
        if self.end_to_end_db is not None:
            allowed = "of dB from 0 to 300: the level of full scale, which is no sensitivity"
            found["end_to_end_db"] = number("end_to_end_db", self.end_to_end_db, 0, allowed, 300)
        for name, value in found.items():
            object.__setattr__(self, name, value)
        if self.bands == "decidecade" and self.fmin == 0:
            raise ValueError("fmin is 0 Hz, where there is no decidecade band; pass one above 0")
        if self.samplerate is not None:
            self._check_range()
            if self.window is not None:
                self._check_window()

    def _check_range(self) -> None:
        lowest, highest = self._range
        half = self._rate / 2
        if not (lowest <= highest <= half and lowest < half):
            raise ValueError(
                f"levels from fmin {lowest:g} to fmax {highest:g} Hz cannot be had at a samplerate "
                f"of {self._rate}; pass an fmin below {half:g}, and an fmax from it to that"
            )

    def _check_window(self) -> None:
        frames = self._frames
        if frames.n_fft > frames.n_samples:
            raise ValueError(
                f"n_fft is {frames.n_fft} samples, more than the {frames.n_samples} of a window; "
                f"pass a smaller n_fft, or a longer window"
            )

    @property
    def _frames(self) -> Frames:
        n_fft = self.n_fft or self._rate
        hop_length = n_fft - int(n_fft * self.overlap)
        return Frames(self._window_samples, n_fft, hop_length, n_fft, "hann")

    @property
    def _range(self) -> tuple[float, float]:
        lowest = LOWEST_DECIDECADE if self.bands == "decidecade" else 0.0
        lowest = lowest if self.fmin is None else self.fmin
        return lowest, self._rate / 2 if self.fmax is None else self.fmax

    @property
    def _means(self) -> BandMeans:
        return band_means(self.bands, self._frames.n_fft, self._rate, *self._range)

    @property
    def shape(self) -> tuple[int]:
        """(frequency,) or (band,) of one window's levels."""
        return (len(self._means.bands.centres),)

    @property
    def axes(self) -> tuple[Axis]:
        """Frequencies of the bins, or centres of the bands, in Hz."""
        centres = self._means.bands.centres
        if self.bands == "psd":
            return (Axis("frequency", centres, "Hz"),)
        return (Axis("band", centres, "Hz", f"centre of the {self.bands} band"),)

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        return NAMES[self.bands]

    @property
    def units(self) -> str:
        """Of the values: re 1 uPa^2/Hz, or re full scale where that is not calibrated."""
        if self.end_to_end_db is None:
            return "dB re full scale^2/Hz"
        return "dB re 1 uPa^2/Hz"

    @property
    def floor(self) -> float:
        """The value where there is nothing to be heard."""
        return float(self._decibels(np.zeros(1)).astype(np.float32)[0])

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value of audio within full scale."""
        loudest = np.array([largest_power(self._frames, "density", self._rate)])
        return self.floor, float(self._decibels(loudest).astype(np.float32)[0])

    def _decibels(self, power: Doubles) -> Doubles:
        return 10 * np.log10(np.maximum(power, WEAKEST)) + (self.end_to_end_db or 0.0)

    def _compute(self, windows: Floats, n_samples: Counts, out: Singles) -> None:
        frames, means = self._frames, self._means
        kernel, no_power = welch_kernel(frames, self._rate), np.zeros(self.shape)
        present = frames.complete(n_samples).tolist()
        for row, (window, n_frames) in enumerate(zip(windows, present, strict=True)):
            power = means(kernel(window, n_frames)) if n_frames else no_power
            out[row] = self._decibels(power)
