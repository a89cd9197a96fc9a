"""The computation of a feature: a block of windows in, its values out, as they are stored."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features.feature import Feature
from pipeline.features.spectrogram import Spectrogram
from pipeline.kernels import Counts, Singles, groups

Array = npt.NDArray[Any]
Encode = Callable[[Array, Array], None]  # writes values into an array as they are stored
ROUNDED_BYTES = 1 << 22  # of float32, which are still in the cache when they are rounded


def assign(values: Array, out: Array) -> None:
    """Write values into an array as NumPy converts them."""
    with np.errstate(over="ignore"):
        out[...] = values


def compute_features(
    feature: Feature,
    audio: Singles,
    n_samples: Counts,
    dtype: npt.DTypeLike = np.float32,
    first: int = 0,
    encode: Encode = assign,
) -> Array:
    """Features of windows, each with its own number of samples; `first` is their first number.

    Windows with a sample that is not finite get the feature's floor. ValueError if the values
    are not as `Feature` says, or are beyond the dtype.
    """
    result = np.empty((len(audio), *feature.shape), dtype)
    readable = np.isfinite(audio).all(axis=1)
    where = f"windows {first} to {first + len(audio) - 1}"
    if readable.all():
        _call(feature, audio, n_samples, result, where, encode)
    else:
        some = np.empty((np.count_nonzero(readable), *feature.shape), dtype)
        _call(feature, audio[readable], n_samples[readable], some, where, encode)
        result[readable] = some
        floor = np.empty((1, *feature.shape), dtype)
        encode(np.full(floor.shape, float(getattr(feature, "floor", 0.0))), floor)
        result[~readable] = floor
    return result


def _call(
    feature: Feature, audio: Singles, n_samples: Counts, out: Array, where: str, encode: Encode
) -> None:
    """Compute features into `out`, of which the dtype may be another than theirs."""
    accepted = inspect.signature(feature).parameters
    few, rounded = len(audio), out.dtype != np.float32 and "out" in accepted
    if rounded:
        few = min(few, ROUNDED_BYTES // (4 * math.prod(out.shape[1:])))
        scratch = np.empty((max(1, few), *out.shape[1:]), np.float32)
    for rows in groups(len(audio), few):
        part = out[rows]
        options = {"n_samples": n_samples[rows], "out": scratch[: len(part)] if rounded else part}
        options = {name: value for name, value in options.items() if name in accepted}
        with np.errstate(all="ignore"):  # what comes of it is looked at
            values = np.asarray(feature(audio[rows], **options))
        if not isinstance(feature, Spectrogram):
            _store(type(feature).__name__, values, part, where, encode)
        elif values is not part:
            encode(values, part)


def _store(name: str, values: Array, out: Array, where: str, encode: Encode) -> None:
    """Encode what a feature of that name gave, if it is as it must be."""
    if values.shape != out.shape:
        raise ValueError(
            f"{name} gave an array of shape {values.shape} for {len(out)} windows; its shape "
            f"says {out.shape}"
        )
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} gave values of dtype {values.dtype} in {where}; stored features must be "
            f"real numbers"
        )
    encode(values, out)
    if np.isfinite(out if out.dtype.kind == "f" else values).all():
        return
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} gave values that are not finite for audio that is, in {where}; stored "
            f"features must be finite"
        )
    raise ValueError(
        f"{name} gave values of up to {np.abs(values).max():g} in {where}, and {out.dtype} ends at "
        f"{np.finfo(out.dtype).max:g}; give dtype float32, or make them smaller"
    )
