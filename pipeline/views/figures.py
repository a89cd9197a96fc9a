"""Figures: their panels, and the file of a picture."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GREY = "0.8"  # where no window is valid


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


@contextmanager
def matplotlib_for(what: str) -> Iterator[None]:
    """Say in a sentence what needs matplotlib, where that is not installed."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{what} needs matplotlib, which is not installed; install dask-audio-pipeline[plot]"
        ) from error


@contextmanager
def names_in_any_script() -> Iterator[None]:
    """Without warnings of letters that the fonts do not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


def _figure(width: float, height: float) -> Any:
    with matplotlib_for("plot"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def subplots(n: int, across: int) -> tuple[Any, list[Any]]:
    """A figure of so many panels of the same axes, in rows of up to so many."""
    columns = min(n, across)
    down = -(-n // columns)
    figure = _figure(2 + 2.4 * columns, 0.9 + 2.1 * down)
    grid = figure.subplots(down, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, above in zip(grid[n:], grid[n - columns :], strict=False):
        panel.remove()
        above.tick_params(labelbottom=True)
    return figure, [*grid[:n]]


def panels(heights: dict[str, float]) -> tuple[Any, dict[str, Any]]:
    """A figure, and the panels in it that have a height in inches."""
    figure = _figure(10, 1.5 + sum(heights.values()))
    ratios = {name: height for name, height in heights.items() if height}
    subplots = figure.subplots(
        len(ratios), sharex=True, squeeze=False, height_ratios=[*ratios.values()]
    )
    return figure, dict(zip(ratios, subplots[:, 0], strict=True))


def lay_out(figure: Any) -> None:
    """Give panels their places, which stay: to find them is slow, and needed but once."""
    with names_in_any_script():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(figure: Any, file: Path) -> None:
    """Write a figure as what its file name says; in an SVG, text stays text, in any script."""
    from matplotlib import rc_context

    with names_in_any_script(), rc_context({"svg.fonttype": "none"}):
        figure.savefig(file)
