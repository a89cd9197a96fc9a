"""Acoustic indices of windows, as scikit-maad has them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.checks import number, one_of, reject_unknown, whole
from pipeline.features.feature import Axis
from pipeline.features.window_feature import LARGEST, WindowFeature
from pipeline.kernels import (
    AmplitudeSpectra,
    Counts,
    Doubles,
    Floats,
    Frames,
    Limits,
    Singles,
    activity,
    amplitude_spectra,
    complete_frames,
    complexity,
    difference,
    diversity,
    entropy,
    envelope,
    evenness,
    occupancy,
)

Index = Callable[["Indices", AmplitudeSpectra, Floats], float]


def _occupancy(of: "Indices", spectra: AmplitudeSpectra, step: float) -> Doubles:
    return occupancy(spectra, (of.fmin, of.fmax), step, of.db_threshold)


INDICES: dict[str, Index] = {
    "ACI": lambda of, spectra, samples: complexity(spectra),
    "NDSI": lambda of, spectra, samples: difference(spectra, of.flim_bioph, of.flim_antroph),
    "BI": lambda of, spectra, samples: activity(spectra, of.flim_bi),
    "ADI": lambda of, spectra, samples: diversity(_occupancy(of, spectra, of.adi_bin_step)),
    "AEI": lambda of, spectra, samples: evenness(_occupancy(of, spectra, of.aei_bin_step)),
    "Hf": lambda of, spectra, samples: entropy(spectra.power),
    "Ht": lambda of, spectra, samples: entropy(envelope(samples, of.nt) ** 2),
}


@dataclass(frozen=True)
class Indices(WindowFeature):
    """Acoustic indices of each window: one number each for how its sound is spread.

    They are made for windows of a minute, and most of them hang on how long a
    window is and on its loudest sound: only those of equal windows compare.

    Parameters
    ----------
    indices : tuple of str
        Which ones, in this order: ACI, NDSI, BI, ADI, AEI, Hf and Ht; on the
        command line with commas between them.
    n_fft : int
        Samples in a frame and in its DFT (nperseg in scikit-maad).
    hop_length : int, optional
        Samples between frame starts. If not given, half of `n_fft`.
    detrend : {"constant", None}
        What is taken off each frame: its mean, or nothing as in soundecology.
    flim_bioph : tuple of float
        From where to where living beings are heard, in Hz, for NDSI
        (flim_bioPh).
    flim_antroph : tuple of float
        From where to where machines are heard, in Hz, for NDSI (flim_antroPh);
        its bands are as wide.
    flim_bi : tuple of float
        From where to where BI looks, in Hz.
    fmin : float
        Where the bands of ADI and AEI begin, in Hz.
    fmax : float
        Where the bands of ADI and AEI end, in Hz.
    adi_bin_step : float
        Width of the bands of ADI in Hz.
    aei_bin_step : float
        Width of the bands of AEI in Hz.
    db_threshold : float
        How far below the loudest of its window a bin of a frame may be to count in
        ADI and AEI, in dB.
    nt : int
        Samples of which the envelope of Ht has the loudest (Nt).
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
    Formulas and defaults are those of the functions of scikit-maad 1.5
    (`maad.features`), on ``maad.sound.spectrogram(x, fs)``: periodic Hann taper,
    no bin at Nyquist. With A the amplitudes of its bins and P = A^2:

    - ACI, `acoustic_complexity_index`: sum over the bins of
      ``sum_t |A[t+1] - A[t]| / sum_t A[t]``;
    - NDSI, `soundscape_index`: ``(b - a) / (b + a)`` of the mean P of bands 1 kHz
      wide; that which begins at 1 kHz counts in both b and a;
    - BI, `bioacoustics_index`: mean A in dB less its least, summed, over the width
      of a bin;
    - ADI, `acoustic_diversity_index`: Shannon's entropy, in nats, of the shares of
      bands that are loud;
    - AEI, `acoustic_eveness_index`: Gini's coefficient of the same;
    - Hf, `frequency_entropy`: entropy of the mean P, from 0 to 1;
    - Ht, `temporal_entropy`: entropy of the squared envelope, from 0 to 1.

    Limits go to the nearest bin, also where they are above Nyquist. Where
    scikit-maad has no number (0 / 0 in a silent window, or in a silent bin), ours is 0; a
    window too short for one frame is 0 throughout. The axis ``index`` counts the
    indices; its long name says which is which. There are no `limits`: those of one
    index would resolve nothing of another, and BI has none.
    """

    indices: tuple[str, ...] = tuple(INDICES)
    n_fft: int = 1024
    hop_length: int | None = None
    detrend: Literal["constant"] | None = "constant"
    flim_bioph: Limits = (1000.0, 10000.0)
    flim_antroph: Limits = (0.0, 1000.0)
    flim_bi: Limits = (2000.0, 15000.0)
    fmin: float = 0.0
    fmax: float = 20000.0
    adi_bin_step: float = 1000.0
    aei_bin_step: float = 500.0
    db_threshold: float = -50.0
    nt: int = 512
    samplerate: int | None = None
    window: float | None = None

    def __post_init__(self) -> None:
        one_of("detrend", self.detrend, ("constant", None))
        for name, value in {**self._numbers(), "indices": self._named()}.items():
            object.__setattr__(self, name, value)
        for name in ("flim_bioph", "flim_antroph", "flim_bi"):
            object.__setattr__(self, name, _limits(name, getattr(self, name)))
        self._check_bands()
        frames = self._frames
        bound = self.samplerate is not None and self.window is not None
        if bound and not complete_frames(frames, frames.n_samples):
            raise ValueError(
                f"n_fft is {self.n_fft} samples, of which the {frames.n_samples} of a window hold "
                f"no frame; pass a smaller n_fft, or a longer window"
            )

    def _named(self) -> tuple[str, ...]:
        given: Any = self.indices
        names = given.split(",") if isinstance(given, str) else given
        if not isinstance(names, list | tuple) or not names or len(set(names)) < len(names):
            raise ValueError(
                f"indices is {given!r}; it must be some of {', '.join(INDICES)}, each once"
            )
        found = tuple(str(name).strip() for name in names)
        reject_unknown(found, INDICES, "index")
        return found

    def _numbers(self) -> dict[str, Any]:
        """The parameters that are numbers, checked."""
        most = 1e30
        found: dict[str, Any] = {
            "n_fft": whole("n_fft", self.n_fft, 4, f"of at least 4, below {LARGEST}", LARGEST - 1),
            "nt": whole("nt", self.nt, 1, f"of at least 1, below {LARGEST}", LARGEST - 1),
            "db_threshold": number("db_threshold", self.db_threshold, -most, "of dB up to 0", 0),
        }
        for name in ("hop_length", "samplerate"):
            if (value := getattr(self, name)) is not None:
                found[name] = whole(name, value, 1, f"of at least 1, below {LARGEST}", LARGEST - 1)
        for name in ("fmin", "fmax"):
            found[name] = number(name, getattr(self, name), 0, "of Hz from 0", most)
        for name in ("adi_bin_step", "aei_bin_step"):
            found[name] = number(name, getattr(self, name), 1, "of Hz from 1", most)
        if self.window is not None:
            found["window"] = number("window", self.window, 1 / most, "of seconds above 0", most)
        return found

    def _check_bands(self) -> None:
        widest = max(self.adi_bin_step, self.aei_bin_step)
        if self.fmax - self.fmin < widest:
            raise ValueError(
                f"fmin is {self.fmin:g} and fmax {self.fmax:g} Hz, between which there is no band "
                f"of {widest:g} Hz; pass a higher fmax, or smaller adi_bin_step and aei_bin_step"
            )
        if self.samplerate is None or "NDSI" not in self.indices:
            return
        width, bin_width = self.flim_antroph[1] - self.flim_antroph[0], self.samplerate / self.n_fft
        if width < bin_width:
            raise ValueError(
                f"n_fft is {self.n_fft}, whose bins of {bin_width:g} Hz are wider than the "
                f"{width:g} of flim_antroph; pass a larger n_fft, or wider limits"
            )

    @property
    def _frames(self) -> Frames:
        hop_length = self.hop_length or self.n_fft // 2
        return Frames(
            self._window_samples, self.n_fft, hop_length, self.n_fft, "hann", self.detrend
        )

    @property
    def shape(self) -> tuple[int]:
        """(index,) of one window's indices."""
        return (len(self.indices),)

    @property
    def axes(self) -> tuple[Axis]:
        """The indices, counted from 0; the long name says which is which."""
        names = ", ".join(f"{number} {name}" for number, name in enumerate(self.indices))
        return (Axis("index", np.arange(float(len(self.indices))), "1", names),)

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        return f"acoustic indices {', '.join(self.indices)}"

    def memory_bytes(self, threads: int) -> int:
        """Memory that the spectra of a whole window, and their squares, take in so many threads."""
        frames = self._frames
        n_frames = int(complete_frames(frames, frames.n_samples))
        return threads * 2 * 4 * n_frames * frames.n_bins

    def _compute(self, windows: Floats, n_samples: Counts, out: Singles) -> None:
        frames = self._frames
        for row, (window, n) in enumerate(zip(windows, n_samples.tolist(), strict=True)):
            out[row] = self._of_window(window, n, frames)

    def _of_window(self, window: Floats, n: int, frames: Frames) -> Doubles:
        n_frames = complete_frames(frames, n)
        if not n_frames:
            return np.zeros(self.shape)
        spectra = amplitude_spectra(frames, self._rate, window, n_frames)
        return np.array([INDICES[name](self, spectra, window[:n]) for name in self.indices])


def _limits(name: str, given: Any) -> Limits:
    """Limits in Hz; lists, as YAML has them, as tuples."""
    if isinstance(given, list | tuple) and len(given) == 2:
        low, high = (number(name, value, 0, "of Hz from 0", 1e30) for value in given)
        if low < high:
            return low, high
    raise ValueError(f"{name} is {given!r}; it must be two numbers of Hz, the lower one first")
