"""The parameters that features of mel bands share, and the tools that have them."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from pipeline.checks import number, one_of, reject_unknown, whole
from pipeline.features.window_feature import LARGEST, Bound
from pipeline.kernels import Center, Context, Frames, MelBands, MelScale, PadMode, Taper, as_taper

FRAME_SECONDS, HOP_SECONDS = 0.025, 0.01
FLOAT32_EPS = float(np.finfo(np.float32).eps)
LEAST, MOST, ALLOWED = 1e-30, 1e30, "from 1e-30 to 1e+30"  # well within float32


@dataclass(frozen=True, kw_only=True)
class MelParameters(Bound):
    """How windows are cut into frames, and frames summed in bands as people hear them.

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
        What a sample of full scale counts as: 1, 32768 for Kaldi, or 2**31 for
        PCEN.
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
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "librosa": {"n_fft": 2048, "hop_length": 512, "n_mels": 128},
        "torchaudio": {
            "n_fft": 400,
            "hop_length": 200,
            "n_mels": 128,
            "mel_scale": "htk",
            "mel_norm": None,
            "pad_mode": "reflect",
        },
        "kaldi": {
            "taper": "povey",
            "n_mels": 23,
            "fmin": 20.0,
            "mel_scale": "htk",
            "mel_norm": None,
            "mel_linear_in": "mel",
            "center": False,
            "preemphasis": 0.97,
            "detrend": "constant",
            "full_scale": 32768.0,
        },
        "whisper": {
            "n_fft": 400,
            "hop_length": 160,
            "n_mels": 80,
            "pad_mode": "reflect",
            "last_frame": False,
        },
    }

    _default_rate: ClassVar[int] = 16000

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
    center: Center = True
    pad_mode: PadMode = "constant"
    preemphasis: float = 0.0
    detrend: Literal["constant"] | None = None
    full_scale: float = 1.0
    last_frame: bool = True
    context: Context = "recording"
    samplerate: int | None = None
    window: float | None = None

    def __init_subclass__(cls) -> None:
        """Have the documentation of a feature explain these parameters too."""
        if cls.__doc__ and MelParameters.__doc__:
            shared = inspect.cleandoc(MelParameters.__doc__).partition("----------\n")[2]
            cls.__doc__ = inspect.cleandoc(cls.__doc__).replace("{parameters}", shared)

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

    def _words(self) -> dict[str, tuple[Any, ...]]:
        """What is allowed, of parameters that are one of a few."""
        return {
            "mel_scale": get_args(MelScale),
            "mel_norm": ("slaney", None),
            "mel_linear_in": ("hz", "mel"),
            "center": (True, False, "hop"),
            "pad_mode": get_args(PadMode),
            "detrend": ("constant", None),
            "last_frame": (True, False),
            "context": get_args(Context),
        }

    def _numbers(self) -> dict[str, Any]:
        """The parameters that are numbers, checked."""
        count = f"of at least 1, below {LARGEST}"
        found: dict[str, Any] = {
            "n_mels": whole("n_mels", self.n_mels, 1, count, LARGEST - 1),
            "fmin": number("fmin", self.fmin, 0, "of Hz from 0", MOST),
            "preemphasis": number("preemphasis", self.preemphasis, 0, "from 0 to 1", 1),
        }
        for name in ("n_fft", "frame_length", "hop_length", "samplerate"):
            if (value := getattr(self, name)) is not None:
                found[name] = whole(name, value, 1, count, LARGEST - 1)
        for name in ("full_scale", "window"):
            if (value := getattr(self, name)) is not None:
                found[name] = number(name, value, LEAST, ALLOWED, MOST)
        if self.fmax is not None:
            found["fmax"] = number("fmax", self.fmax, -MOST, "of Hz, or None", MOST)
        return found

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
