"""Headers: what an audio file says of itself, and which channel and rate may be asked for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.checks import whole

Samples = npt.NDArray[np.float32]
Channel = int | Literal["mix"]
HIGHEST_RATE = 10_000_000  # Hz


@dataclass(frozen=True, slots=True)
class Header:
    """Rate in Hz, channels, samples in each channel, and whether reading may begin anywhere.

    A file that is not seekable must be decoded from its beginning.
    """

    samplerate: int
    channels: int
    n_samples: int
    seekable: bool = True


def check_channel(channel: object) -> Channel:
    """A channel, counted from 0, or "mix"; ValueError if it is neither."""
    return "mix" if channel == "mix" else whole("channel", channel, 0, "from 0, or 'mix'")


def check_samplerate(samplerate: object) -> int | None:
    """A rate in Hz, or None; ValueError if no recording can have it."""
    if samplerate is None:
        return None
    return whole("samplerate", samplerate, 1, f"of Hz above 0, up to {HIGHEST_RATE}", HIGHEST_RATE)
