"""The mel spectrogram of windows, as librosa, torchaudio, Kaldi and Whisper have it."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from pipeline.checks import number, one_of, reject_unknown, whole
from pipeline.features.feature import Axis, spectral_axes
from pipeline.kernels import (
    Center,
    Context,
    Counts,
    Floats,
    Frames,
    MelBands,
    MelKernel,
    MelScale,
    Output,
    PadMode,
    Placement,
    Scale,
    Singles,
    Taper,
    as_taper,
    groups,
    limited,
    mel_kernel,
)

RATE = 16000  # Hz, until it is known
FRAME_SECONDS, HOP_SECONDS = 0.025, 0.01
LARGEST = 2**31
# Of the DFTs of a few windows, which should stay in the cache.
GROUP_BYTES = 1 << 20
FLOAT32_EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class MelSpectrogram:
    """Mel spectrogram of each window: power of its frames, summed in bands as people hear them.

    Windows are seamless: the frames of consecutive windows, side by side, are
    those of the whole recording. A `preset` has the parameters of librosa,
    torchaudio, Kaldi or Whisper.

    Parameters
    ----------
    n_fft : int, optional
        Length of the DFT in samples; frames are padded with zeros up to it. If
        not given, the power of two from `frame_length` on.
    frame_length : int, optional
        Samples in a frame. If not given, `n_fft`; where that is not given
        either, 25 ms.
    hop_length : int, optional
        Samples between frame starts. If not given, 10 ms.
    taper : str, or tuple of a str and numbers
        Any window that `scipy.signal.get_window` knows, or "povey" of Kaldi.
    n_mels : int
        Bands. One that lies between two frequencies of the DFT is always
        silent, which a RuntimeWarning says.
    fmin : float
        Where the lowest band begins, in Hz.
    fmax : float, optional
        Where the highest band ends, in Hz; one below 0 is counted from half of
        the rate, which it is if not given.
    mel_scale : {"slaney", "htk"}
        Slaney's scale, linear below 1 kHz, or ``2595 log10(1 + f / 700)``.
    mel_norm : {"slaney", None}
        Bands of equal area, or of equal height.
    mel_linear_in : {"hz", "mel"}
        In what the sides of the bands are straight: Hz, or mel as in Kaldi.
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
    center : bool or "hop"
        Where frame j lies: centred at ``j * hop_length`` if true, beginning
        there if false (Kaldi's snip_edges), or centred half a hop later
        ("hop"; Kaldi without it).
    pad_mode : {"constant", "reflect", "symmetric", "edge"}
        What stands outside of the recording, as in `numpy.pad`; zeros for
        "constant".
    preemphasis : float
        How much of the sample before is subtracted from each, in each frame.
    detrend : {"constant", None}
        What is taken off each frame: its mean, or nothing.
    full_scale : float
        What a sample of full scale counts as: 1, or 32768 for Kaldi.
    last_frame : bool
        Keep the frame at the very end of a window, with `context` "window".
    context : {"recording", "window"}
        Whether frames go on into the windows beside them, as in the whole
        recording, or each window is padded like a clip of its own.
    samplerate : int, optional
        In Hz. Taken from the recordings where not given; 16000 until then.
    window : float, optional
        Length of a window in seconds. Taken from the grid where not given;
        1.0 until then.

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

    Unlike librosa's, frames that are shorter than `n_fft` begin where `center`
    false says, without the zeros that the DFT has around them.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "librosa": {
            "n_fft": 2048,
            "hop_length": 512,
            "n_mels": 128,
            "output": "power",
            "top_db": 80.0,
        },
        "torchaudio": {
            "n_fft": 400,
            "hop_length": 200,
            "n_mels": 128,
            "mel_scale": "htk",
            "mel_norm": None,
            "output": "power",
            "pad_mode": "reflect",
        },
        "kaldi": {
            "taper": "povey",
            "n_mels": 23,
            "fmin": 20.0,
            "mel_scale": "htk",
            "mel_norm": None,
            "mel_linear_in": "mel",
            "output": "log",
            "amin": FLOAT32_EPS,
            "center": False,
            "preemphasis": 0.97,
            "detrend": "constant",
            "full_scale": 32768.0,
        },
        "whisper": {
            "n_fft": 400,
            "hop_length": 160,
            "n_mels": 80,
            "output": "log10",
            "top_db": 80.0,
            "mean": -4.0,
            "std": 4.0,
            "pad_mode": "reflect",
            "last_frame": False,
        },
    }

    n_fft: int | None = None
    frame_length: int | None = None
    hop_length: int | None = None
    taper: Taper = "hann"
    n_mels: int = 64
    fmin: float = 0.0
    fmax: float | None = None
    mel_scale: MelScale = "slaney"
    mel_norm: Literal["slaney"] | None = "slaney"
    mel_linear_in: Literal["hz", "mel"] = "hz"
    power: float = 2.0
    output: Output = "db"
    ref: float | Literal["max"] = 1.0
    amin: float = 1e-10
    top_db: float | None = None
    mean: float = 0.0
    std: float = 1.0
    center: Center = True
    pad_mode: PadMode = "constant"
    preemphasis: float = 0.0
    detrend: Literal["constant"] | None = None
    full_scale: float = 1.0
    last_frame: bool = True
    context: Context = "recording"
    samplerate: int | None = None
    window: float | None = None

    @classmethod
    def preset(cls, name: str, **parameters: Any) -> Self:
        """A feature as a tool has it by default, with other parameters where they are given."""
        reject_unknown([name], cls.PRESETS, "preset")
        return cls(**{**cls.PRESETS[name], **parameters})

    def __post_init__(self) -> None:
        for name, words in self._words().items():
            one_of(name, getattr(self, name), words)
        for name, value in {**self._numbers(), "taper": as_taper(self.taper)}.items():
            object.__setattr__(self, name, value)
        self._frames.check()
        if self.samplerate is not None:
            self._check_bands()
            if self.window is not None:
                self._check_window()

    def _words(self) -> dict[str, tuple[Any, ...]]:
        """What is allowed, of parameters that are one of a few."""
        return {
            "mel_scale": get_args(MelScale),
            "mel_norm": ("slaney", None),
            "mel_linear_in": ("hz", "mel"),
            "output": get_args(Output),
            "center": (True, False, "hop"),
            "pad_mode": get_args(PadMode),
            "detrend": ("constant", None),
            "last_frame": (True, False),
            "context": get_args(Context),
        }

    def _numbers(self) -> dict[str, Any]:
        """The parameters that are numbers, checked; those of float32 are well within it."""
        least, most, allowed = 1e-30, 1e30, "from 1e-30 to 1e+30"
        count = f"of at least 1, below {LARGEST}"
        found: dict[str, Any] = {
            "n_mels": whole("n_mels", self.n_mels, 1, count, LARGEST - 1),
            "fmin": number("fmin", self.fmin, 0, "of Hz from 0", most),
            "mean": number("mean", self.mean, -most, "from -1e+30 to 1e+30", most),
            "preemphasis": number("preemphasis", self.preemphasis, 0, "from 0 to 1", 1),
        }
        for name in ("n_fft", "frame_length", "hop_length", "samplerate"):
            if (value := getattr(self, name)) is not None:
                found[name] = whole(name, value, 1, count, LARGEST - 1)
        for name in ("power", "amin", "std", "full_scale", "window"):
            if (value := getattr(self, name)) is not None:
                found[name] = number(name, value, least, allowed, most)
        if self.ref != "max":
            found["ref"] = number("ref", self.ref, least, f"{allowed}, or 'max'", most)
        if self.top_db is not None:
            found["top_db"] = number("top_db", self.top_db, 0, "of dB from 0, or None", most)
        if self.fmax is not None:
            found["fmax"] = number("fmax", self.fmax, -most, "of Hz, or None", most)
        return found

    def _check_bands(self) -> None:
        bands, half = self._bands, self._rate / 2
        if not bands.fmin < bands.fmax <= half:
            raise ValueError(
                f"fmin is {self.fmin} and fmax {self.fmax} Hz at a samplerate of {self._rate}; "
                f"pass an fmax above fmin, of at most {half:g}"
            )
        silent = int((self._kernel.filters.max(axis=1).toarray() == 0).sum())
        if silent:
            warnings.warn(
                f"{silent} of the {self.n_mels} bands lie between two frequencies of the DFT and "
                f"are always silent; pass fewer n_mels, or a larger n_fft",
                RuntimeWarning,
                stacklevel=4,
            )

    def _check_window(self) -> None:
        n, hop = self._window_samples, self._frames.hop_length
        if self.context == "recording" and n % hop:
            below = next(d for d in range(hop, 0, -1) if n % d == 0)
            above = next(d for d in range(hop, n + 1) if n % d == 0)
            raise ValueError(
                f"hop_length is {hop}, which does not divide the {n} samples of a window, so that "
                f"frames would not go on from one window to the next; pass hop_length {below} or "
                f"{above}, or context 'window'"
            )
        if not self.shape[-1]:
            raise ValueError(
                f"no frame of {self._frames.frame_length} samples fits in the {n} of a window; "
                f"pass a shorter frame_length, or center true"
            )

    @property
    def _rate(self) -> int:
        return RATE if self.samplerate is None else self.samplerate

    @property
    def _window_samples(self) -> int:
        return round((1.0 if self.window is None else self.window) * self._rate)

    @property
    def _frames(self) -> Frames:
        length = self.frame_length or self.n_fft or max(1, int(self._rate * FRAME_SECONDS))
        return Frames(
            self._window_samples,
            length,
            self.hop_length or max(1, int(self._rate * HOP_SECONDS)),
            self.n_fft or 1 << (length - 1).bit_length(),
            self.taper,
            self.detrend,
            preemphasis=self.preemphasis,
        )

    @property
    def _bands(self) -> MelBands:
        half = self._rate / 2
        fmax = half if self.fmax is None else self.fmax + (half if self.fmax <= 0 else 0)
        return MelBands(
            self.n_mels, self.fmin, fmax, self.mel_scale, self.mel_norm, self.mel_linear_in
        )

    @property
    def _kernel(self) -> MelKernel:
        return mel_kernel(self._frames, self._bands, self._rate, self.power, self.full_scale)

    @property
    def _scale(self) -> Scale:
        top_db, ref = self.top_db, self.ref
        return Scale(self.output, self.power, ref, self.amin, top_db, self.mean, self.std)

    @property
    def _placement(self) -> Placement:
        return Placement(self._frames, self.center, self.pad_mode, self.context, self.last_frame)

    @property
    def margins(self) -> tuple[int, int]:
        """Samples of the recording before and after each window that its features hang on."""
        return self._placement.margins

    @property
    def shape(self) -> tuple[int, int]:
        """(frequency, time) of one window's features."""
        return self.n_mels, self._placement.n_frames

    @property
    def frequencies(self) -> Floats:
        """Centre of each band, in Hz, shape (frequency,)."""
        return self._bands.edges[1:-1]

    @property
    def times(self) -> Floats:
        """Centre of each frame, in seconds from the window's start, shape (time,)."""
        return self._placement.middles / self._rate

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Frequency and time."""
        return spectral_axes(self.frequencies, self.times)

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        sums = {2.0: "power", 1.0: "magnitude"}.get(self.power, f"magnitude^{self.power:g}")
        return f"mel {sums}" if self.output == "power" else f"{self.output} of mel {sums}"

    @property
    def units(self) -> str:
        """Of the values."""
        return self._scale.units

    @property
    def linear(self) -> bool:
        """Whether the values are powers, which float16 does not resolve."""
        return self.output == "power"

    @property
    def floor(self) -> float:
        """The value where there is nothing to be heard."""
        return self._scale.floor

    def __call__(
        self, windows: Floats, inside: Counts | None = None, out: Singles | None = None
    ) -> Singles:
        """Compute the mel spectrograms of a block of windows.

        Parameters
        ----------
        windows : numpy.ndarray, shape (window, sample)
            Each with `margins` of the recording around it, and zeros outside of it.
        inside : numpy.ndarray of int, shape (window, 2), optional
            The first sample of each row that is in the recording, and the one
            after the last; all are if not given.
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
        if out is None:
            out = np.empty((len(windows), *self.shape), np.float32)
        for rows, sums, n_frames in self._sums(windows, inside):
            self._scale.apply(sums, n_frames, out[rows])
        return out

    def _sums(
        self, windows: Floats, inside: Counts | None
    ) -> Iterator[tuple[slice, Singles, Counts]]:
        """Sums (band, window, frame) of a few windows at a time; frames that each really has."""
        placement, kernel = self._placement, self._kernel
        length = self._window_samples + sum(placement.margins)
        if windows.ndim != 2 or windows.shape[1] != length:
            raise ValueError(
                f"the windows have shape {windows.shape}; the feature is for (window, {length}): "
                f"pass it the samplerate and window of the recordings"
            )
        if inside is None:
            inside = np.tile([0, length], (len(windows), 1))
        _, n_frames = placement.present(inside).T
        few = GROUP_BYTES // (4 * self._frames.n_fft * placement.n_frames)
        loudest = self._frames.frame_length * self.full_scale
        for rows in groups(len(windows), few):
            sums = kernel(placement.cut(limited(windows[rows], loudest), inside[rows]))
            for row, n in enumerate(n_frames[rows].tolist()):
                sums[:, row, n:] = 0  # behind the recording's end
            yield rows, sums, n_frames[rows]
