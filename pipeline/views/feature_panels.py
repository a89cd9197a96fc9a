"""The features of a few windows, and how they are drawn: as pictures or as curves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from textwrap import fill
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.features import Axis
from pipeline.store import Store
from pipeline.training import read_features
from pipeline.views.figures import GREY
from pipeline.views.scales import (
    are_in_order,
    edges_of,
    in_own_ranges,
    labelled,
    outline,
    places_of,
    shades,
    show_axis,
)

MARKED = 400  # points of a curve in a window, at most, that are to be told apart
LETTERS_AN_INCH = 11  # of what is written upwards
Array = npt.NDArray[Any]


def row_axis(axes: list[Axis]) -> int | None:
    """Which axis of features goes upwards: the first, but for time."""
    units = [axis.units for axis in axes]
    if units == ["s"] or not units:
        return None
    return 1 if len(units) == 2 and units[0] == "s" != units[1] else 0


def axes_in(store: Store) -> list[Axis]:
    """The axes of the features of a store."""
    return [Axis(name, store.coordinate(name), units) for name, units in store.axes().items()]


def values_at(store: Store, name: str, windows: Array) -> Array:
    """Values of a small variable in a few windows."""
    return np.concatenate([store.coordinate(name, t, t + 1) for t in windows.tolist()])


def title_of(store: Store) -> str:
    """What the values of the features are, with their units."""
    return labelled(str(store.attrs()["title"]), store.units())


def show_shades(figure: Any, mesh: Any, panels: list[Any], title: str, rows: Axis) -> None:
    """Tell beside the panels which shade of a picture is which value."""
    bar = figure.colorbar(mesh, ax=panels, pad=0.01)
    _show_values(bar.ax, title, rows)


def _show_values(panel: Any, title: str, rows: Axis) -> None:
    """Label the axis upwards, of values or shades that are those of rows."""
    if rows.units == "1":
        panel.set_yticks([0, 1], ["lowest", "highest"])
        title = f"{title}, each {rows.name} in its own range"
    _name_values(panel, title)


def _name_values(panel: Any, title: str) -> None:
    """Say what is upwards, in as many lines as the height of the figure asks for."""
    letters = round(LETTERS_AN_INCH * panel.figure.get_size_inches()[1])
    panel.set_ylabel(fill(title, letters), parse_math=False)


@dataclass(frozen=True, eq=False)
class Features:
    """Those of a few windows: (window, row, column), or (window, column) without rows."""

    title: str
    axes: list[Axis]
    values: Array
    valid: Array
    rows: Axis | None
    length: float  # of a window, in seconds

    @classmethod
    def of(cls, store: Store, windows: Array) -> Self:
        """Read them."""
        axes, X = axes_in(store), read_features(store, windows).astype(np.float32)
        place = row_axis(axes)
        valid = values_at(store, "valid", windows)
        X[~valid] = np.nan
        if place is not None:
            X = np.moveaxis(X, 1 + place, 1)
            X = X.reshape(len(X), X.shape[1], -1)
            if axes[place].units == "1":
                X = in_own_ranges(X)
        else:
            X = X.reshape(len(X), -1)
        rows, length = None if place is None else axes[place], float(store.attrs()["window"])
        return cls(title_of(store), axes, X, valid, rows, length)

    @property
    def have_frequencies(self) -> bool:
        """Whether rows are frequencies in order, and all else is time."""
        rows, timed = self.rows, all(axis.units in ("Hz", "s") for axis in self.axes)
        return rows is not None and rows.units == "Hz" and timed and are_in_order(rows.values)

    @property
    def within(self) -> str | None:
        """What goes across each window, where it is not time."""
        return next((axis.name for axis in self._across if axis.units != "s"), None)

    @property
    def _across(self) -> list[Axis]:
        return [axis for axis in self.axes if axis is not self.rows]

    @cached_property
    def _norm(self) -> Any:
        return shades(self.values)

    @property
    def _times(self) -> Array | None:
        return next((axis.values for axis in self._across if axis.units == "s"), None)

    def draw(self, panel: Any, place: int, start: float) -> Any:
        """Draw one of the windows where it starts: a picture, or a curve, and then None."""
        if not self.valid[place]:
            panel.axvspan(start, start + self.length, color=GREY, linewidth=0, zorder=0)
        if self.rows is None:
            places = np.array([self.length / 2]) if self._times is None else self._times
            style = ".-" if len(places) <= MARKED else "-"
            drawn, values = outline(self.values[place])
            panel.plot(start + places[drawn], values, style, color="C0", linewidth=0.6)
            return None
        cells, times = np.ma.masked_invalid(self.values[place]), self._times
        across = np.linspace(0, self.length, cells.shape[1] + 1)
        if times is not None and len(times) > 1:
            across = edges_of(times)
        edges = start + across, edges_of(self.rows.values)
        return panel.pcolormesh(*edges, cells, norm=self._norm, rasterized=True)

    def show_rows(self, panel: Any) -> None:
        """Label the axis upwards: of a curve, by what its values are."""
        if self.rows is None:
            _name_values(panel, self.title)
        else:
            show_axis(panel, "y", self.rows)

    @property
    def are_profiles(self) -> bool:
        """Whether the values of a window are a curve, or bars, along an axis that is not time."""
        return self.rows is not None and len(self.axes) == 1

    def draw_profile(self, panel: Any, place: int) -> None:
        """Draw the values of a window along their axis: as bars where each is in its own range."""
        assert self.rows is not None
        values, x = self.rows.values, self.values[place, :, 0]
        if self.rows.units == "1":
            panel.stairs(x, edges_of(values), baseline=0, fill=True, color="C0")
        else:
            panel.plot(places_of(values), x, color="C0", linewidth=0.8)

    def show_profile(self, panel: Any) -> None:
        """Label the axes of the values of windows."""
        assert self.rows is not None
        show_axis(panel, "x", self.rows)
        edges = edges_of(self.rows.values)
        panel.set_xlim(edges.min(), edges.max())
        _show_values(panel, self.title, self.rows)
