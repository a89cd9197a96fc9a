"""Checks of what is given."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def reject_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse keys that are not known, naming the nearest one that is.

    Raises
    ------
    ValueError
        If there is such a key.
    """
    known = list(known)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"{key!r} is not a known {what}; {hint}")
