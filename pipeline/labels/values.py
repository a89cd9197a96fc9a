"""Labels of windows: numbers, truth values, or names made into numbers; or made when read."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.features import array_digest

# Numbers as programs write them. What else Python reads as a number may be a name: 007, 1_1, nan.
WHOLE = re.compile(r"0|-?[1-9][0-9]*")
COUNTED = 1 << 22  # cells of labels that are looked at on the way
REAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class LabelSource(Protocol):
    """Labels of the windows of a job, a block at a time."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of the labels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all labels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels."""

    @property
    def told(self) -> Mapping[str, Any] | None:
        """What became of events, if there are any, as plain values."""

    def block(self, start: int, stop: int) -> dict[str, npt.NDArray[Any]]:
        """``label`` of some windows and, if it is known, ``annotated`` (window, class)."""

    def identity(self) -> list[Any]:
        """What the labels are known by again."""


@dataclass(frozen=True, eq=False)
class Labels:
    """One label for each window, and the names of the classes.

    Values are numbers or truth values, of shape (window,) or (window, class); the former are
    indices into `classes`, if these are given.
    """

    values: npt.NDArray[Any]
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim not in (1, 2) or self.values.dtype.kind not in "biuf":
            raise ValueError(
                f"labels have shape {self.values.shape} and dtype {self.values.dtype}; they "
                f"must be numbers or truth values of shape (window,) or (window, class)"
            )

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes."""
        return ("window", "class")[: self.values.ndim]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all labels."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels."""
        return self.values.dtype

    @property
    def told(self) -> None:
        """There are no events."""

    def block(self, start: int, stop: int) -> dict[str, npt.NDArray[Any]]:
        """Labels of some windows."""
        return {"label": self.values[start:stop]}

    def identity(self) -> list[Any]:
        """What the labels are known by again."""
        return [array_digest(self.values), self.classes]


@dataclass(frozen=True, eq=False)
class LabelsByPath:
    """Labels of a table that names the recording of each: by path, in the order of windows."""

    table: str
    labels: Mapping[str, Sequence[str]]


def make_labels(values: Sequence[Any] | npt.NDArray[Any]) -> Labels:
    """Labels from one value a window: numbers, truth values or text.

    Text is all whole numbers, which become int64, all numbers, which become float64, or else
    names, which become indices into the names in order.
    """
    text = values
    # A list of text stays one: NumPy would make all words as long as the longest.
    if not (isinstance(values, list) and all(type(value) is str for value in values) and values):
        try:
            text = array = np.asarray(values)
        except ValueError as error:
            raise ValueError(
                "labels differ in length; give one number for each window, or one row of as many "
                "numbers as there are classes"
            ) from error
        if array.dtype.kind not in "UOT" or array.ndim != 1:
            return Labels(array)
    if not all(isinstance(value, str) and value for value in text):
        raise ValueError("labels are text, but not all of them; give text for each window")
    classes = tuple(sorted({str(value) for value in text}))
    numbers = _numbers(classes)
    index = dict(zip(classes, range(len(classes)) if numbers is None else numbers, strict=True))
    dtype = np.float64 if numbers and isinstance(numbers[0], float) else np.int64
    labels = np.fromiter((index[str(value)] for value in text), dtype, len(text))
    return Labels(labels, classes if numbers is None else None)


def _numbers(text: Collection[str]) -> list[int] | list[float] | None:
    """The text as numbers, if all of it is whole numbers of 64 bits, or all of it is numbers."""
    if all(map(WHOLE.fullmatch, text)):
        fits = all(len(word) <= 20 and -(2**63) <= int(word) < 2**63 for word in text)
        return [int(word) for word in text] if fits else None
    if not all(map(REAL.fullmatch, text)):
        return None
    numbers = [float(word) for word in text]
    return numbers if np.isfinite(numbers).all() else None


def countable(shape: Sequence[int]) -> bool:
    """Whether labels of a shape are so few that they are soon counted."""
    return prod(shape) <= COUNTED


def check_count(n_labels: int, n_windows: int, what: str, of: str, without: str = "") -> None:
    """Refuse labels of `what` that are not as many as the windows of `of`.

    `without` names recordings that have no windows, though they may have labels.
    """
    if n_labels != n_windows:
        raise ValueError(
            f"{what} has {n_labels} labels, but {of} has {n_windows} windows{without}; give one "
            f"label for each window"
        )
