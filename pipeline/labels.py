"""Labels: from what people keep beside their recordings to y, one for each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Labels", "check_count", "make_labels"]


@dataclass(frozen=True, eq=False)
class Labels:
    """One label for each window.

    Parameters
    ----------
    values : numpy.ndarray, shape (window,) or (window, class)
        Numbers, or truth values.
    classes : tuple of str, optional
        Names of the classes; ``values`` of shape (window,) index into them.
    """

    values: npt.NDArray[Any]
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim not in (1, 2) or self.values.dtype.kind not in "biuf":
            raise ValueError(
                f"labels have shape {self.values.shape} and dtype {self.values.dtype}; they "
                f"must be numbers or truth values of shape (window,) or (window, class)"
            )


def make_labels(values: Sequence[Any] | npt.NDArray[Any]) -> Labels:
    """Labels from one value a window.

    Parameters
    ----------
    values : sequence or numpy.ndarray
        Numbers or truth values, of shape (window,) or (window, class), or
        text: all whole numbers, or all numbers, or names.

    Returns
    -------
    Labels
        Text becomes int64, float64, or int64 indices into the sorted names.

    Raises
    ------
    ValueError
        If the values are of another kind.
    """
    text = values
    # NumPy would make all text as long as the longest.
    if not (isinstance(values, list) and all(type(value) is str for value in values) and values):
        try:
            text = array = np.asarray(values)
        except ValueError:
            raise ValueError(
                "labels differ in length; give one number for each window, or one row of as many "
                "numbers as there are classes"
            ) from None
        if array.dtype.kind not in "UOT" or array.ndim != 1:
            return Labels(array)
    if not all(isinstance(value, str) and value for value in text):
        raise ValueError("labels are text, but not all of them; give text for each window")
    for number in (np.int64, np.float64):
        try:
            return Labels(np.fromiter((number(str(value)) for value in text), number, len(text)))
        except (ValueError, OverflowError):
            continue
    classes = tuple(sorted({str(value) for value in text}))
    index = {name: i for i, name in enumerate(classes)}
    return Labels(np.fromiter((index[str(value)] for value in text), np.int64, len(text)), classes)


def check_count(n_labels: int, n_windows: int, what: str, of: str) -> None:
    """Refuse labels that are not one a window.

    Parameters
    ----------
    n_labels, n_windows : int
        How many there are.
    what, of : str
        What has the labels, and what has the windows.

    Raises
    ------
    ValueError
        If the counts differ; it names both.
    """
    if n_labels != n_windows:
        raise ValueError(
            f"{what} has {n_labels} labels, but {of} has {n_windows} windows; give one label for "
            f"each window"
        )
