"""Figures: panels, the edges of cells, the units of axes, and the file of a picture."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NAMED = 24  # classes, at most, whose names there is room for
KILO = 2000.0  # Hz, from which on an axis is in kHz
# The longest stretch of time that is told in each unit, and seconds of one.
UNITS = ((120.0, "s", 1.0), (7200.0, "min", 60.0), (np.inf, "h", 3600.0))


def picture_file(png: Path | None, svg: Path | None) -> Path:
    """The one file that is asked for, if it can be a picture of its kind."""
    asked = [(kind, file) for kind, file in (("png", png), ("svg", svg)) if file is not None]
    if len(asked) != 1:
        raise ValueError(f"{len(asked)} of png and svg were passed; pass one of the two")
    kind, file = asked[0]
    if file.suffix.lower() != f".{kind}" or not file.absolute().parent.is_dir():
        text = f"it must be a file name ending in .{kind} in a folder"
        raise ValueError(f"{kind} is {str(file)!r}; {text}")
    return file


def save(figure: Any, file: Path) -> None:
    """Write a figure as what its file name says."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name may be in any script
        figure.savefig(file, dpi=110)


def show_hertz(axis: Any, name: str, highest: float) -> None:
    """Label an axis of frequencies in Hz, or in kHz if it goes beyond 2 kHz."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    is_kilo = highest > KILO
    scale = 1000.0 if is_kilo else 1.0
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(f"{name} ({'kHz' if is_kilo else 'Hz'})", parse_math=False)


def show_seconds(axis: Any, length: float) -> None:
    """Label an axis of seconds in s, min or h, by the length of what it shows."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    _, unit, seconds = next(item for item in UNITS if length <= item[0])
    least = length / seconds / 8
    decade = 10.0 ** np.floor(np.log10(least))
    step = next(decade * k for k in (1, 2, 5, 10) if decade * k >= least)
    axis.set_major_locator(MultipleLocator(step * seconds))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / seconds:g}"))
    axis.set_label_text(f"time ({unit})")


def show_clock(axis: Any, offset: int) -> None:
    """Label an axis of matplotlib's days, in local time, by time of day and date."""
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator(maxticks=9)
    axis.set_major_locator(locator)
    axis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    sign, ahead = "-" if offset < 0 else "+", timedelta(seconds=abs(offset))
    text = str(ahead).removesuffix(":00")
    axis.set_label_text("time (UTC)" if not offset else f"time (UTC{sign}{text})")


def _figure_class() -> Any:
    """That of matplotlib; an error in a sentence where that is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plot needs matplotlib, which is not installed; install dask-audio-pipeline[plot]"
        ) from error
    return Figure


def subplots(n: int, across: int) -> tuple[Any, list[Any]]:
    """A figure of so many equal panels, in rows of up to so many."""
    columns = min(n, across)
    down = -(-n // columns)
    size = (2 + 2.6 * columns, 0.8 + 2.3 * down)
    figure = _figure_class()(figsize=size, layout="constrained")
    grid = figure.subplots(down, columns, squeeze=False).ravel()
    for panel in grid[n:]:
        panel.remove()
    return figure, [*grid[:n]]


def panels(heights: dict[str, float]) -> tuple[Any, dict[str, Any]]:
    """A figure, and the panels in it that have a height in inches."""
    figure = _figure_class()(figsize=(10, 1.5 + sum(heights.values())), layout="constrained")
    ratios = {name: height for name, height in heights.items() if height}
    subplots = figure.subplots(
        len(ratios), sharex=True, squeeze=False, height_ratios=[*ratios.values()]
    )
    return figure, dict(zip(ratios, subplots[:, 0], strict=True))


def labelled(name: str, units: str) -> str:
    """A name with its units, if it has any."""
    return name if units == "1" else f"{name} ({units})"


def edges_of(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The edges of cells around values, or around their places where they are in no order."""
    steps = np.diff(values)
    if not are_in_order(values):
        return np.arange(len(values) + 1) - 0.5
    first, last = values[0] - steps[0] / 2, values[-1] + steps[-1] / 2
    return np.array([first, *(values[:-1] + steps / 2), last])


def are_in_order(values: npt.NDArray[Any]) -> bool:
    """Whether values only rise, or only fall."""
    steps = np.diff(values)
    return bool(len(steps) and ((steps > 0).all() or (steps < 0).all()))


def scale_rows(panel: Any, values: npt.NDArray[Any]) -> None:
    """Show bands as people draw them, and values in no order at the places that they have."""
    if _are_of_one_ratio(values):
        panel.set_yscale("log")
    if not are_in_order(values) and len(values) <= NAMED:
        panel.set_yticks(range(len(values)), [f"{value:g}" for value in values])


def _are_of_one_ratio(values: npt.NDArray[Any]) -> bool:
    """Whether values are those of bands as parts of an octave or a decade, but for the last."""
    if len(values) < 4 or not (values > 0).all():
        return False
    ratios = values[1:-1] / values[:-2]
    return bool(1 < ratios[0] < 3 and np.allclose(ratios, ratios[0], rtol=0.01))
