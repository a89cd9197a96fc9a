"""Bands of frequencies, and the mean power of the bins that are in each."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pipeline.kernels.frames import Counts, Doubles

BandKind = Literal["psd", "decidecade", "millidecade"]
FIRST = 10.0  # Hz, the centre of a decidecade band and near that of the first millidecade band


@dataclass(frozen=True, eq=False)
class Bands:
    """Bands side by side: the centre of each, and one edge more, all in Hz."""

    centres: Doubles
    edges: Doubles

    def up_to(self, nyquist: float) -> "Bands":
        """Those that begin below Nyquist; of one that goes beyond it, the part below.

        The centre of that one is at most Nyquist: it is none of the whole bands of other rates.
        """
        n = int(np.searchsorted(self.edges[:-1], nyquist))
        centres, edges = self.centres[:n], self.edges[: n + 1]
        return Bands(np.minimum(centres, nyquist), np.minimum(edges, nyquist))

    def between(self, lowest: float, highest: float) -> "Bands":
        """Those that share something of a range, from the one with its lowest frequency on."""
        first = int(np.searchsorted(self.edges[1:], lowest, side="right"))
        last = int(np.searchsorted(self.edges[:-1], highest))
        first = min(first, len(self.centres) - 1)  # of a range that begins at the last edge
        last = max(last, first + 1)
        return Bands(self.centres[first:last], self.edges[first : last + 1])


def bins(n_fft: int, samplerate: int) -> Bands:
    """The bins of a DFT as bands."""
    numbers = np.arange(n_fft // 2 + 2, dtype=np.float64)
    width = samplerate / n_fft
    return Bands(numbers[:-1] * width, (numbers - 0.5) * width).up_to(samplerate / 2)


def decidecades(lowest: float, samplerate: int) -> Bands:
    """Bands a tenth of a decade wide, of which one is at 10 Hz, from that with `lowest` on."""
    nyquist = samplerate / 2
    first, last = (int(np.floor(10 * np.log10(f / FIRST) + 0.5)) for f in (lowest, nyquist))
    numbers = np.arange(first, last + 2)
    edges = np.append(numbers, last + 2) - 0.5
    return Bands(FIRST * 10 ** (numbers / 10), FIRST * 10 ** (edges / 10)).up_to(nyquist)


def hybrid_millidecades(n_fft: int, samplerate: int) -> Bands:
    """Bands a thousandth of a decade wide, and below the first that is wider than a bin, bins.

    The two are joined where the centre of a band is nearest to that of a bin: with bins of
    1 Hz at 435 Hz. As of Martin et al. (2021), https://doi.org/10.1121/10.0003324.
    """
    nyquist, width = samplerate / 2, samplerate / n_fft

    def centre(number: int | Counts) -> Doubles:
        return np.asarray(FIRST * 10 ** ((2 * number - 1) / 2000))

    upper, lower = 10 ** (1 / 2000), 10 ** (-1 / 2000)
    widest = width / (upper - lower) / FIRST
    number = int(np.ceil(1000 * np.log10(widest) + 0.5))
    bin_number = round(float(centre(number)) / width)

    def apart(further: int) -> float:
        return abs((bin_number + further) * width - float(centre(number + further)))

    joint = 0
    while apart(joint + 1) < apart(joint):
        joint += 1
    linear = np.arange(bin_number + joint) * width
    last = int(np.ceil(1000 * np.log10(nyquist / FIRST) + 1))
    logarithmic = centre(np.arange(number + joint, max(last, number + joint) + 1))
    edges = [linear - width / 2, logarithmic * lower, logarithmic[-1:] * upper]
    return Bands(np.concatenate([linear, logarithmic]), np.concatenate(edges)).up_to(nyquist)


class BandMeans:
    """The mean power of each band; a bin that an edge cuts counts in the ratio of its parts."""

    def __init__(self, bands: Bands, n_fft: int, samplerate: int) -> None:
        width, last_bin = samplerate / n_fft, n_fft // 2
        lower, upper = bands.edges[:-1], bands.edges[1:]
        first = np.clip(np.floor(lower / width + 0.5).astype(np.int64), 0, last_bin)
        last = np.clip(np.ceil(upper / width - 0.5).astype(np.int64), first, last_bin)
        counts = last - first + 1
        self.bands = bands
        self.starts = np.cumsum(counts) - counts
        self.bins = np.arange(counts.sum()) - np.repeat(self.starts - first, counts)
        lower, upper = np.repeat(lower, counts), np.repeat(upper, counts)
        shared = np.minimum(upper, (self.bins + 0.5) * width)
        shared -= np.maximum(lower, (self.bins - 0.5) * width)
        self.shares = np.maximum(shared, 0) / (upper - lower)

    def __call__(self, power: Doubles) -> Doubles:
        """Of the power of each bin."""
        return np.asarray(np.add.reduceat(power[self.bins] * self.shares, self.starts))


@lru_cache(maxsize=16)
def band_means(
    kind: BandKind, n_fft: int, samplerate: int, lowest: float, highest: float
) -> BandMeans:
    """Means of the bands of a kind that share something of a range, which are made once."""
    if kind == "decidecade":
        found = decidecades(lowest, samplerate)
    elif kind == "millidecade":
        found = hybrid_millidecades(n_fft, samplerate)
    else:
        found = bins(n_fft, samplerate)
    return BandMeans(found.between(lowest, highest), n_fft, samplerate)
