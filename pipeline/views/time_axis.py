"""The time of a figure: from the start of a recording, or the time of day where it was made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.recordings import NAT, offset_text
from pipeline.store import Store

TICKS = 9  # about, at most
SHORT, MINUTES, LONG = 120.0, 7200.0, 36000.0  # seconds up to which s, min and h are told
STEPS = (30, 60, 120, 300, 600, 900)  # seconds between ticks that tell minutes
ROUNDING = 1e-6  # of a step
HOURS = "h:mm:ss"  # the unit of a moment long after the start


@dataclass(frozen=True)
class Clock:
    """When a recording began where it was made."""

    begin: float  # seconds since 1970 in local time
    offset: int  # seconds ahead of UTC

    @classmethod
    def of(cls, store: Store, window: int) -> Clock | None:
        """That of the recording of a window; None if it is not known."""
        times = store.get("datetime", window, window + 1)
        if times is None or times[0] == NAT:
            return None
        number = int(store.coordinate("recording", window, window + 1)[0])
        offset = int(store.coordinate("utc_offset", number, number + 1)[0])
        start = float(store.coordinate("start", window, window + 1)[0])
        return cls(int(times[0]) / 1e9 + offset - start, offset)

    @property
    def zone(self) -> str:
        """How far ahead of UTC it is."""
        return f"UTC{offset_text(self.offset)}" if self.offset else "UTC"

    def told(self, seconds: float) -> str:
        """The date and time of day so long after the start, with six digits of a second."""
        return str(np.datetime64(round((self.begin + seconds) * 1e6), "us")).replace("T", " ")


def moment(seconds: float, clock: Clock | None, last: float) -> str:
    """When something is, by the clock or from the start, in the unit of a figure up to `last`."""
    if clock is not None:
        return f"{clock.told(seconds).rstrip('0').rstrip('.')} {clock.zone}"
    return f"at {seconds:g} s" if last <= MINUTES else f"at {_hms(seconds, 0)} ({HOURS})"


def show_time(axis: Any, first: float, last: float, clock: Clock | None = None) -> None:
    """Label an axis of seconds from the start of a recording, by the length of what it shows."""
    if clock is None:
        ticks, labels, text = _from_start(first, last)
    elif last - first <= SHORT:
        step = _step(last - first)
        ticks, digits = _multiples(first, last, step, clock.begin), _digits(step)
        end = 19 + (digits + 1 if digits else 0)
        labels = [clock.told(tick)[11:end] for tick in ticks.tolist()]
        text = f"time ({clock.zone}), {clock.told(first)[:10]}"
    else:
        ticks, labels, text = _by_days(first, last, clock)
    axis.set_ticks(ticks, labels)
    axis.set_label_text(text)


def _from_start(first: float, last: float) -> tuple[Any, list[str], str]:
    stretch = last - first
    unit, seconds = "h", 3600.0
    if stretch <= SHORT:
        unit, seconds = ("s", 1.0) if last <= MINUTES else (HOURS, 1.0)
    elif stretch <= MINUTES:
        unit, seconds = ("min", 60.0) if last <= LONG else (HOURS, 1.0)
    step = _step(stretch / seconds) * seconds
    if unit == HOURS and stretch > SHORT:
        step = next(step for step in STEPS if TICKS * step >= stretch)
    ticks, digits = _multiples(first, last, step), _digits(step / seconds)
    if unit == HOURS:
        labels = [_hms(tick, digits) for tick in ticks.tolist()]
    else:
        labels = [f"{tick / seconds:.{digits}f}" for tick in ticks.tolist()]
    return ticks, labels, f"time ({unit})"


def _by_days(first: float, last: float, clock: Clock) -> tuple[Any, list[str], str]:
    """Ticks at whole minutes, hours, days or more."""
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator(maxticks=TICKS)
    ends = (datetime.fromtimestamp(clock.begin + edge, UTC) for edge in (first, last))
    days = np.asarray(locator.tick_values(*ends))
    ticks = days * 86400 - clock.begin
    inside = (ticks >= first) & (ticks <= last)
    formatter = untyped.ConciseDateFormatter(locator)
    labels = formatter.format_ticks(days[inside])
    date = formatter.get_offset()
    return ticks[inside], labels, f"time ({clock.zone})" + (f", {date}" if date else "")


def _step(stretch: float) -> float:
    """The least step of 1, 2 or 5 in some decade that makes no more ticks than there may be."""
    least = stretch / TICKS
    decade = 10.0 ** np.floor(np.log10(least))
    return float(next(decade * k for k in (1, 2, 5, 10) if decade * k >= least * (1 - 1e-9)))


def _multiples(first: float, last: float, step: float, begin: float = 0.0) -> Any:
    """From first to last what is, counted from a whole hour before it, a multiple of a step."""
    hour = begin % 3600
    places = np.arange(
        np.ceil((hour + first) / step - ROUNDING), np.floor((hour + last) / step + ROUNDING) + 1
    )
    return places * step - hour + 0.0  # so that there is no -0


def _digits(step: float) -> int:
    return max(0, -int(np.floor(np.log10(step) + 1e-9)))


def _hms(seconds: float, digits: int) -> str:
    """Hours, minutes and seconds."""
    whole, part = divmod(round(seconds * 10**digits), 10**digits)
    minutes, second = divmod(whole, 60)
    fraction = f".{part:0{digits}}" if digits else ""
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}{fraction}"
