"""What is asked of a feature: the protocol, and what becomes of one that is not as it says."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipeline.features.axes import axes_of

MOST_AXES = 2
Floats = npt.NDArray[np.floating[Any]]


@runtime_checkable
class Feature(Protocol):
    r"""What `map_windows` and `extract` need of a feature.

    A call maps windows (window, sample), padded with zeros where a recording
    ends, to features (window, \*shape). A call that takes an argument named
    ``n_samples`` is given the number of samples that each window really has;
    one that takes ``out`` is given the array to write into. Fields named
    ``samplerate`` (Hz) and ``window`` (seconds) that are None are filled in
    from the recordings.

    Attributes
    ----------
    shape : tuple of int
        Of the features of one window: none, one or two whole numbers.
    axes : tuple of Axis
        What lies along these, in order. A feature may have ``frequencies``
        (Hz) and ``times`` (seconds from the window's start) in its place, of
        which one may be None.

    Notes
    -----
    Values are real numbers, and finite. What a feature may have besides:
    ``floor``, the value where there is no audio (0 if not given); ``linear``,
    true if its values are powers or the like, which float16 does not resolve;
    ``long_name`` and ``units``, for people; ``version``, a text or a whole
    number, by which its code is known in place of the source of its module.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __call__(self, windows: Floats, /) -> Floats: ...


def check_feature(feature: object, what: str = "features") -> None:
    """Refuse what is no feature, and say what it lacks."""
    name = f"{what} is {feature!r:.80}"
    if isinstance(feature, type):
        raise ValueError(
            f"{what} is the class {feature.__name__}; give one made of it, {feature.__name__}(...)"
        )
    parts = ("shape",) if _has(feature, "axes") else ("shape", "frequencies", "times")
    lacks = [part for part in parts if not _has(feature, part)]
    if not callable(feature):
        lacks.append("__call__")
    if lacks:
        raise ValueError(
            f"{name}, which lacks {' and '.join(lacks)}; give a feature such as "
            f"pipeline.Spectrogram()"
        )


def _has(feature: object, name: str) -> bool:
    try:
        return hasattr(feature, name)
    except Exception:  # it has it; what is wrong with it is told where it is used
        return True


def bind(feature: Feature, samplerate: int, window: float) -> Feature:
    """A feature for such recordings: fields of a dataclass that are None are filled in."""
    if not dataclasses.is_dataclass(feature) or isinstance(feature, type):
        return feature
    names = {field.name for field in dataclasses.fields(feature)}
    missing: dict[str, Any] = {}
    for name, value in (("samplerate", samplerate), ("window", window)):
        given = getattr(feature, name) if name in names else value
        if given is None:
            missing[name] = value
        elif round(given * samplerate) != round(value * samplerate):
            raise ValueError(
                f"the feature was made for {name}={given}, but the recordings have "
                f"{name}={value}; leave {name} out, or give the same"
            )
    return dataclasses.replace(feature, **missing)


def shape_of(feature: Feature) -> tuple[int, ...]:
    """The shape of one window's features, if the axes fit it."""
    name = type(feature).__name__
    try:
        shape = tuple(feature.shape)
        axes = axes_of(feature)
    except Exception as error:
        raise ValueError(
            f"{name} does not say its shape, and its axes or frequencies and times: "
            f"{type(error).__name__}: {error}; fix that"
        ) from error
    whole = all(isinstance(n, int | np.integer) and n >= 1 for n in shape)
    if len(shape) > MOST_AXES or not whole:
        raise ValueError(
            f"{name} has the shape {shape}; it must be at most {MOST_AXES} whole numbers of at "
            f"least 1"
        )
    if [axis.values.shape for axis in axes] != [(n,) for n in shape]:
        raise ValueError(
            f"{name} has the shape {shape}, but axes of {[axis.values.size for axis in axes]}; "
            f"each must have one value for each place, and of frequencies and times one may be None"
        )
    if len({axis.name for axis in axes}) < len(axes):
        raise ValueError(f"{name} has two axes of the name {axes[0].name}; name them differently")
    return tuple(map(int, shape))


def check_values(feature: Feature, dtype: npt.DTypeLike) -> None:
    """Refuse a feature whose values a dtype cannot hold, as far as it says."""
    name, dtype = type(feature).__name__, np.dtype(dtype)
    floor: Any = getattr(feature, "floor", 0.0)
    number = isinstance(floor, int | float | np.integer | np.floating)
    largest = float(np.finfo(dtype).max)
    if not number or not abs(floor) <= largest:
        raise ValueError(
            f"{name} has the floor {floor!r}, which stands where there is no audio; it must be a "
            f"finite number, of at most {largest:g} in {dtype}"
        )
    if dtype == np.float16 and getattr(feature, "linear", False):
        raise ValueError(
            f"{name} gives powers, of which float16 loses the small ones and cuts the large "
            f"ones; give dtype float32, or a logarithm of them (of Spectrogram: a log_offset)"
        )


def feature_floor(feature: Feature) -> float:
    """The value stored where there is no audio: the feature's ``floor``, or 0."""
    return float(getattr(feature, "floor", 0.0))


def feature_name(feature: Feature) -> str:
    """What a feature's values are: its ``long_name``, or the name of its class."""
    return str(getattr(feature, "long_name", type(feature).__name__))
