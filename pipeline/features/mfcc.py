"""Mel-frequency cepstral coefficients of windows, as librosa, torchaudio and Kaldi have them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from pipeline.checks import number, whole
from pipeline.features.feature import Axis, spectral_axes
from pipeline.features.mellevels import MelLevels
from pipeline.features.melparameters import FLOAT32_EPS, MOST
from pipeline.features.melsums import silence
from pipeline.features.window_feature import LARGEST
from pipeline.kernels import Cepstrum, Counts, Delta, Deltas, Doubles, Scale, Singles, mel_cepstrum


@dataclass(frozen=True, kw_only=True)
class MFCC(MelLevels):
    """Mel-frequency cepstral coefficients of each window: the cosine transform of its mel levels.

    Windows are seamless: the frames of consecutive windows, side by side, are
    those of the whole recording. A `preset` has the parameters of librosa,
    torchaudio or Kaldi.

    Parameters
    ----------
    n_mfcc : int
        Coefficients of each frame, the first ones.
    dct_type : int
        Type of the discrete cosine transform, 1 to 3, as in `scipy.fft.dct`.
    norm : {"ortho", None}
        Whether the transform is orthonormal, or as it is.
    lifter : float
        Raises the higher coefficients by ``1 + lifter / 2 * sin(pi * i / lifter)``,
        or 0.
    lifter_first : int
        Number i of the first coefficient in the lifter: 1 in librosa, 0 in Kaldi.
    deltas : int
        How many orders of deltas follow, as further rows: none, the slope of each
        coefficient (1), or its curvature too (2).
    delta : {"savgol", "regression"}
        How deltas are made: as librosa has them, or as torchaudio and Kaldi.
        They are the derivative of a polynomial of their order, of which the
        first and last also serve the frames at the ends of a recording; or the
        slope of a line, and the slope of slopes, with the first and last frame
        repeated.
    delta_width : int
        Frames that a delta is made of, an odd number.
    use_energy : bool
        Put the logarithm of each frame's energy, before it is pre-emphasized and
        tapered, in the place of the first coefficient.
    power : float
        Exponent of the magnitude that is summed: 2 for power, 1 for magnitude.
    output : {"db", "log", "log10"}
        What the levels are that are transformed: decibels, or logarithms of the
        sums.
    ref : float or "max"
        What the levels are relative to; "max" is the largest of each window.
    amin : float
        Smaller sums count as this.
    top_db : float, optional
        Levels further below the largest of their window are raised to that, in
        dB.
    {parameters}

    Raises
    ------
    ValueError
        If a parameter is out of its range, or, with `context` "recording", a
        window is not a whole number of hops.

    Notes
    -----
    The formulas are those of librosa 0.11 (`librosa.feature.mfcc`,
    `librosa.feature.delta`), torchaudio (`torchaudio.transforms.MFCC`,
    `torchaudio.functional.compute_deltas`) and Kaldi (feature-mfcc.cc,
    feature-functions.cc), whose deltas of order 2 differ at a recording's ends
    from those that torchaudio makes of deltas. What is relative to a window's
    largest level, `ref` and `top_db`, is so for each window by itself, of the
    frames beside it too that its deltas are made of.

    Of a recording of fewer frames than `delta_width`, "savgol", which librosa
    refuses, takes those that there are. Frames that begin behind the
    recording's end are silent, and have deltas of 0. Windows without audio are
    0, as all but the first coefficient of silence are.

    The `limits` are proven: what levels from silence to the loudest add up to at most,
    each with its weight in the transform and in the lifter, and in deltas. They are one
    range for all coefficients and orders of deltas, of which the first coefficient needs
    most, so they are wide: limits that are passed, such as those of a few recordings, resolve
    what real audio has far better.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "librosa": {**MelLevels.PRESETS["librosa"], "n_mfcc": 20, "top_db": 80.0},
        "torchaudio": {
            **MelLevels.PRESETS["torchaudio"],
            "n_mfcc": 40,
            "top_db": 80.0,
            "delta": "regression",
            "delta_width": 5,
        },
        "kaldi": {
            **MelLevels.PRESETS["kaldi"],
            "n_mfcc": 13,
            "lifter": 22.0,
            "lifter_first": 0,
            "use_energy": True,
            "output": "log",
            "amin": FLOAT32_EPS,
            "delta": "regression",
            "delta_width": 5,
        },
    }

    n_mfcc: int = 20
    dct_type: Literal[1, 2, 3] = 2
    norm: Literal["ortho"] | None = "ortho"
    lifter: float = 0.0
    lifter_first: int = 1
    deltas: int = 0
    delta: Delta = "savgol"
    delta_width: int = 9
    use_energy: bool = False

    def _words(self) -> dict[str, tuple[Any, ...]]:
        return {
            **super()._words(),
            "norm": ("ortho", None),
            "delta": get_args(Delta),
            "use_energy": (True, False),
            "output": ("db", "log", "log10"),
        }

    def _numbers(self) -> dict[str, Any]:
        found = super()._numbers()
        n_mels, width = found["n_mels"], self.delta_width
        bands = f"from 1 to n_mels, which is {n_mels}"
        found["n_mfcc"] = whole("n_mfcc", self.n_mfcc, 1, bands, n_mels)
        found["lifter"] = number("lifter", self.lifter, 0, "from 0", MOST)
        for name, least, most in (("dct_type", 1, 3), ("lifter_first", 0, 1), ("deltas", 0, 2)):
            found[name] = whole(name, getattr(self, name), least, f"from {least} to {most}", most)
        found["delta_width"] = whole("delta_width", width, 3, "of frames from 3", LARGEST)
        if width % 2 == 0:
            raise ValueError(
                f"delta_width is {width}, so that no frame is in its middle; pass an odd number"
            )
        if self.dct_type == 1 and n_mels == 1:
            raise ValueError("dct_type is 1, which needs two bands; pass a larger n_mels")
        return found

    @property
    def _cepstrum(self) -> Cepstrum:
        return mel_cepstrum(
            self.n_mels, self.n_mfcc, self.dct_type, self.norm, self.lifter, self.lifter_first
        )

    @property
    def _deltas(self) -> list[Deltas]:
        return [Deltas(self.delta, self.delta_width, order) for order in range(1, self.deltas + 1)]

    @property
    def _beside(self) -> tuple[int, int]:
        frames = max((deltas.beside for deltas in self._deltas), default=0)
        return frames, frames

    @property
    def shape(self) -> tuple[int, int]:
        """(coefficient, time) of one window's features."""
        return self.n_mfcc * (1 + self.deltas), self._placement.n_frames

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Coefficient and time."""
        name = "coefficient"
        if self.deltas:
            name += f", of which each {self.n_mfcc} that follow are deltas of those before"
        rows = np.arange(self.shape[0], dtype=np.float64)
        return Axis("coefficient", rows, long_name=name), *spectral_axes(None, self.times)

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        return "mel-frequency cepstral coefficients"

    @property
    def floor(self) -> float:
        """The value where there is no audio."""
        return 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value of audio within full scale, of all coefficients."""
        lows, highs = self._limits(self._scale)
        # Frames beside a window may be louder than all of it, by more than top_db.
        ranges = np.subtract(*self._limits(dataclasses.replace(self._scale, top_db=None)))
        steepest = max((deltas.steepest for deltas in self._deltas), default=0.0)
        change = steepest * float(np.abs(ranges).max()) / 2
        return float(lows.min(initial=-change)), float(highs.max(initial=change))

    def _limits(self, scale: Scale) -> tuple[Doubles, Doubles]:
        """The least and the largest of each coefficient, where levels are of a scale."""
        lows, highs = self._cepstrum.limits(*scale.limits(self._kernel.largest))
        if self.use_energy:
            energy = self._frames.frame_length * self.full_scale**2
            lows[0], highs[0] = self._energy_scale.limits(energy)
        return lows, highs

    @property
    def _energy_scale(self) -> Scale:
        return Scale(self.output, amin=self.amin)

    def _compute(self, cut: Singles, present: Counts, out: Singles) -> None:
        first = self._placement.before
        stop = first + out.shape[-1]
        own = np.clip(present, first, [stop - 1, stop])
        values = self._coefficients(cut, present, own)
        parts = out.reshape(len(out), 1 + self.deltas, self.n_mfcc, -1)
        parts[:, 0] = values[..., first:stop].swapaxes(0, 1)
        for deltas in self._deltas:
            deltas(values, present, first, parts[:, deltas.order])

    def _coefficients(self, cut: Singles, present: Counts, own: Counts) -> Singles:
        """Coefficients (coefficient, window, frame) of all frames, relative to those of `own`."""
        levels = self._sums(cut, present)
        self._scale.apply(levels, own, levels.swapaxes(0, 1))
        values = self._cepstrum(levels)
        if self.use_energy:
            energies = self._frames.energies(cut)[None] * np.float32(self.full_scale**2)
            silence(energies, present)
            self._energy_scale.apply(energies, own, values[:1].swapaxes(0, 1))
        return values
