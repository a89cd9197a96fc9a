"""The computation of a feature: a block of windows in, its values out, as they are stored."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.features.feature import Feature, takes
from pipeline.kernels import Counts, Singles, groups

Array = npt.NDArray[Any]
Encode = Callable[[Array, Array], object]  # writes values into an array as they are stored
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
    first: int | Counts = 0,
    encode: Encode = assign,
    inside: Counts | None = None,
    hop_samples: int | None = None,
    out: Array | None = None,
) -> Array:
    """Features of windows, each with its own number of samples.

    `first` is the number of the first, or those of all.

    Of windows with context, `inside` says which samples are in the recording; of windows of one
    recording, `hop_samples` how far each is from the one before. Windows with a sample that is
    not finite get the feature's floor. ValueError if the values are not as `Feature` says, or are
    beyond the dtype.
    """
    if inside is None:
        inside = np.stack([np.zeros_like(n_samples), n_samples], axis=1)
    result = np.empty((len(audio), *feature.shape), dtype) if out is None else out
    readable = _readable(audio)
    for rows in _stretches(readable):
        options = {"n_samples": n_samples[rows], "inside": inside[rows], "hop_samples": hop_samples}
        _call(feature, audio[rows], options, result[rows], _where(first, rows), encode)
    if not readable.all():
        floor = np.empty((1, *feature.shape), dtype)
        encode(np.full(floor.shape, float(getattr(feature, "floor", 0.0))), floor)
        result[~readable] = floor
    return result


def _where(first: int | Counts, rows: slice) -> str:
    if isinstance(first, np.ndarray):
        numbers = first[rows]
        return f"{len(numbers)} windows from {numbers.min()} to {numbers.max()}"
    return f"windows {first + rows.start} to {first + rows.stop - 1}"


def _readable(audio: Singles) -> npt.NDArray[np.bool_]:
    """Which rows are finite; rows that share samples are looked at once."""
    (n, length), step = audio.shape, audio.strides[0] // audio.itemsize
    if n > 1 and 0 < step < length:
        shared = np.lib.stride_tricks.as_strided(
            audio, ((n - 1) * step + length,), (audio.itemsize,), writeable=False
        )
        if np.isfinite(shared).all():
            return np.ones(n, np.bool_)
    return np.asarray(np.isfinite(audio).all(axis=1))


def _stretches(readable: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Slices of the rows that are readable."""
    edges = np.flatnonzero(np.diff(readable, prepend=False, append=False))
    return (slice(a, b) for a, b in edges.reshape(-1, 2).tolist())


def _call(
    feature: Feature,
    audio: Singles,
    options: dict[str, Any],
    out: Array,
    where: str,
    encode: Encode,
) -> None:
    """Compute features into `out`, of which the dtype may be another than theirs."""
    writes = takes(feature, "out")
    few, rounded = len(audio), out.dtype != np.float32 and writes
    if rounded:
        few = min(few, ROUNDED_BYTES // (4 * math.prod(out.shape[1:])))
        scratch = np.empty((max(1, few), *out.shape[1:]), np.float32)
    options = {name: value for name, value in options.items() if takes(feature, name)}
    for rows in groups(len(audio), few):
        part = out[rows]
        some = {n: v[rows] if isinstance(v, np.ndarray) else v for n, v in options.items()}
        if writes:
            some["out"] = scratch[: len(part)] if rounded else part
        with np.errstate(all="ignore"):  # what comes of it is looked at
            values = np.asarray(feature(audio[rows], **some))
        certain = getattr(feature, "always_finite", False)
        if not certain or (rounded and getattr(feature, "linear", False)):
            name = getattr(feature, "called", type(feature).__name__)
            _store(name, values, part, where, encode)
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
    if values is not out:
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
        f"{np.finfo(out.dtype).max:g}; pass dtype float32, or make them smaller"
    )
