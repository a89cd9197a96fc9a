"""Text: names and values that others gave, in one line."""

import re
from typing import Any

# What a terminal or a file does not show but obeys, and what is not Unicode.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LISTED, PLACES_LISTED = 10, 3  # items of a list, and such as have several values


def printable(line: str) -> str:
    """A line whose control characters, as names of files may have, are shown as Python does."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], line)


def shortened(line: str, length: int, end: int | None = None) -> str:
    """A line of so many letters at most: its beginning, and so many of its end, or as many."""
    if len(line) <= length:
        return line
    end = (length - 1) // 2 if end is None else end
    return f"{line[: length - 1 - end]}…{line[len(line) - end :]}"


def counted(n: int, noun: str) -> str:
    """So many of something, whose plural has an s."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def value_text(name: str, value: Any) -> str:
    """A plain value in one line, as much of it as people read."""
    if name.endswith("bytes"):
        return f"{value:,} ({value / 1e9:.3g} GB)"
    if isinstance(value, dict):
        if value.get("recordings") == 0:  # nothing more of what no recording is
            return "none"
        if all(isinstance(item, dict) for item in value.values()):
            return ", ".join(f"{k} ({value_text(k, item)})" for k, item in value.items()) or "none"
        return ", ".join(f"{key}: {value_text(key, item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        shown = PLACES_LISTED if any(isinstance(item, dict) for item in value) else LISTED
        more = [f"and {len(value) - shown:,} more"] if len(value) > shown else []
        texts = (
            f"({value_text(name, i)})" if isinstance(i, dict) else str(i) for i in value[:shown]
        )
        return ", ".join([*texts, *more]) or "none"
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
