"""Per-channel energy normalization of the mel bands of windows, as librosa has it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np

from pipeline.checks import number, whole
from pipeline.features.melparameters import ALLOWED, LEAST, MOST
from pipeline.features.melsums import GROUP_BYTES, MelSums
from pipeline.features.window_feature import LARGEST
from pipeline.kernels import (
    Counts,
    Floats,
    GainControl,
    Initial,
    Singles,
    gain_control,
    groups,
    limited,
)

LEAST_BIAS, LEAST_B = 1e-10, 1e-9


@dataclass(frozen=True, kw_only=True)
class PCEN(MelSums):
    """Per-channel energy normalization: mel bands, each relative to what it was of late.

    It brings out what changes, and levels what goes on. Windows are seamless:
    the frames of consecutive windows, side by side, are those of the whole
    recording.

    Parameters
    ----------
    gain : float
        How far each band is divided by what it was of late: 0 is not at all, 1
        entirely.
    bias : float
        Added before the values are compressed, or 0.
    power : float
        Exponent that the values are compressed with; 0 is a logarithm.
    time_constant : float
        Seconds over which a band is remembered.
    eps : float
        Added to what a band is divided by.
    b : float, optional
        How much of what is remembered each frame replaces, above 0 and up to 1.
        If not given, what `time_constant` makes of it.
    max_size : int
        Bands around each, of which it is compared with the loudest.
    initial : {"one", "first"}
        What is remembered where a recording begins: 1, as in librosa, or the
        first frame.
    mel_power : float
        Exponent of the magnitude that is summed: 2 for power, 1 for magnitude.
    {parameters}

    Raises
    ------
    ValueError
        If a parameter is out of its range, or, with `context` "recording", a
        window is not a whole number of hops.

    Notes
    -----
    The formula and its names are those of `librosa.pcen` (0.11), where the sums
    of bands are those of `librosa.feature.melspectrogram` with
    ``power=mel_power``, times ``full_scale**mel_power``; values agree within
    1e-4 of their range with those of the whole recording. With a `full_scale` of
    2**31, as librosa asks for, `eps` and an `initial` of one are about nothing. See Wang et al.,
    Trainable frontend for robust and far-field keyword spotting, 2017, and
    Lostanlen et al., Per-channel energy normalization: why and how, 2019.

    The `limits` are proven: what is remembered has at least the share `b` of the frame
    itself, so that no value exceeds that of the loudest frame after silence.

    What is remembered when a window begins is computed from the 28 time
    constants before it, 11 seconds by default, after which less than 1e-12 is
    left of anything. So much is read before each window, and **a window is
    masked where any of that cannot be read**.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"librosa": MelSums.PRESETS["librosa"]}

    gain: float = 0.98
    bias: float = 2.0
    power: float = 0.5
    time_constant: float = 0.4
    eps: float = 1e-6
    b: float | None = None
    max_size: int = 1
    initial: Initial = "one"
    mel_power: float = 1.0
    full_scale: float = 2.0**31

    def _words(self) -> dict[str, tuple[Any, ...]]:
        return {**super()._words(), "initial": get_args(Initial)}

    def _numbers(self) -> dict[str, Any]:
        found = super()._numbers()
        # Of these float32 holds the powers too.
        for name, most in (("gain", 10), ("power", 2), ("bias", 1e10)):
            found[name] = number(name, getattr(self, name), 0, f"from 0 to {most:g}", most)
        for name in ("eps", "mel_power"):
            found[name] = number(name, getattr(self, name), LEAST, ALLOWED, MOST)
        longest = 1e6
        allowed = f"of seconds from {LEAST:g} to {longest:g}"
        found["time_constant"] = number(
            "time_constant", self.time_constant, LEAST, allowed, longest
        )
        bands = "of bands from 1"
        found["max_size"] = whole("max_size", self.max_size, 1, bands, LARGEST - 1)
        if 0 < found["bias"] < LEAST_BIAS:
            raise ValueError(f"bias is {self.bias}; it must be 0, or at least {LEAST_BIAS:g}")
        if self.b is not None:
            found["b"] = number("b", self.b, LEAST_B, f"from {LEAST_B:g} to 1, or None", 1)
        return found

    @property
    def _exponent(self) -> float:
        return self.mel_power

    @property
    def _gain_control(self) -> GainControl:
        b = self.b
        if b is None:
            frames = self.time_constant * self._rate / self._frames.hop_length
            # librosa's (sqrt(1 + 4 T^2) - 1) / (2 T^2), which is 0 / 0 for a small T
            b = 2 / (1 + math.sqrt(1 + 4 * frames**2))
        return gain_control(
            self.gain, self.bias, self.power, b, self.eps, self.max_size, self.initial
        )

    @property
    def _beside(self) -> tuple[int, int]:
        return self._gain_control.memory, 0

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        return "mel bands after per-channel energy normalization"

    @property
    def units(self) -> str:
        """Of the values."""
        return "1"

    @property
    def floor(self) -> float:
        """The value where there is nothing to be heard."""
        return 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value of audio within full scale."""
        return self.floor, self._gain_control.largest(self._kernel.largest)

    def __call__(
        self,
        windows: Floats,
        inside: Counts | None = None,
        hop_samples: int | None = None,
        out: Singles | None = None,
    ) -> Singles:
        """Compute the normalized bands of a block of windows.

        Parameters
        ----------
        windows : numpy.ndarray, shape (window, sample)
            Each with `margins` of the recording around it, and zeros outside of it.
        inside : numpy.ndarray of int, shape (window, 2), optional
            The first sample of each row that is in the recording, and the one
            after the last; all are if not given.
        hop_samples : int, optional
            How far each window is from the one before, if all are of one
            recording. What they share is computed once then, with the same
            result.
        out : numpy.ndarray of float32, shape (window, frequency, time), optional
            Where the result is written.

        Returns
        -------
        numpy.ndarray of float32, shape (window, frequency, time)
            `out`, or a new array.

        Raises
        ------
        ValueError
            If the windows are not of the length that the feature is for.
        """
        inside, n = self._checked(windows, inside), len(windows)
        if out is None:
            out = np.empty((n, *self.shape), np.float32)
        step = self._step(hop_samples)
        for rows in groups(n, n if step else 1):
            stretch, known = _joined(windows[rows], inside[rows], hop_samples)
            self._write(stretch, known, step or 1, out[rows])
        return out

    def _step(self, hop_samples: int | None) -> int:
        """Frames between the starts of windows so far from each other; 0 if they share none."""
        length = self._window_samples + sum(self.margins)
        if hop_samples is None or hop_samples >= length or self.context == "window":
            return 0
        return (
            0 if hop_samples % self._frames.hop_length else hop_samples // self._frames.hop_length
        )

    def _write(self, stretch: Floats, inside: Counts, step: int, out: Singles) -> None:
        """Write the values of windows that begin every `step` frames of one stretch of samples."""
        more = (len(out) - 1) * step * self._frames.hop_length
        frames = dataclasses.replace(self._frames, n_samples=self._window_samples + more)
        placement = dataclasses.replace(self._placement, frames=frames)
        cut = placement.cut(limited(stretch, self._loudest), inside)
        present = placement.present(inside)
        sums = np.empty((self.n_mels, cut.shape[1]), np.float32)
        for some in groups(cut.shape[1], GROUP_BYTES // (4 * self._frames.n_fft)):
            sums[:, some] = self._kernel(cut[:, some])[:, 0]
        sums[:, : present[0, 0]] = 0
        sums[:, present[0, 1] :] = 0
        self._gain_control.apply(sums, placement.before, step, present[0], out)


def _joined(windows: Floats, inside: Counts, hop_samples: int | None) -> tuple[Floats, Counts]:
    """The stretch (1, sample) that windows are from, and which of it is in the recording."""
    if len(windows) == 1 or hop_samples is None:
        return windows, inside
    length, hop = windows.shape[1], hop_samples
    before_last = (len(windows) - 1) * hop
    if windows.strides == (hop * windows.itemsize, windows.itemsize):  # they share their samples
        whole = np.lib.stride_tricks.as_strided(
            windows, (1, before_last + length), windows.strides, writeable=False
        )
    else:
        behind = windows[1:, length - hop :].reshape(-1)
        whole = np.concatenate([windows[0], behind])[None]
    return whole, np.array([[inside[0, 0], before_last + inside[-1, 1]]])
