"""Checks of what users pass: whole numbers, numbers, one of some words, known names."""

import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any


def whole(name: str, value: Any, least: float, allowed: str, most: float = math.inf) -> int:
    """A whole number, of Python or NumPy; `allowed` ends the sentence of the error."""
    if _is(Integral, value) and least <= value <= most:
        return int(value)
    raise ValueError(f"{name} is {value!r}; it must be a whole number {allowed}")


def number(
    name: str, value: Any, least: float, allowed: str, most: float = sys.float_info.max
) -> float:
    """A number, of Python or NumPy; `allowed` ends the sentence of the error."""
    if _is(Real, value) and least <= value <= most:
        return float(value)
    raise ValueError(f"{name} is {value!r}; it must be a number {allowed}")


def _is(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse what is not among the values that are allowed."""
    if value not in allowed:
        *others, last = map(str, allowed)
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(others)} and {last}")


def reject_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse names that are not known, with the nearest one that is."""
    known = list(known)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"{key!r} is not a known {what}; {hint}")
