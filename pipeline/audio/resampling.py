"""Resampling: a part of a recording at another rate, as if all of it were resampled."""

from collections.abc import Callable
from math import ceil, gcd

import numpy as np
import soxr

from pipeline.audio.header import Samples

SEGMENT_SECONDS = 2
MARGIN = 256  # samples of the slower rate, either side of a segment


def segment(native: int, rate: int) -> tuple[int, int]:
    """Samples of a segment at the second of two rates, and of its margins at the first.

    Both are whole periods of the two rates, after which their samples coincide: 8, where that is
    not too long.
    """
    common = gcd(native, rate)
    up, down = rate // common, native // common
    periods = 8 if down <= 1000 else 1
    length = ceil(SEGMENT_SECONDS * rate / (periods * up)) * periods * up
    margin = ceil(MARGIN * max(1, native / rate) / (periods * down)) * periods * down
    return length, margin


def resample_part(
    read: Callable[[int, int], Samples],
    start: int,
    stop: int,
    rates: tuple[int, int],
    ends: tuple[int, int],
) -> Samples:
    """Samples start to stop - 1 at the second of two rates, of what `read` yields at the first.

    `ends` are the lengths of the whole recording at either rate. The samples are the same
    numbers whatever is asked for with them; NaN within reach of NaN.
    """
    # The recording is cut into segments of 2 s, always at the same places; each is resampled
    # with a margin on either side, which is cut off again. As both are whole periods, a segment
    # equals what soxr's best quality makes of the whole, for most pairs of rates to the last bit.
    (native, rate), (n_native, n_samples) = rates, ends
    common = gcd(native, rate)
    up, down = rate // common, native // common
    length, margin = segment(native, rate)
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
    """Resample; NaN spreads no further than the filter reaches."""
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
