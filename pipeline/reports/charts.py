"""Charts: drawings of a report as SVG, in the colours of the page that they are in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from pipeline.amounts import moment, share, value

WIDTH = 720
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 34  # of what is drawn, from the edges
PLOT = WIDTH - LEFT - RIGHT
HOURS = 24
HOUR_HEIGHT, WIDEST_DAY = 7, 72
SHADES = 8  # of coverage
NARROWEST = 1e-6  # of a value: a span that has round numbers in it
DATES, DATE_WIDTH = 6, 80  # written below it, about, and the room that each needs


def coverage_chart(coverage: Mapping[str, Any]) -> str:
    """Days, or longer units, from left to right, hours of the day downwards, shaded by share."""
    rows = coverage["rows"]
    across = min(WIDEST_DAY, PLOT / len(rows))
    bottom = TOP + HOURS * HOUR_HEIGHT
    parts = [_rect(LEFT, TOP, across * len(rows), HOURS * HOUR_HEIGHT, "empty")]
    for i, row in enumerate(rows):
        hour = 0
        for shade, cells in groupby(row["hours"], _shade):
            n = len([*cells])
            if shade:
                box = LEFT + i * across, TOP + hour * HOUR_HEIGHT, across, n * HOUR_HEIGHT
                parts.append(_rect(*box, f"s{shade}"))
            hour += n
    for hour in range(0, HOURS + 1, 6):
        y = TOP + hour * HOUR_HEIGHT
        parts.append(_text(LEFT - 6, y + 4, f"{hour:02}:00", "end"))
    step = max(1, math.ceil(max(len(rows) / DATES, DATE_WIDTH / across)))
    for i in range(0, len(rows), step):
        x = LEFT + i * across
        parts.append(_line(x, bottom, x, bottom + 5))
        if x + DATE_WIDTH <= WIDTH:
            parts.append(_text(x, bottom + 18, rows[i]["from"], "start"))
    first, last = coverage["first"], coverage["last"]
    told = (
        f"Share of each hour of the day that was recorded, by {coverage['unit']}, {first} to {last}"
    )
    return _svg(bottom + BOTTOM - TOP, told, parts)


def histogram_chart(values: Mapping[str, Any]) -> str:
    """How often values are in each of equal steps."""
    counts, edges = values["histogram"]["counts"], values["histogram"]["edges"]
    height, most = 170, max([1, *counts])
    x, y = _Scale(edges[0], edges[-1], LEFT, LEFT + PLOT), _Scale(0, most, TOP + height, TOP)
    parts = [
        _rect(x(a), y(n), max(0.5, x(b) - x(a) - 0.5), y(0) - y(n), "bar")
        for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
    ]
    parts += _across(x, TOP + height, _ticks(x.low, x.high, 8), value)
    parts += [_text(LEFT - 6, TOP + 9, share(most / max(1, sum(counts))), "end")]
    told = f"Distribution of {values['name']}: {value(edges[0])} to {value(edges[-1])}"
    return _svg(height + TOP + BOTTOM, told, parts)


def level_chart(level: Mapping[str, Any]) -> str:
    """The median of windows along time, in the band from 10 to 90 % of their values."""
    rows, height = level["rows"], 170
    x = _Scale(0, max(1, len(rows) - 1), LEFT, LEFT + PLOT)
    lows, highs = [row["low"] for row in rows], [row["high"] for row in rows]
    y = _Scale(min(lows), max(highs), TOP + height, TOP)
    at = [x(i) for i in range(len(rows))] if len(rows) > 1 else [LEFT, LEFT + PLOT]
    upper, lower, middle = (
        [(place, y(row[name])) for place, row in zip(at, rows * len(at), strict=False)]
        for name in ("high", "low", "median")
    )
    parts = [f'<polygon class="band" points="{_points([*upper, *reversed(lower)])}"/>']
    parts += [f'<polyline class="line" points="{_points(middle)}"/>']
    parts += _upwards(y, value)
    dated = all(row["begins"] for row in rows)
    for i, anchor in ((0, "start"), (len(rows) // 2, "middle"), (len(rows) - 1, "end")):
        if anchor == "start" or len(rows) > 2:
            told = moment(rows[i]["begins"]) if dated else f"window {rows[i]['window']:,}"
            parts.append(_text(x(i), TOP + height + 20, told, anchor))
    unit = "" if level["units"] == "1" else f" in {level['units']}"
    told = f"Level{unit} over time: median and the band from 10 to 90 per cent of the values"
    return _svg(height + TOP + BOTTOM, told, parts)


def pace_chart(timeline: Sequence[Mapping[str, Any]]) -> str:
    """Windows a second in equal stretches of time."""
    rates, height = [item["windows_per_second"] for item in timeline], 110
    x = _Scale(0, len(rates), LEFT, LEFT + PLOT)
    y = _Scale(0, max([*rates, 1e-9]), TOP + height, TOP)
    parts = [
        _rect(x(i), y(rate), max(0.5, x(i + 1) - x(i) - 0.5), y(0) - y(rate), "bar")
        for i, rate in enumerate(rates)
    ]
    parts += _upwards(y, value)
    for at, anchor, item in ((LEFT, "start", timeline[0]), (LEFT + PLOT, "end", timeline[-1])):
        parts.append(_text(at, TOP + height + 20, moment(item["at"]), anchor))
    return _svg(height + TOP + BOTTOM, "Windows a second while the job ran", parts)


def states_chart(counts: Mapping[str, int], states: Iterable[str]) -> str:
    """One bar of all windows, cut by their states."""
    height, at = 26, 0.0
    total = max(1, counts["total"])
    parts = []
    for state in states:
        if counts[state]:
            across = max(2.0, counts[state] / total * WIDTH)
            parts.append(_rect(at, 0, min(across, WIDTH - at), height, f"is-{state}"))
            at += across
    told = ", ".join(f"{counts[state]:,} {state}" for state in states if counts[state])
    return _svg(height, f"Windows by state: {told}", parts, stretched=True)


class _Scale:
    """Places of values between two, from one place to another."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        spread = high - low if high > low else max(1.0, abs(low) * NARROWEST)
        self.low, self.high = low, low + spread
        self._start, self._step = start, (stop - start) / spread

    def __call__(self, number: float) -> float:
        return round(self._start + (number - self.low) * self._step, 2)


def _ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Round numbers from low to high, about so many."""
    least = (high - low) / n
    decade = 10.0 ** math.floor(math.log10(least))
    step = next(decade * k for k in (1, 2, 5, 10) if decade * k >= least)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _across(scale: _Scale, y: float, ticks: Iterable[float], text: Any) -> list[str]:
    parts = [_line(LEFT, y, LEFT + PLOT, y)]
    for tick in ticks:
        parts += [_line(scale(tick), y, scale(tick), y + 5)]
        parts += [_text(scale(tick), y + 18, text(tick), "middle")]
    return parts


def _upwards(scale: _Scale, text: Any) -> list[str]:
    parts = []
    for tick in _ticks(scale.low, scale.high, 4):
        y = scale(tick)
        parts += [f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{LEFT + PLOT}" y2="{y}"/>']
        parts += [_text(LEFT - 6, y + 4, text(tick), "end")]
    return parts


def _shade(part: float) -> int:
    return 0 if part <= 0 else max(1, math.ceil(part * SHADES - 1e-9))


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.6g}" y="{y:.6g}" width="{width:.6g}" height="{height:.6g}"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="axis" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, told: str, parts: Iterable[str], stretched: bool = False) -> str:
    ratio = ' preserveAspectRatio="none"' if stretched else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(told)}"{ratio}>'
        f"{''.join(parts)}</svg>"
    )
