"""Events around a window: boxes where they have frequencies, else lines in the rows of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.labels import Heard
from pipeline.views.class_rows import LIGHT, ClassRows, clipped

MOST = 400  # events, at most, that are drawn: the longest
LETTERS = 18  # of a name beside a box
INSET, PAD = 1.8, 1.0  # of a name from the corner of its box, in points, and around it, in pixels
LANES = 4  # in a row, for events of one class that overlap


def longest(events: Heard) -> Heard:
    """As many events as are drawn, in order of time."""
    rows = np.argsort(events.start - events.end, kind="stable")[:MOST]
    return events.where(rows[np.argsort(events.start[rows], kind="stable")])


def in_range(events: Heard, low: float, high: float) -> npt.NDArray[np.bool_]:
    """Which have frequencies from low to high."""
    return np.asarray((events.low <= events.high) & (events.low < high) & (events.high > low))


def draw_boxes(panel: Any, events: Heard, rows: ClassRows, names: Sequence[str]) -> None:
    """Draw events as boxes in time and frequency; their names, where there is room for these.

    The panel must have its place in the figure.
    """
    from matplotlib.patches import Rectangle

    bottom, top = panel.get_ylim()
    first, last = panel.get_xlim()
    low, high = np.maximum(events.low, bottom), np.minimum(events.high, top)
    texts = []
    for i, number in enumerate(events.label.tolist()):
        start, end, colour = float(events.start[i]), float(events.end[i]), rows.colour(number)
        box = Rectangle(
            (start, low[i]), end - start, high[i] - low[i], fill=False, edgecolor=colour,
            linewidth=1.2, linestyle=_dashes(events.sure[i]), path_effects=_outline(2.4),
        )  # fmt: skip
        panel.add_patch(box)
        corners = max(start, first), min(end, last), float(low[i]), float(high[i])
        texts.append(_name(panel, clipped(names[number], LETTERS), colour, corners))
    _drop_names_upon_others(panel, texts)


def _dashes(is_sure: bool) -> str:
    return "-" if is_sure else ":"


def _outline(width: float) -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="white")]


def _name(
    panel: Any, name: str, colour: str, corners: tuple[float, float, float, float]
) -> tuple[Any, list[dict[str, Any]]]:
    """The name of a box, and the places that it may have in order of preference."""
    left, right, bottom, top = corners
    text = panel.annotate(
        name, (left, top), (0, 0), textcoords="offset points", annotation_clip=False,
        fontsize=6.5, color="black" if colour in LIGHT else "white", clip_on=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8}, parse_math=False,
    )  # fmt: skip
    text.set_in_layout(False)
    places = [
        {"xy": (x, y), "position": (INSET * across, INSET * up), "ha": ha, "va": va}
        for y, up, va in ((top, -1, "top"), (bottom, 1, "bottom"), (top, 1, "bottom"))
        for x, across, ha in ((left, 1, "left"), (right, -1, "right"))
    ]
    return text, places


def _drop_names_upon_others(panel: Any, texts: list[tuple[Any, list[dict[str, Any]]]]) -> None:
    """Move names to where they are inside the panel and on no other; remove those left."""
    inside, taken = panel.bbox, list[Any]()
    for text, places in texts:
        for place in places:
            text.xy = place["xy"]
            text.set(**{name: value for name, value in place.items() if name != "xy"})
            found = text.get_window_extent().padded(PAD)
            within = inside.x0 <= found.x0 and found.x1 <= inside.x1
            within &= inside.y0 <= found.y0 and found.y1 <= inside.y1
            if within and not found.count_overlaps(taken):
                taken.append(found)
                break
        else:
            text.remove()


def draw_lines(panel: Any, events: Heard, rows: ClassRows) -> None:
    """Draw events as lines, and points as markers, in the rows of their classes."""
    row = rows.row[events.label]
    lane, n_lanes = _lanes(row, events.start, events.end)
    heights = row + (lane + 1) / (n_lanes + 1)
    for i, number in enumerate(events.label.tolist()):
        start, end, y = events.start[i], events.end[i], heights[i]
        colour = rows.colour(number)
        if start == end:
            style = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.6}
            panel.plot([start], [y], "D", color=colour, **style)
        else:
            style = {"linewidth": 2, "solid_capstyle": "butt", "path_effects": _outline(3.4)}
            panel.plot([start, end], [y, y], _dashes(events.sure[i]), color=colour, **style)


def _lanes(
    row: npt.NDArray[Any], start: npt.NDArray[Any], end: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A lane for each event in its row, where no other is then, and how many lanes there are."""
    lane = np.zeros(len(row), np.int64)
    until: dict[int, list[float]] = {}  # end of the last event in each lane of a row
    for i in np.argsort(start, kind="stable").tolist():
        ends = until.setdefault(int(row[i]), [])
        free = next((k for k, last in enumerate(ends) if last <= start[i]), len(ends))
        if free == len(ends) < LANES:
            ends.append(float(end[i]))
        lane[i] = min(free, LANES - 1)
        ends[lane[i]] = max(ends[lane[i]], float(end[i]))
    return lane, np.array([len(until[r]) for r in row.tolist()], np.int64)
