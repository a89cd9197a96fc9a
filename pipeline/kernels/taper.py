"""The taper: the weights of the samples of a frame."""

from typing import Any

import numpy as np
import numpy.typing as npt

Taper = str | tuple[Any, ...]
Weights = npt.NDArray[np.float64]

DEFAULT_TAPER = "tukey", 0.25

# Those of most features are computed here as SciPy does, to the bit: to load `scipy.signal`
# takes as long as to compute an hour of audio.


def taper_weights(taper: Taper, length: int) -> Weights:
    """A factor for each sample of a frame."""
    if taper == DEFAULT_TAPER and length > 1:
        return _tukey(length + 1, DEFAULT_TAPER[1])[:-1]
    if taper == "hann" and length > 1:
        return _hann(length + 1)[:-1]
    if taper == "povey" and length > 1:  # of Kaldi: zero at both ends
        return np.asarray(_hann(length) ** 0.85)
    from scipy.signal import get_window

    return np.asarray(get_window("hann" if taper == "povey" else taper, length))


def _hann(length: int) -> Weights:
    return np.asarray(0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, length)))


def _tukey(length: int, alpha: float) -> Weights:
    """One, but for half a cosine at each end; these are `alpha` of the length together."""
    last = length - 1
    places, ends = 2.0 * np.arange(length) / alpha / last, int(alpha * last / 2.0) + 1
    weights = np.ones(length)
    weights[:ends] = 0.5 * (1 + np.cos(np.pi * (-1 + places[:ends])))
    weights[-ends:] = 0.5 * (1 + np.cos(np.pi * (-2.0 / alpha + 1 + places[-ends:])))
    return weights


def check_taper(taper: Taper, length: int) -> None:
    """Refuse a taper that there is not, or that leaves nothing of a frame."""
    try:
        with np.errstate(all="ignore"):  # what it makes of that is looked at
            weights = taper_weights(taper, length)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"taper is {taper!r}, which scipy.signal.get_window refuses: {error}"
        ) from error
    if not np.all(np.isfinite(weights)) or not np.sum(weights) > 0:
        raise ValueError(
            f"taper is {taper!r}, which has no weight on {length} samples; give another taper or "
            f"a longer frame_length"
        )


def as_taper(value: Any) -> Any:
    """A taper with lists, as YAML has them, as tuples, which can be hashed."""
    return tuple(map(as_taper, value)) if isinstance(value, list | tuple) else value
