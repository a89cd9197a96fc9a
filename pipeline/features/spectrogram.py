"""The spectrogram of windows, the default feature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Spectrogram"]

ARTICLE_RATE = 8000
DEFAULT_TAPER = "tukey", 0.25
SEGMENTS_PER_SECOND = 400
LARGEST = 2**31
# What is normalised, and what is computed, at a time. Threads wait for each other between
# any two calls of NumPy: these must be few, yet what they work on should stay in the cache.
GROUP_SAMPLES = 1 << 18
SCRATCH_BYTES = 1 << 21
# Frames that an FFT may take at once, on the widest of processors. It takes the last ones by
# other means where they are fewer, so that their last bit could hang on how many there are.
LANES = 16
FINEST = 1e-30  # well within float32

# Of float16, as float32 has them in bits; and what takes an exponent of the one to
# that of the other (its bias is 112 less), with just below half of the last bit kept.
LARGEST_HALF = np.float32(65504).view(np.uint32)
SMALLEST_NORMAL_HALF = np.float32(2**-14).view(np.uint32)
REBIAS = np.uint32((0xFFF - (112 << 23)) % 2**32)

Floats = npt.NDArray[np.floating[Any]]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spectrogram:
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
        The feature is ``log(power + log_offset)``, natural logarithm; None
        gives the power itself.
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

    A window is computed by itself, in an order of operations that depends on
    the parameters alone, so its bits are the same in whatever block it comes.
    """

    n_fft: int = 512
    frame_length: int | None = None
    hop_length: int | None = None
    taper: str | tuple[Any, ...] = DEFAULT_TAPER
    scaling: Literal["density", "spectrum"] = "density"
    detrend: Literal["constant", "linear"] | None = "constant"
    normalize: bool = True
    log_offset: float | None = 1e-6
    samplerate: int | None = None
    window: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "taper", _as_tuple(self.taper))
        for name in ("n_fft", "frame_length", "hop_length", "samplerate"):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not (whole and 1 <= value < LARGEST) and (value is not None or name == "n_fft"):
                raise ValueError(
                    f"{name} is {value!r}; it must be a whole number of at least 1, below {LARGEST}"
                )
            object.__setattr__(self, name, None if value is None else int(value))
        for name, allowed in (
            ("scaling", ("density", "spectrum")),
            ("detrend", ("constant", "linear", None)),
            ("normalize", (True, False)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; allowed are "
                    + ", ".join(repr(word) for word in allowed)
                )
        object.__setattr__(self, "normalize", bool(self.normalize))
        for name in ("log_offset", "window"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and FINEST <= value <= 1 / FINEST):
                raise ValueError(
                    f"{name} is {value!r}; it must be a number above 0, or None, and from "
                    f"{FINEST:g} to {1 / FINEST:g}"
                )
            object.__setattr__(self, name, None if value is None else float(value))
        self._check_geometry()

    def _check_geometry(self) -> None:
        length = self._frame_length
        if length < 1:
            raise ValueError(
                f"samplerate is {self._samplerate} Hz, which gives frames of "
                f"int(samplerate / {SEGMENTS_PER_SECOND}) = 0 samples; give a frame_length"
            )
        left = {"constant": 1, "linear": 2}.get(self.detrend or "", 0)
        if length <= left:  # all that is left of a frame is rounding
            given = "" if self.frame_length else f"samplerate is {self._samplerate} Hz, so that "
            raise ValueError(
                f"{given}frame_length is {length}, of which detrend {self.detrend!r} leaves "
                f"nothing; give a frame_length of at least {left + 1}, or detrend none"
            )
        if length > self.n_fft:
            raise ValueError(
                f"n_fft is {self.n_fft}, less than the {length} samples of a frame; raise n_fft "
                f"to at least {length}, or give a shorter frame_length"
            )
        bound = self.samplerate is not None and self.window is not None
        if bound and length > self._window_samples:
            raise ValueError(
                f"frame_length is {length} samples, more than the {self._window_samples} of a "
                f"window; give a shorter frame_length or a longer window"
            )
        if self.taper == DEFAULT_TAPER:  # known to be good
            return
        try:
            with np.errstate(all="ignore"):  # what it makes of that is looked at
                taper = _taper(self)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"taper is {self.taper!r}, which scipy.signal.get_window refuses: {error}"
            ) from error
        if not np.all(np.isfinite(taper)) or not np.sum(taper) > 0:
            raise ValueError(
                f"taper is {self.taper!r}, which has no weight on {length} samples; "
                f"give another taper or a longer frame_length"
            )

    @property
    def _samplerate(self) -> int:
        return ARTICLE_RATE if self.samplerate is None else self.samplerate

    @property
    def _window_samples(self) -> int:
        return round((1.0 if self.window is None else self.window) * self._samplerate)

    @property
    def _frame_length(self) -> int:
        return self.frame_length or self._samplerate // SEGMENTS_PER_SECOND

    @property
    def _hop_length(self) -> int:
        return self.hop_length or self._frame_length

    @property
    def _n_frames(self) -> int:
        complete = max(0, (self._window_samples - self._frame_length) // self._hop_length + 1)
        if self.frame_length is None and self.hop_length is None:
            most = SEGMENTS_PER_SECOND * self._window_samples // self._samplerate
            return min(complete, max(1, most))
        return complete

    @property
    def shape(self) -> tuple[int, int]:
        """(frequency, time) of one window's features."""
        return self.n_fft // 2 + 1, self._n_frames

    @property
    def frequencies(self) -> Floats:
        """Frequency of each row, in Hz, shape (frequency,)."""
        return np.fft.rfftfreq(self.n_fft, 1 / self._samplerate)

    @property
    def times(self) -> Floats:
        """Centre of each frame, in seconds from the window's start, shape (time,)."""
        starts = np.arange(self._n_frames) * self._hop_length
        return (starts + self._frame_length / 2) / self._samplerate

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        power = "power" + (" spectral density" if self.scaling == "density" else "")
        return power if self.log_offset is None else f"log({power} + {self.log_offset:g})"

    @property
    def linear(self) -> bool:
        """Whether the values are powers, which float16 does not resolve."""
        return self.log_offset is None

    @property
    def floor(self) -> float:
        """The value that stands where there is nothing to be heard."""
        if self.log_offset is None:
            return 0.0
        return float(np.log(np.full(64, self.log_offset, np.float32))[0])

    def __call__(
        self,
        windows: Floats,
        n_samples: npt.NDArray[np.int64] | None = None,
        out: Floats | None = None,
    ) -> Floats:
        """Compute the spectrograms of a block of windows.

        Parameters
        ----------
        windows : numpy.ndarray, shape (window, sample)
            Each padded with zeros after its own samples.
        n_samples : numpy.ndarray of int, shape (window,), optional
            How many samples each window really has; all if not given.
        out : numpy.ndarray, shape (window, frequency, time), optional
            Where the result is written, in its dtype.

        Returns
        -------
        numpy.ndarray, shape (window, frequency, time)
            `out`, or a new array of float32.

        Raises
        ------
        ValueError
            If the windows are not of the length that the feature is for.
        """
        if windows.ndim != 2 or windows.shape[1] != self._window_samples:
            raise ValueError(
                f"the windows have shape {windows.shape}; the feature is for (window, "
                f"{self._window_samples}): give it the samplerate and window of the recordings"
            )
        if out is None:
            out = np.empty((len(windows), *self.shape), np.float32)
        if n_samples is None:
            n_samples = np.full(len(windows), self._window_samples)
        kernel = _kernel(self)
        few = max(1, min(len(windows), SCRATCH_BYTES // (8 * math.prod(self.shape))))
        scratch = np.empty((few, 2, *self.shape), np.float32)
        log_offset = None if self.log_offset is None else np.array(self.log_offset, np.float32)
        group = max(1, GROUP_SAMPLES // self._window_samples)
        for start in range(0, len(windows), group):
            rows = slice(start, start + group)
            prepared, n_frames = self._prepare(windows[rows], n_samples[rows])
            frames, results = self._cut(prepared), out[rows]
            for first in range(0, len(frames), few):
                some = frames[first : first + few]
                power = kernel(some, scratch[: len(some)])
                _finish(power, log_offset, results[first : first + few])
            for row in np.flatnonzero(n_frames < self._n_frames).tolist():
                results[row, :, n_frames[row] :] = self.floor
        return out

    def _prepare(
        self, windows: Floats, n_samples: npt.NDArray[np.int64]
    ) -> tuple[Singles, npt.NDArray[np.int64]]:
        """Normalise windows over the samples they have; how many frames each gives."""
        n_frames = np.clip(
            (n_samples - self._frame_length) // self._hop_length + 1, 0, self._n_frames
        )
        if not self.normalize:
            loudest = 1e18 / self._frame_length  # louder, and its power would overflow
            return np.clip(windows, -loudest, loudest).astype(np.float32), n_frames
        prepared = np.zeros(windows.shape, np.float32)
        for n in set(n_samples[n_frames > 0].tolist()):  # mostly one; they go together
            found = n_samples == n
            rows = slice(None) if found.all() else np.flatnonzero(found)
            values = windows[rows, :n]
            steady = values.min(axis=1) >= values.max(axis=1)
            n_frames[rows] *= ~steady
            values = values.astype(np.float64)
            values -= values.mean(axis=1, keepdims=True)
            deviation = np.sqrt(np.mean(values * values, axis=1, keepdims=True))
            deviation[steady] = 1
            prepared[rows, :n] = np.divide(values, deviation, out=values)
        return prepared, n_frames

    def _cut(self, windows: Singles) -> Singles:
        """Cut windows into frames, without a copy."""
        view = np.lib.stride_tricks.sliding_window_view(windows, self._frame_length, axis=1)
        return view[:, :: self._hop_length][:, : self._n_frames]


def _as_tuple(value: Any) -> Any:
    """Lists, as YAML has them, as tuples, which can be hashed."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value


class _MatrixKernel:
    """The DFT of short frames as two matrix products.

    Detrend, taper, zero padding, DFT and scale are linear. The power does not
    change when time is counted from the middle of the frame; the real part is
    then of the frame's even half alone, the imaginary part of its odd half.
    """

    def __init__(self, feature: Spectrogram) -> None:
        length = feature._frame_length
        prepared = _detrended(np.eye(length), feature.detrend) * _taper(feature)
        even, odd = prepared + prepared[:, ::-1], prepared - prepared[:, ::-1]
        self.n_even = (length + 1) // 2
        even[:, length // 2 : self.n_even] /= 2  # the middle sample is its own mirror image
        # Of a frame of odd length the middle sample is nothing in the odd half.
        halves = [even[:, : self.n_even], odd[:, : self.n_even]]
        self.halves = np.concatenate(halves, axis=1).T.astype(np.float32)
        angles = np.outer(
            2 * np.pi * np.arange(feature.n_fft // 2 + 1) / feature.n_fft,
            (length - 1) / 2 - np.arange(self.n_even),
        )
        scale = np.sqrt(_scale(feature))[:, None]
        self.waves = (scale * np.stack([np.cos(angles), np.sin(angles)])).astype(np.float32)

    def __call__(self, frames: Singles, scratch: Singles) -> Singles:
        halves = self.halves @ np.ascontiguousarray(frames).swapaxes(1, 2)
        np.matmul(self.waves, halves.reshape(len(frames), 2, self.n_even, -1), out=scratch)
        np.multiply(scratch, scratch, out=scratch)
        power: Singles = scratch[:, 0]
        np.add(power, scratch[:, 1], out=power)
        return power


class _FourierKernel:
    """The DFT of long frames by FFT."""

    def __init__(self, feature: Spectrogram) -> None:
        self.detrend = feature.detrend
        self.n_fft = feature.n_fft
        self.taper = _taper(feature).astype(np.float32)
        self.scale = _scale(feature).astype(np.float32)

    def __call__(self, frames: Singles, scratch: Singles) -> Singles:
        n = math.prod(frames.shape[:2])
        prepared = np.zeros((-(-n // LANES) * LANES, frames.shape[2]), np.float32)
        np.multiply(
            _detrended(frames, self.detrend), self.taper, out=prepared[:n].reshape(frames.shape)
        )
        from scipy.fft import rfft

        spectrum = rfft(prepared, self.n_fft, overwrite_x=True, workers=1)
        parts = spectrum[:n].view(np.float32).reshape(*frames.shape[:2], -1, 2)
        np.multiply(parts, parts, out=parts)
        unscaled = np.add(parts[..., 0], parts[..., 1])
        power: Singles = scratch[:, 0]
        np.multiply(unscaled.swapaxes(1, 2), self.scale[:, None], out=power)
        return power


@lru_cache(maxsize=16)
def _kernel(feature: Spectrogram) -> _MatrixKernel | _FourierKernel:
    # Products of L samples with n_fft columns cost as much as the FFT of
    # n_fft points near L = 13 log2(n_fft): see scripts/benchmark-choices.
    short = feature._frame_length <= 13 * math.log2(feature.n_fft)
    return _MatrixKernel(feature) if short else _FourierKernel(feature)


def _taper(feature: Spectrogram) -> npt.NDArray[np.float64]:
    from scipy.signal import get_window  # which takes a quarter of a second to load

    taper: npt.NDArray[np.float64] = get_window(feature.taper, feature._frame_length)
    return taper


def _scale(feature: Spectrogram) -> npt.NDArray[np.float64]:
    """Factor on re**2 + im**2, one-sided, as `scipy.signal.spectrogram` has it."""
    taper = _taper(feature)
    if feature.scaling == "density":
        factor = 1 / (feature._samplerate * np.sum(taper * taper))
    else:
        factor = 1 / np.sum(taper) ** 2
    scale = np.full(feature.n_fft // 2 + 1, 2 * factor)
    scale[0] = factor
    if feature.n_fft % 2 == 0:
        scale[-1] = factor
    return scale


def _detrended(frames: Floats, detrend: str | None) -> Floats:
    if detrend is None:
        return frames
    if detrend == "constant":
        mean: Floats = frames.mean(axis=-1, keepdims=True)
        return frames - mean
    from scipy.signal import detrend as detrended

    return np.asarray(detrended(frames, axis=-1, type="linear"), frames.dtype)


def _finish(power: Singles, log_offset: Singles | None, result: Floats) -> None:
    """Write what is to be stored, given the power, which is lost."""
    if log_offset is not None:
        np.add(power, log_offset, out=power)
        power = np.log(power, out=result if result.dtype == np.float32 else power)
    if power is not result:
        _round(power, result)


def _round(values: Singles, out: Floats) -> None:
    """Copy into another dtype, at its largest number where it overflows."""
    if out.dtype == np.float16:
        _round_to_half(values, out)
        return
    limit = np.finfo(out.dtype).max
    out[...] = np.clip(values, -limit, limit)


def _round_to_half(values: Singles, out: Floats) -> None:
    """The same numbers as NumPy's own conversion, which takes twice as long.

    Adding just below one half of the last bit that stays, and that bit, rounds
    to the nearest, or to even. Numbers below the normal ones of float16 are
    rounded by adding 0.5, of which the last bit is worth as much as theirs.
    """
    bits = values.view(np.uint32)
    magnitude = np.minimum(bits & np.uint32(0x7FFFFFFF), LARGEST_HALF)
    half = magnitude >> np.uint32(13) & np.uint32(1)
    half += magnitude
    half += REBIAS
    half >>= np.uint32(13)
    if (small := magnitude < SMALLEST_NORMAL_HALF).any():
        rounded = (magnitude.view(np.float32) + np.float32(0.5)).view(np.uint32)
        np.subtract(rounded, np.float32(0.5).view(np.uint32), out=half, where=small)
    half |= bits >> np.uint32(16) & np.uint32(0x8000)
    out.view(np.uint16)[...] = half
