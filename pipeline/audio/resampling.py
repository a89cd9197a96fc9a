"""Resampling: a part of a recording at another rate, as it is of the whole."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, gcd

import numpy as np
import numpy.typing as npt
import soxr

Samples = npt.NDArray[np.float32]
SEGMENT_SECONDS = 2
MARGIN = 256  # samples of the slower rate, either side of a resampled segment


def resample_part(
    read: Callable[[int, int], Samples],
    start: int,
    stop: int,
    rates: tuple[int, int],
    ends: tuple[int, int],
) -> Samples:
    """Samples at another rate, cut from segments that lie fast on the time line.

    Parameters
    ----------
    read : callable
        Gives samples ``start`` to ``stop`` - 1 at the first rate.
    start, stop : int
        What is asked for, at the second rate.
    rates : (int, int)
        That of what is read, and that of the result, in Hz.
    ends : (int, int)
        Length of the whole recording at either rate, in samples.

    Returns
    -------
    numpy.ndarray of float32, shape (sample,)
        The same numbers whatever is asked for with them; NaN within reach of
        NaN.

    Notes
    -----
    With starts and margins at multiples of 8 periods, and a margin of 256
    samples, a segment of soxr's best quality equals what it makes of the
    whole recording, for most pairs of rates to the last bit.
    """
    (native, rate), (n_native, n_samples) = rates, ends
    common = gcd(native, rate)
    up, down = rate // common, native // common
    periods = 8 if down <= 1000 else 1
    length = ceil(SEGMENT_SECONDS * rate / (periods * up)) * periods * up
    margin = ceil(MARGIN * max(1, native / rate) / (periods * down)) * periods * down
    low = start // length * length // up * down - margin
    high = min(-(-stop // length) * length, n_samples)
    high = -(-high * down // up) + margin
    first, last = max(0, low), min(n_native, high)
    samples = read(first, last)
    pieces = []
    for begin in range(start // length * length, stop, length):
        end = min(begin + length, n_samples)
        a = max(0, begin // up * down - margin)
        b = min(last, -(-end * down // up) + margin)
        piece = _resample(samples[a - first : b - first], native, rate)
        skip = (begin // up * down - a) // down * up
        pieces.append(piece[skip : skip + end - begin])
    offset = start // length * length
    return np.concatenate(pieces)[start - offset : stop - offset]


def _resample(samples: Samples, native: int, rate: int) -> Samples:
    """Resample; what is not finite spreads no further than the filter reaches."""
    bad = ~np.isfinite(samples)
    if not bad.any():
        return np.asarray(soxr.resample(samples, native, rate, "VHQ"), np.float32)
    clean = np.where(bad, np.float32(0), samples)
    result = np.array(soxr.resample(clean, native, rate, "VHQ"), np.float32)
    reach = MARGIN * max(1, native / rate)
    runs = np.flatnonzero(np.diff(bad, prepend=False, append=False)).reshape(-1, 2)
    for first, behind in runs.tolist():
        low, high = (first - reach) * rate / native, (behind - 1 + reach) * rate / native
        result[max(0, int(low)) : ceil(high)] = np.nan
    return result
