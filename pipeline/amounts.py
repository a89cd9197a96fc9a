"""Amounts: numbers, shares, durations, bytes and times as people read them."""

import math

UNITS = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("PB", 1e15))
LENGTHS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86400.0))


def count(number: float | None) -> str:
    """A whole number, with commas."""
    return "unknown" if number is None else f"{number:,.0f}"


def value(number: float | None) -> str:
    """A number with four digits that count."""
    if number is None or not math.isfinite(number):
        return "unknown"
    return f"{number:,.0f}" if 1e4 <= abs(number) < 1e15 else f"{number:.4g}"


def share(part: float | None) -> str:
    """A share of 1 in per cent; what is not quite nothing or all is never shown as such."""
    if part is None:
        return "unknown"
    if 0 < part < 0.001:
        return "< 0.1 %"
    if 0.999 < part < 1:
        return "> 99.9 %"
    return f"{100 * part:.3g} %"


def duration(seconds: float | None) -> str:
    """Seconds in the longest unit of which there are two."""
    if seconds is None:
        return "unknown"
    unit, length = next((u for u in reversed(LENGTHS) if seconds >= 2 * u[1]), LENGTHS[0])
    amount = seconds / length
    return f"{amount:,.0f} {unit}" if amount >= 1000 else f"{amount:.3g} {unit}"


def size(n_bytes: float | None) -> str:
    """Bytes in the unit that has at least one."""
    if n_bytes is None:
        return "unknown"
    unit, scale = next((u for u in reversed(UNITS) if n_bytes >= u[1]), ("bytes", 1.0))
    return f"{n_bytes / scale:.3g} {unit}" if scale > 1 else f"{n_bytes:.0f} bytes"


def moment(iso: str | None) -> str:
    """A time as ISO 8601 has it, with spaces."""
    if iso is None:
        return "unknown"
    date, _, clock = iso.partition("T")
    return f"{date} {clock[:8]} {clock[8:]}".strip()
