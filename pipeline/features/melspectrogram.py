"""The mel spectrogram of windows, as librosa, torchaudio, Kaldi and Whisper have it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from pipeline.checks import number
from pipeline.features.mellevels import MelLevels
from pipeline.features.melparameters import ALLOWED, FLOAT32_EPS, LEAST, MOST
from pipeline.kernels import Counts, Output, Scale, Singles


@dataclass(frozen=True, kw_only=True)
class MelSpectrogram(MelLevels):
    """Mel spectrogram of each window: power of its frames, summed in bands as people hear them.

    Windows are seamless: the frames of consecutive windows, side by side, are
    those of the whole recording. A `preset` has the parameters of librosa,
    torchaudio, Kaldi or Whisper.

    Parameters
    ----------
    power : float
        Exponent of the magnitude that is summed: 2 for power, 1 for magnitude.
    output : {"db", "log", "log10", "power"}
        Decibels, logarithms of the sums, or the sums themselves.
    ref : float or "max"
        What the logarithm is relative to; "max" is the largest of each window.
    amin : float
        Smaller sums count as this, where a logarithm is taken.
    top_db : float, optional
        Values further below the largest of their window are raised to that, in
        dB.
    mean : float
        Subtracted from the values.
    std : float
        Divides the values, after `mean` is subtracted.
    {parameters}

    Raises
    ------
    ValueError
        If a parameter is out of its range, or, with `context` "recording", a
        window is not a whole number of hops.

    Notes
    -----
    The formulas are those of librosa 0.11 (`librosa.feature.melspectrogram`,
    `librosa.filters.mel`, `librosa.power_to_db`) and Kaldi (feature-fbank.cc).
    Values agree with librosa's within 1e-4 of their range, and with Kaldi's
    within 1e-3 near the floor, where its own DFT is float32. What is relative to
    a window's largest value, `ref` and `top_db`, is so for each window by itself.
    Frames that begin behind the recording's end are silent.

    The `limits` are proven, from silence to what no band exceeds: its weights times
    the square of the sum of a frame's samples, or, if that is less, its largest weight
    times the frame's energy (Parseval's theorem).

    Unlike librosa's, frames that are shorter than `n_fft` begin where `center`
    false says, without the zeros that the DFT has around them.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "librosa": {**MelLevels.PRESETS["librosa"], "output": "power", "top_db": 80.0},
        "torchaudio": {**MelLevels.PRESETS["torchaudio"], "output": "power"},
        "kaldi": {**MelLevels.PRESETS["kaldi"], "output": "log", "amin": FLOAT32_EPS},
        "whisper": {
            **MelLevels.PRESETS["whisper"],
            "output": "log10",
            "top_db": 80.0,
            "mean": -4.0,
            "std": 4.0,
        },
    }

    mean: float = 0.0
    std: float = 1.0

    def _words(self) -> dict[str, tuple[Any, ...]]:
        return {**super()._words(), "output": get_args(Output)}

    def _numbers(self) -> dict[str, Any]:
        mean = number("mean", self.mean, -MOST, "from -1e+30 to 1e+30", MOST)
        std = number("std", self.std, LEAST, ALLOWED, MOST)
        return {**super()._numbers(), "mean": mean, "std": std}

    @property
    def _scale(self) -> Scale:
        return dataclasses.replace(super()._scale, mean=self.mean, std=self.std)

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        sums = {2.0: "power", 1.0: "magnitude"}.get(self.power, f"magnitude^{self.power:g}")
        return f"mel {sums}" if self.output == "power" else f"{self.output} of mel {sums}"

    @property
    def linear(self) -> bool:
        """Whether the values are powers, which float16 does not resolve."""
        return self.output == "power"

    @property
    def floor(self) -> float:
        """The value where there is nothing to be heard."""
        return self._scale.floor

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value of audio within full scale."""
        return self._scale.limits(self._kernel.largest)

    def _compute(self, cut: Singles, present: Counts, out: Singles) -> None:
        self._scale.apply(self._sums(cut, present), present, out)
