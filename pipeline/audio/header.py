"""Headers: what an audio file says of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
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
