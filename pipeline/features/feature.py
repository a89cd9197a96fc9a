"""What is asked of a feature: the protocol, its axes, and that it is as it says."""

import dataclasses
import inspect
import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipeline.checks import number

MOST_AXES = 2
AXIS_NAME = r"[A-Za-z][A-Za-z0-9_]*"
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

    A feature with a ``context`` is called with more of the recording: windows
    (window, before + sample + after), with zeros where there is no recording.
    A call that takes ``inside`` is given which samples of each are in the
    recording: the first and the one after the last, (window, 2).

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
    ``context``, the seconds of the recording before and after each window that
    its values hang on, such as ``(0.5, 0.0)``; ``floor``, the value where there
    is no audio (0 if not given); ``linear``, true if its values are powers or the
    like, which float16 does not resolve; ``limits``, the least and the largest value that
    may come of audio within full scale, by which values are rounded to codes of whole
    numbers; ``long_name`` and ``units``, for people;
    ``version``, a text or a whole number, by which its code is known in place of
    the source of its module; ``steps``, a mapping of dtypes of whole numbers, such
    as "int16", to how far the values of two of their codes are from each other,
    where 0 is the code of 0.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __call__(self, windows: Floats, /) -> Floats: ...


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of the features of a window.

    Parameters
    ----------
    name : str
        Of the dimension and of the coordinate in the store, such as "coefficient":
        letters, digits and underscores.
    values : array_like of float, shape (place,)
        The coordinate of each place.
    units : str
        Of the values; "1" if they have none.
    long_name : str
        What the values are, for people; the name if not given.

    Raises
    ------
    ValueError
        If the name is none, or the values are no numbers.
    """

    name: str
    values: npt.NDArray[np.float64]
    units: str = "1"
    long_name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(AXIS_NAME, self.name):
            raise ValueError(
                f"the name of an axis is {self.name!r}; it must be of letters, digits and "
                f"underscores, and begin with a letter"
            )
        object.__setattr__(self, "values", np.asarray(self.values, np.float64))
        object.__setattr__(self, "long_name", self.long_name or self.name)


def spectral_axes(frequencies: Any, times: Any) -> tuple[Axis, ...]:
    """Axes of frequencies in Hz, and of frames in seconds from the window's start, or of one."""
    where = "centre of the frame, from the window's start"
    found = [] if frequencies is None else [Axis("frequency", frequencies, "Hz")]
    return (*found, *([] if times is None else [Axis("time", times, "s", where)]))


def takes(feature: Any, argument: str) -> bool:
    """Whether a feature's call has an argument of that name."""
    return argument in inspect.signature(feature).parameters


def check_length(windows: npt.NDArray[Any], length: int) -> None:
    """Refuse windows of another length than a feature was bound to."""
    if windows.ndim != 2 or windows.shape[1] != length:
        raise ValueError(
            f"the windows have shape {windows.shape}; the feature is for (window, {length}): pass "
            f"it the samplerate and window of the recordings"
        )


def axes_of(feature: Any) -> tuple[Axis, ...]:
    """The axes of a feature: its `axes`, or those that its `frequencies` and `times` make."""
    if (axes := getattr(feature, "axes", None)) is not None:
        if not all(isinstance(axis, Axis) for axis in axes):
            raise ValueError(f"its axes are {axes!r:.80}; give a pipeline.Axis for each dimension")
        return tuple(axes)
    return spectral_axes(feature.frequencies, feature.times)


def margins_of(feature: Any, samplerate: int) -> tuple[int, int]:
    """Samples of the recording before and after each window that a feature is called with."""
    if (margins := getattr(feature, "margins", None)) is not None:  # ours say it in samples
        before, after = margins
        return before, after
    context = getattr(feature, "context", (0.0, 0.0))
    try:
        found = [number("context", seconds, 0, "of seconds from 0") for seconds in context]
        before, after = (round(seconds * samplerate) for seconds in found)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{type(feature).__name__} has the context {context!r:.80}; it must be two numbers, "
            f"the seconds before and after each window"
        ) from error
    return before, after


def limits_of(feature: Any) -> tuple[float, float] | None:
    """The least and the largest value of a feature, the floor between them, if it says that."""
    if (limits := getattr(feature, "limits", None)) is None:
        return None
    most, floor = float(np.finfo(np.float32).max), getattr(feature, "floor", 0.0)
    try:
        low, high = (number("limits", value, -most, "in float32", most) for value in limits)
        if low < high and low <= floor <= high:
            return low, high
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"{type(feature).__name__} has the limits {limits!r:.80}; they must be two finite numbers, "
        f"the lower one first, with {floor!r:.20} between them, the value where there is no audio"
    )


def check_feature(feature: object, what: str = "features") -> None:
    """Refuse what is no feature, and say what it lacks."""
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
            f"{what} is {feature!r:.80}, which lacks {' and '.join(lacks)}; give a feature such as "
            f"pipeline.Spectrogram()"
        )


def _has(feature: object, name: str) -> bool:
    try:
        return hasattr(feature, name)
    except Exception:  # it has it; what is wrong with it is said where it is used
        return True


def bind(
    feature: Feature, samplerate: int, window: float, dtype: npt.DTypeLike = np.float32
) -> Feature:
    """A feature for such recordings: fields of a dataclass that are None are filled in.

    ValueError if it is none, or was made for others, or its axes do not fit its shape, or its
    values do not fit the dtype.
    """
    check_feature(feature)
    bound: Feature = _filled_in(feature, samplerate, window)
    shape_of(bound)
    margins_of(bound, samplerate)
    _check_values(bound, np.dtype(dtype))
    return bound


def _filled_in(feature: Any, samplerate: int, window: float) -> Any:
    if not dataclasses.is_dataclass(feature):
        return feature
    missing: dict[str, Any] = {}
    names = {field.name for field in dataclasses.fields(feature)}
    for name, value in (("samplerate", samplerate), ("window", window)):
        given = getattr(feature, name) if name in names else value
        if given is None:
            missing[name] = value
        elif round(given * samplerate) != round(value * samplerate):
            raise ValueError(
                f"the feature was made for {name}={given}, but the recordings have "
                f"{name}={value}; leave {name} out, or pass the same"
            )
    return dataclasses.replace(feature, **missing)  # type: ignore[type-var]


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


def _check_values(feature: Feature, dtype: np.dtype[Any]) -> None:
    """Refuse a feature whose values a dtype cannot hold, as far as it says."""
    name = type(feature).__name__
    floor: Any = getattr(feature, "floor", 0.0)
    number = isinstance(floor, int | float | np.integer | np.floating)
    largest = float(np.finfo(dtype if dtype.kind == "f" else np.float32).max)
    if not number or not abs(floor) <= largest:
        raise ValueError(
            f"{name} has the floor {floor!r}, the value where there is no audio; it must be a "
            f"finite number, of at most {largest:g} in {dtype}"
        )
    if dtype == np.float16 and getattr(feature, "linear", False):
        raise ValueError(
            f"{name} gives powers, of which float16 loses the small ones and cuts the large "
            f"ones; pass dtype float32, or a logarithm of them (of Spectrogram: a log_offset)"
        )


def feature_name(feature: Feature) -> str:
    """What a feature's values are: its ``long_name``, or the name of its class."""
    return str(getattr(feature, "long_name", type(feature).__name__))
