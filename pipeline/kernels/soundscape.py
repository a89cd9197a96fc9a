"""Acoustic indices of the spectra of a window, as scikit-maad 1.5 computes them."""

import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.kernels.frames import Counts, Doubles, Floats, Frames, Singles, groups
from pipeline.kernels.welch import squares_of_window

Limits = tuple[float, float]
AT_ONCE = 128  # frames, which stay in the cache


@dataclass(frozen=True, eq=False)
class AmplitudeSpectra:
    """Amplitudes (frame, bin) of a window, in any unit, and the frequency of each bin in Hz."""

    amplitudes: Doubles
    frequencies: Doubles

    @cached_property
    def power(self) -> Doubles:
        """Mean over the frames, of each bin."""
        return np.asarray(np.einsum("ij,ij->j", self.amplitudes, self.amplitudes)) / self.n_frames

    @cached_property
    def mean(self) -> Doubles:
        """Mean amplitude over the frames, of each bin."""
        return np.asarray(self.amplitudes.mean(axis=0))

    @cached_property
    def loudest(self) -> float:
        """The largest amplitude."""
        return float(self.amplitudes.max())

    @property
    def n_frames(self) -> int:
        """Frames of the window."""
        return len(self.amplitudes)

    def loud(self, db: float) -> Counts:
        """How many frames are no more than `db` below the loudest of all, of each bin."""
        found = np.zeros(len(self.frequencies), np.int64)
        if not self.loudest:
            return found
        least = self.loudest * 10 ** (db / 20)
        for rows in groups(self.n_frames, AT_ONCE):
            found += (self.amplitudes[rows] >= least).sum(axis=0)
        return found


def complete_frames(frames: Frames, n_samples: int) -> int:
    """Frames of so many samples; without overlap, scikit-maad leaves out the last."""
    return max(0, min(int(frames.complete(n_samples)), n_samples // frames.hop_length - 1))


def amplitude_spectra(
    frames: Frames, samplerate: int, window: Singles, n_frames: int
) -> AmplitudeSpectra:
    """Amplitudes of the first frames of a window, without the bin at Nyquist."""
    cut = frames.cut(window[None])[0, :n_frames]
    amplitudes = np.empty((n_frames, frames.n_bins - 1))
    done = 0
    for squares in squares_of_window(frames, frames.weights(), cut):
        some = amplitudes[done : done + len(squares)]
        np.add(squares[:, :-2:2], squares[:, 1:-2:2], out=some)
        np.sqrt(some, out=some)
        done += len(squares)
    frequencies = np.fft.rfftfreq(frames.n_fft, 1 / samplerate).astype(np.float64)
    return AmplitudeSpectra(amplitudes, frequencies[:-1])


def complexity(spectra: AmplitudeSpectra) -> float:
    """ACI: how much each bin changes from frame to frame, in its sum, summed over the bins."""
    changes = np.zeros(len(spectra.frequencies))
    for rows in groups(spectra.n_frames - 1, AT_ONCE):
        change = np.diff(spectra.amplitudes[rows.start : rows.stop + 1], axis=0)
        changes += np.abs(change, out=change).sum(axis=0)
    sums = spectra.mean * spectra.n_frames
    return float(np.divide(changes, sums, out=np.zeros_like(sums), where=sums > 0).sum())


def difference(spectra: AmplitudeSpectra, biophony: Limits, anthropophony: Limits) -> float:
    """NDSI: power of living beings less that of machines, in the sum of both.

    Of bands as wide as `anthropophony`. One that lies at the limit of the two counts in both.
    """
    step, frequencies = anthropophony[1] - anthropophony[0], spectra.frequencies
    edges = np.arange(frequencies[0], frequencies[-1] + step, step)
    inside = [(frequencies >= a) & (frequencies < b) for a, b in pairwise(edges)]
    power = np.array([spectra.power[band].mean() for band in inside])
    living = power[_between(edges[:-1], biophony)].sum()
    machines = power[_between(edges[:-1], anthropophony)].sum()
    return float((living - machines) / (living + machines)) if living + machines else 0.0


def activity(spectra: AmplitudeSpectra, limits: Limits) -> float:
    """BI: decibels of the mean amplitude above the weakest bin, summed, per Hz of a bin."""
    if not spectra.loudest:
        return 0.0
    relative = spectra.mean[_between(spectra.frequencies, limits)] / spectra.loudest
    decibels = 20 * np.log10(np.maximum(relative, sys.float_info.min))
    width = spectra.frequencies[1] - spectra.frequencies[0]
    return float((decibels - decibels.min()).sum() / width)


def occupancy(spectra: AmplitudeSpectra, limits: Limits, step: float, db: float) -> Doubles:
    """What share of each band is loud: no more than `db` below the loudest of the window."""
    lowest, highest = limits
    loud = spectra.loud(db)
    shares = []
    for band in range(int((highest - lowest) // step)):
        low = int(lowest + band * step)
        inside = _between(spectra.frequencies, (low, int(low + step)))
        shares.append(loud[inside].sum() / (np.count_nonzero(inside) * spectra.n_frames))
    return np.array(shares)


def diversity(shares: Doubles) -> float:
    """ADI: Shannon's entropy of shares."""
    return entropy(shares) * float(np.log(len(shares)))


def evenness(shares: Doubles) -> float:
    """AEI: Gini's coefficient of shares."""
    if not shares.any():
        return 0.0
    n = len(shares)
    ranked = (np.sort(shares) * np.arange(1, n + 1)).sum()
    return float((2 * ranked / shares.sum() - (n + 1)) / n)


def envelope(samples: Floats, length: int) -> Doubles:
    """The loudest sample of each stretch of so many."""
    n = len(samples) // length
    loudest = np.abs(samples[: n * length].reshape(n, length)).max(axis=1)
    return np.asarray(loudest, np.float64)


def entropy(values: Doubles) -> float:
    """Shannon's entropy of values from 0, in that of as many equal ones; 1 if all are zero."""
    if len(values) < 2:
        return 0.0
    if not values.any():
        return 1.0
    parts = values[values > 0] / values.sum()
    return float(-(parts * np.log(parts)).sum() / np.log(len(values)))


def _between(frequencies: Doubles, limits: Limits) -> npt.NDArray[np.bool_]:
    """From the frequency that is nearest to one limit to that nearest to the other."""
    low, high = (frequencies[np.abs(frequencies - limit).argmin()] for limit in limits)
    return np.asarray((frequencies >= low) & (frequencies <= high))
